"""Every (car_id, seq) is let through once, in whatever order and batches the records come."""

import random

import numpy as np
import pytest

from contract.joined import Joined
from scorer import memory
from scorer.cars import ByCar, Cars
from scorer.memory import GAPS_MAX, Memory


class Seen:
    """A memory and the cars it is about."""

    def __init__(self) -> None:
        self.cars = Cars()
        self.memory = Memory(self.cars)

    def __len__(self) -> int:
        return len(self.cars)

    @property
    def gaps(self) -> dict[int, list[range]]:
        return self.memory._gaps

    def forget(self, partitions: set[int]) -> None:
        self.memory.keep(self.cars.forget(partitions))


def sift(seen: Seen, *records: tuple[str, int], partition: int = 0) -> str:
    """One letter a record: new, late (and new), or a duplicate."""
    keys, partitions = [car.encode() for car, _ in records], np.full(len(records), partition, np.int32)
    by_car = ByCar.of(seen.cars.places(Joined.of(keys), partitions))
    fresh, late = seen.memory.sift(by_car, np.array([seq for _, seq in records], np.int64))
    return "".join(
        {(True, False): "n", (True, True): "l", (False, False): "d"}[bool(new), bool(behind)]
        for new, behind in zip(fresh, late, strict=True)
    )


def test_regular_records_are_new() -> None:
    """Records without a gap are new: one car, several cars, several of a car in a batch, several batches."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("b", 7), ("a", 2), ("b", 8), ("c", 1)) == "nnnnn"
    assert sift(seen, ("b", 9), ("a", 3), ("a", 4)) == "nnn"
    assert len(seen) == 3


def test_an_empty_batch_is_nothing() -> None:
    """A batch of which no record was sound asks for nothing."""
    assert sift(Seen()) == ""


def test_duplicates_are_found_within_and_across_batches() -> None:
    """A repeated seq is a duplicate beside its first, and in any later batch; others are not touched."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)) == "ndnnd"
    assert sift(seen, ("a", 2), ("b", 1), ("a", 3), ("b", 2), ("a", 3)) == "ddnnd"


def test_the_first_record_of_a_car_may_have_any_seq() -> None:
    """A car is taken up where it is met: what lies below counts as scored."""
    seen = Seen()
    assert sift(seen, ("a", 500), ("a", 499), ("a", 501), ("b", 0), ("b", 0)) == "ndnnd"


def test_late_records_are_new_once() -> None:
    """What fills a gap is new and late, exactly once, within a batch and across batches."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("a", 6), ("a", 4), ("a", 4)) == "nnld"
    assert sift(seen, ("a", 2), ("a", 5), ("a", 3), ("a", 3), ("a", 5), ("a", 7)) == "lllddn"


def test_a_gap_closed_within_a_batch_leaves_nothing_behind() -> None:
    """After a swap of two neighbours the memory holds no gap."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("a", 3), ("a", 2), ("a", 4)) == "nnln"
    assert not seen.gaps


def test_a_huge_jump_costs_no_memory() -> None:
    """A gap of billions is one range."""
    seen = Seen()
    assert sift(seen, ("a", 1), ("a", 2**34 - 1), ("a", 2**33), ("a", 2**33)) == "nnld"
    assert len(seen.gaps[0]) == 2


def test_gaps_of_a_car_are_bounded() -> None:
    """Above GAPS_MAX the oldest gap is given up and its records count as scored; the newer ones stay."""
    seen = Seen()
    for seq in range(0, 4 * GAPS_MAX, 2):
        assert sift(seen, ("a", seq)) == "n"
    assert len(seen.gaps[0]) == GAPS_MAX
    assert sift(seen, ("a", 1), ("a", 4 * GAPS_MAX - 3)) == "dl"


def test_late_records_inside_one_gap_are_bounded_too() -> None:
    """Filling every second number of a gap splits it, up to GAPS_MAX pieces."""
    seen = Seen()
    sift(seen, ("a", 0), ("a", 1_000))
    for seq in range(2, 1_000, 2):
        sift(seen, ("a", seq))
    assert len(seen.gaps[0]) == GAPS_MAX


def test_forgotten_partitions_start_anew_and_others_stay() -> None:
    """forget() drops the cars of the partitions named, with their gaps, and no other."""
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
    """The arrays grow with the cars; nothing known is lost."""
    seen = Seen()
    cars = [(f"car-{number}", 1) for number in range(5_000)]
    assert sift(seen, *cars) == "n" * 5_000
    assert sift(seen, *cars) == "d" * 5_000


def test_cars_that_agree_in_16_bits_are_kept_apart() -> None:
    """Among more than 65 536 cars none is taken for another, also where they alternate in a batch."""
    seen = Seen()
    sift(seen, *[(f"{number}", 0) for number in range((1 << 16) + 2)])
    assert sift(seen, ("1", 1), ("65537", 1), ("1", 1), ("65537", 2)) == "nndn"


@pytest.mark.parametrize("cars", [1, 3, 40])
@pytest.mark.parametrize("seed", range(3))
def test_random_streams_agree_with_a_naive_memory(
    seed: int, cars: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches of any size, with losses, repetitions and swaps, each record gets what a set would say."""
    monkeypatch.setattr(memory, "GAPS_MAX", 10_000)
    chance = random.Random(seed)
    seen, known, stream = Seen(), {}, []
    at = [chance.randrange(3) for _ in range(cars)]
    for _ in range(1_000):
        car = chance.randrange(cars)
        at[car] = max(0, at[car] + chance.choices([1, 2, 0, -chance.randrange(6)], [85, 5, 5, 5])[0])
        stream.append((f"{car}", at[car]))
    while stream:
        batch = stream[: chance.choice([1, 2, 14, 14, 14, 400])]
        del stream[: len(batch)]
        assert sift(seen, *batch) == "".join(naive(known, car, seq) for car, seq in batch)


def naive(known: dict[str, set[int]], car: str, seq: int) -> str:
    """The verdict of a memory that keeps every number it ever saw."""
    numbers = known.setdefault(car, set())
    if not numbers:
        verdict = "n"
    elif seq in numbers or seq < min(numbers):
        return "d"
    else:
        verdict = "l" if seq < max(numbers) else "n"
    numbers.add(seq)
    return verdict
