"""Every id has one place, whichever way it is looked up."""

import random

import numpy as np
import pytest

from contract.joined import Joined
from scorer import index
from scorer.index import Index

# Of one length, of several, with ends that look like padding, and of more than a word.
KINDS = {
    "alike": [b"car-%06d" % number for number in range(3_000)],
    "of a word": [b"%08d" % number for number in range(3_000)],
    "lengths": [b"c%d" % (7**4 * number) for number in range(3_000)],
    "zeros": [bytes([1 + number % 7]) + bytes(number // 7) for number in range(7 * 63)],
    "long": [b"vehicle of the fleet number %d, and more of its name" % number for number in range(2_000)],
}


def asked(ids: list[bytes], seed: int) -> list[list[bytes]]:
    """Batches of them, some small, each id several times, new ones all the time."""
    chance, batches = random.Random(seed), []
    for known in range(50, len(ids), 331):
        batches.append(chance.choices(ids[:known], k=chance.choice([1, 20, 600])))
    return [*batches, ids, ids]


@pytest.mark.parametrize("kind", KINDS)
def test_places_are_those_of_a_dict(kind: str) -> None:
    """In the order in which ids come for the first time, whatever their lengths and the batches' sizes."""
    found, expected = Index(), dict[bytes, int]()
    for batch in asked(KINDS[kind], seed=1):
        places = found.places(Joined.of(batch))
        assert places.tolist() == [expected.setdefault(key, len(expected)) for key in batch]
        assert found.ids == list(expected)


def test_ids_of_other_lengths_come_later() -> None:
    """Longer ids than the table has room for, and then short ones again."""
    found, expected = Index(), dict[bytes, int]()
    for kind in ("lengths", "long", "alike", "zeros", "of a word", "long"):
        for batch in (KINDS[kind], KINDS[kind][::-1]):
            places = found.places(Joined.of(batch))
            assert places.tolist() == [expected.setdefault(key, len(expected)) for key in batch]


def test_cars_that_share_a_slot_keep_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all do: then the dict knows everyone but one."""
    monkeypatch.setattr(Index, "_slot", lambda _self, words: np.zeros(words.shape[1], np.int64))
    found, ids = Index(), KINDS["alike"]
    for _ in range(2):
        assert found.places(Joined.of(ids)).tolist() == list(range(len(ids)))


def test_most_known_cars_are_found_without_the_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the table is for: of ten thousand numbered cars it has all but a few per cent."""
    ids = Joined.of([b"car-%06d" % number for number in range(10_000)])
    found, missed = Index(), list[int]()
    found.places(ids)
    by_dict = found._ask
    monkeypatch.setattr(found, "_ask", lambda asked: missed.append(len(asked)) or by_dict(asked))
    found.places(ids)
    assert sum(missed) < 0.04 * len(ids)


def test_ids_that_are_known_at_the_start_have_their_places() -> None:
    """As after a hand-over, in small batches and in large ones."""
    ids = KINDS["lengths"]
    for size in (10, index._BATCH_MIN):
        found = Index(ids.copy())
        assert found.places(Joined.of(ids[-size:])).tolist() == list(range(len(ids) - size, len(ids)))
        assert len(found) == len(ids)


def test_nobody_is_nowhere() -> None:
    """No ids, no places."""
    assert Index().places(Joined.of([])).tolist() == []
