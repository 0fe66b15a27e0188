"""Every id has one number, whether it is looked up in the dict or in the table."""

import random

import numpy as np
import pytest

from contract.joined import Joined
from scorer import index as module
from scorer.index import Index

# Ids of one length, of several, with ends that look like padding, and longer than a word.
KINDS = {
    "alike": [b"car-%06d" % number for number in range(3_000)],
    "of a word": [b"%08d" % number for number in range(3_000)],
    "lengths": [b"c%d" % (7**4 * number) for number in range(3_000)],
    "zeros": [bytes([1 + number % 7]) + bytes(number // 7) for number in range(7 * 63)],
    "long": [b"vehicle of the fleet number %d, and more of its name" % number for number in range(2_000)],
}


def batches_of(ids: list[bytes], seed: int) -> list[list[bytes]]:
    """Small and large batches of random ids, with repetitions and with more and more of the ids."""
    chance, batches = random.Random(seed), []
    for known in range(50, len(ids), 331):
        batches.append(chance.choices(ids[:known], k=chance.choice([1, 20, 600])))
    return [*batches, ids, ids]


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_of_a_dict(kind: str) -> None:
    """Ids are numbered in the order in which they first appear, for any length and any size of a batch."""
    index, expected = Index(), dict[bytes, int]()
    for batch in batches_of(KINDS[kind], seed=1):
        numbers = index.numbers(Joined.of(batch))
        assert numbers.tolist() == [expected.setdefault(key, len(expected)) for key in batch]
        assert index.ids == list(expected)


def test_ids_of_other_lengths_come_later() -> None:
    """Ids longer than the table has room for, and short ones after them, get their numbers."""
    index, expected = Index(), dict[bytes, int]()
    for kind in ("lengths", "long", "alike", "zeros", "of a word", "long"):
        for batch in (KINDS[kind], KINDS[kind][::-1]):
            numbers = index.numbers(Joined.of(batch))
            assert numbers.tolist() == [expected.setdefault(key, len(expected)) for key in batch]


def test_cars_that_share_a_slot_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if all ids have the same slot: the dict has all but one of them."""
    monkeypatch.setattr(Index, "_slot", lambda _self, words: np.zeros(words.shape[1], np.int64))
    index, ids = Index(), KINDS["alike"]
    for _ in range(2):
        assert index.numbers(Joined.of(ids)).tolist() == list(range(len(ids)))


def test_most_known_cars_are_found_without_the_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has all but 4 % of ten thousand ids."""
    ids = Joined.of([b"car-%06d" % number for number in range(10_000)])
    index, missed = Index(), list[int]()
    index.numbers(ids)
    by_dict = index._by_dict
    monkeypatch.setattr(index, "_by_dict", lambda asked: missed.append(len(asked)) or by_dict(asked))
    index.numbers(ids)
    assert sum(missed) < 0.04 * len(ids)


def test_ids_given_at_the_start_have_the_numbers_of_their_order() -> None:
    """In small batches (dict) and in large ones (table)."""
    ids = KINDS["lengths"]
    for size in (10, module._BATCH_MIN):
        index = Index(ids.copy())
        assert index.numbers(Joined.of(ids[-size:])).tolist() == list(range(len(ids) - size, len(ids)))
        assert len(index) == len(ids)


def test_no_ids_have_no_numbers() -> None:
    """An empty batch is no error."""
    assert Index().numbers(Joined.of([])).tolist() == []
