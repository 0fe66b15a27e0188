"""How many records of a slice a car may hold."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainer import capacity, quota
from trainer.log_slice import Telemetry
from trainer.quota import Quota

LEARNED_S = 20.0
SEEDS = range(5)


def fleet(counts: Any, intervals_ms: Any = 1000) -> Telemetry:
    """Cars with so many records each, at these intervals."""
    counts = np.asarray(counts)
    car = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    seq = np.concatenate([np.arange(count) for count in counts])
    names = tuple(f"car-{number:06d}".encode() for number in range(len(counts)))
    at_ms = seq * np.repeat(np.broadcast_to(intervals_ms, counts.shape), counts)
    return Telemetry(names, car, seq, at_ms, np.zeros((len(car), 1), np.float32))


def kept(telemetry: Telemetry, records_max: int = 10**6) -> Telemetry:
    """What a training takes of it."""
    return quota.within(telemetry, quota.fair(telemetry, LEARNED_S, records_max))


def loud(rng: np.random.Generator) -> Any:
    """1 000 cars, of which 12 send a hundred times as often."""
    counts = rng.integers(30, 50, 1000)
    counts[rng.choice(1000, 12, replace=False)] *= 100
    return counts


def invented(rng: np.random.Generator) -> Any:
    """Such a fleet beside 10 000 ids with a record or two."""
    return np.concatenate([loud(rng), rng.integers(1, 3, 10_000)])


def uneven(rng: np.random.Generator) -> Any:
    """Some cars drive all day, most of them rarely."""
    return (20 * rng.pareto(1.0, 1000) + 2).astype(int)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fleet_of", [loud, invented, uneven])
def test_no_cars_hold_more_than_twice_their_share(fleet_of: Callable[..., Any], seed: int) -> None:
    """Any 1 % of the cars hold at most 2 % of the slice, which the loud ones held nearly all of."""
    counts = fleet_of(np.random.default_rng(seed))
    held = np.sort(np.bincount(kept(fleet(counts)).car))[::-1]
    held = held[held > 0]
    hundredth = len(held) // 100
    assert hundredth >= 1
    assert held[:hundredth].sum() <= 0.02 * held.sum()
    assert np.sort(counts)[::-1][:hundredth].sum() > 0.04 * counts.sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_cars_that_drive_as_others_do_are_whole(seed: int) -> None:
    """What is cut is only what is beyond; who can be learned stays so, with as much to be judged by."""
    counts = loud(np.random.default_rng(seed))
    after = np.bincount(kept(fleet(counts)).car)
    assert (after[counts < 50] == counts[counts < 50]).all()
    counts = uneven(np.random.default_rng(seed))
    after = np.bincount(kept(fleet(counts)).car, minlength=len(counts))
    assert (after[counts > LEARNED_S] >= np.minimum(counts[counts > LEARNED_S], 2 * LEARNED_S)).all()
    assert (after[counts <= LEARNED_S] == 0).all()


def test_a_car_keeps_its_newest_records_in_order() -> None:
    """Contiguous, so that a training can follow them; all columns go together, and numbers stay."""
    telemetry = fleet([5, 2, 9])
    telemetry.signals[:] = telemetry.seq[:, None]
    cut = quota.within(telemetry, Quota(3, 6))
    assert cut.car.tolist() == [0] * 5 + [2] * 6
    assert cut.seq.tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 8]
    assert (cut.signals == cut.seq[:, None]).all()
    assert (cut.sampled_at_ms == cut.seq * 1000).all()
    assert cut.cars == telemetry.cars
    assert quota.within(telemetry, Quota(1, 9)) is telemetry


def test_a_slice_has_at_most_as_many_records_as_wanted() -> None:
    """More may have been read, to find enough within quotas: then all cars give alike."""
    assert len(kept(fleet([80] * 300), records_max=18_000).car) == 18_000


def test_where_no_car_can_be_learned_all_stay() -> None:
    """The training is refused, and says how many records each part has."""
    assert len(kept(fleet([10, 10, 3])).car) == 23


def test_the_log_is_read_further_back_where_few_cars_send_most() -> None:
    """So far that the others' records are as many as wanted, but at most four times; else no further."""
    assert quota.records_to_read(fleet([20] * 1000), 1_000) == 1_000
    assert quota.records_to_read(fleet([0]), 1_000) == 1_000
    louder = fleet([20] * 980 + [1_000] * 20)
    assert 1_900 < quota.records_to_read(louder, 1_000) < 2_000
    assert quota.records_to_read(fleet([2] * 988 + [5_000] * 12), 1_000) == 4_000


def test_the_interval_is_that_of_most_cars() -> None:
    """12 of 1 000 cars send a hundred times as often and own most rows; gaps and odd clocks move nothing."""
    counts, intervals_ms = np.full(1000, 20), np.full(1000, 1000)
    counts[:12], intervals_ms[:12] = 20_000, 10
    telemetry = fleet(counts, intervals_ms)
    assert capacity.sample_interval_s(telemetry) == 1.0
    rows = np.flatnonzero(telemetry.car == 500)
    telemetry.sampled_at_ms[rows[5:]] += 40 * 86_400_000
    telemetry.sampled_at_ms[rows[9:]] -= 80 * 86_400_000
    assert capacity.car_intervals_ms(telemetry.car, telemetry.sampled_at_ms)[500] == 1000
    assert capacity.sample_interval_s(telemetry) == 1.0
