"""Every (car_id, seq) is new once, in any order and any batches of records."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from contract.joined import Joined
from scorer import seen as module
from scorer.cars import ByCar, CarTable
from scorer.seen import GAPS_MAX, SeenSequences


class Seen:
    """The sequences seen, with the table of their cars."""

    def __init__(self) -> None:
        self.cars = CarTable()
        self.sequences = SeenSequences(self.cars)

    def __len__(self) -> int:
        return len(self.cars)

    @property
    def gaps(self) -> dict[int, list[range]]:
        return {car: gaps for car, gaps in enumerate(self.sequences._gaps.values) if gaps}

    def forget(self, partitions: set[int]) -> None:
        self.cars.forget(partitions)


def sift(seen: Seen, *records: tuple[str, int], partition: int = 0, at_s: Sequence[int] | None = None) -> str:
    """One letter a record: n(ew), l(ate), d(uplicate), i(mpossible). Without `at_s` a seq takes a second."""
    keys, partitions = [car.encode() for car, _ in records], np.full(len(records), partition, np.int32)
    by_car = ByCar.of(seen.cars.numbers(Joined.of(keys), partitions))
    seqs = np.array([seq for _, seq in records], np.int64)
    times = 1_000 * seqs if at_s is None else np.array(at_s, np.int64) * 1_000
    sifted = seen.sequences.sift(by_car, seqs, times)
    names = {(True, False, False): "n", (True, True, False): "l", (False, False, True): "i"}
    rows = zip(*(each.tolist() for each in sifted), strict=True)
    return "".join(names.get(row, "d") for row in rows)


def test_regular_records_are_new() -> None:
    """Without gaps every record is new: of several cars, several of a car in a batch, in several batches."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("b", 7), ("a", 2), ("b", 8), ("c", 1)) == "nnnnn"
    assert sift(seen, ("b", 9), ("a", 3), ("a", 4)) == "nnn"
    assert len(seen) == 3


def test_an_empty_batch_is_no_error() -> None:
    """No record of a batch may be decodable."""
    assert sift(Seen()) == ""


def test_duplicates_are_found_within_and_across_batches() -> None:
    """A repeated seq is a duplicate in the same batch and in any later one; other records stay new."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)) == "ndnnd"
    assert sift(seen, ("a", 2), ("b", 1), ("a", 3), ("b", 2), ("a", 3)) == "ddnnd"


def test_the_first_record_of_a_car_may_have_any_seq() -> None:
    """Seqs below the first one count as seen."""
    seen = Seen()
    assert sift(seen, ("a", 500), ("a", 499), ("a", 501), ("b", 0), ("b", 0)) == "ndnnd"


def test_late_records_are_new_once() -> None:
    """A record that fills a gap is late exactly once, within a batch and across batches."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("a", 6), ("a", 4), ("a", 4)) == "nnld"
    assert sift(seen, ("a", 2), ("a", 5), ("a", 3), ("a", 3), ("a", 5), ("a", 7)) == "lllddn"


def test_a_gap_closed_within_a_batch_is_forgotten() -> None:
    """After two records in swapped order no gap is stored."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("a", 3), ("a", 2), ("a", 4)) == "nnln"
    assert not seen.gaps


def test_a_huge_jump_costs_no_memory() -> None:
    """A gap of billions of seqs is stored as one range."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("a", 2**34 - 1), ("a", 2**33), ("a", 2**33)) == "nnld"
    assert len(seen.gaps[0]) == 2


def test_gaps_of_a_car_are_bounded() -> None:
    """Above GAPS_MAX the oldest gap is dropped and its records count as seen; newer gaps stay."""
    seen = Seen()
    for seq in range(0, 4 * GAPS_MAX, 2):
        assert sift(seen, ("a", seq)) == "n"
    assert len(seen.gaps[0]) == GAPS_MAX
    assert sift(seen, ("a", 1), ("a", 4 * GAPS_MAX - 3)) == "dl"


def test_late_records_inside_one_gap_are_bounded_too() -> None:
    """Filling every second seq of a gap splits it into at most GAPS_MAX gaps."""
    seen = Seen()
    sift(seen, ("a", 0), ("a", 1_000))
    for seq in range(2, 1_000, 2):
        sift(seen, ("a", seq))
    assert len(seen.gaps[0]) == GAPS_MAX


def test_cars_of_forgotten_partitions_are_new_again() -> None:
    """`forget` drops the cars of these partitions with their gaps, and no others."""
    seen = Seen()
    sift(seen, ("a", 1), ("a", 4), ("b", 5), partition=0)
    sift(seen, ("c", 1), ("c", 4), partition=1)
    seen.forget({0})
    assert len(seen) == 1
    assert sift(seen, ("c", 4), ("c", 2), ("c", 5), partition=1) == "dln"
    assert sift(seen, ("a", 1), ("b", 5), ("a", 4), partition=0) == "nnn"
    seen.forget({0, 1})
    assert len(seen) == 0
    assert sift(seen, ("a", 1), ("c", 2)) == "nn"


def test_more_cars_than_the_arrays_hold() -> None:
    """The arrays grow with the cars and keep what they hold."""
    seen = Seen()
    cars = [(f"car-{number}", 1) for number in range(5_000)]
    assert sift(seen, *cars) == "n" * 5_000
    assert sift(seen, *cars) == "d" * 5_000


def test_cars_whose_numbers_agree_in_16_bits_are_kept_apart() -> None:
    """Among more than 65 536 cars none is taken for another, also if they alternate in a batch."""
    seen = Seen()
    sift(seen, *[(f"{number}", 0) for number in range((1 << 16) + 2)])
    assert sift(seen, ("1", 1), ("65537", 1), ("1", 1), ("65537", 2)) == "nndn"


@pytest.mark.parametrize("cars", [1, 3, 40])
@pytest.mark.parametrize("seed", range(3))
def test_random_streams_agree_with_a_set(seed: int, cars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With losses, repetitions and swaps, in batches of any size, the verdicts are those of a set."""
    monkeypatch.setattr(module, "GAPS_MAX", 10_000)
    chance = random.Random(seed)
    seen, known, stream = Seen(), {}, []
    last = [chance.randrange(3) for _ in range(cars)]
    for _ in range(1_000):
        car = chance.randrange(cars)
        last[car] = max(0, last[car] + chance.choices([1, 2, 0, -chance.randrange(6)], [85, 5, 5, 5])[0])
        stream.append((f"{car}", last[car]))
    while stream:
        batch = stream[: chance.choice([1, 2, 14, 14, 14, 400])]
        del stream[: len(batch)]
        assert sift(seen, *batch) == "".join(naive(known, car, seq) for car, seq in batch)


def naive(known: dict[str, set[int]], car: str, seq: int) -> str:
    """The verdict by a set of all seqs seen of each car."""
    seqs = known.setdefault(car, set())
    if not seqs:
        verdict = "n"
    elif seq in seqs or seq < min(seqs):
        return "d"
    else:
        verdict = "l" if seq < max(seqs) else "n"
    seqs.add(seq)
    return verdict
