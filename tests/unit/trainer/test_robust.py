"""Statistics that a few faulty cars do not move, and thresholds made of them."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from trainer.judge import alarms
from trainer.model import robust

CARS, SAMPLES = 200, 30
RULE = AlertRule(close_ratio=1.0)
PER_SAMPLE = 168 * 3600.0  # alerts a car-week that are one a sample, with a sample a second


@cache  # nobody changes them
def scores(seed: int, faulty: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(norms of 17 normal residuals of slightly different cars, `faulty` ones far off; their cars)."""
    rng = np.random.default_rng(seed)
    car = np.repeat(np.arange(CARS), SAMPLES)
    residual = rng.normal(size=(len(car), 17)) + 0.5 * rng.normal(size=(CARS, 17))[car]
    score = np.sqrt((residual**2).mean(axis=1))
    score[car < faulty] += 5
    return score, car


def threshold(score: NDArray[np.float64], car: NDArray[np.int64], share: float) -> float:
    """The threshold for one alert in so many samples."""
    level = alarms.levels(score.astype(np.float32), car, RULE)
    return float(alarms.healthy_alerts(level, car, RULE, 1.0).thresholds(share * PER_SAMPLE)[0])


def test_cars_that_stand_out_are_suspect_and_others_are_not() -> None:
    """Ten outlying cars among 200 are found; without any, none is."""
    score, car = scores(1, faulty=10)
    assert np.unique(car[robust.suspects(score, car)]).tolist() == list(range(10))
    assert not robust.suspects(*scores(1)).any()


def test_the_threshold_keeps_its_budget() -> None:
    """On other cars the budgeted number of alerts opens, within a factor of three, also extrapolated."""
    limits = [threshold(*scores(1), share) for share in (0.05, 0.01, 0.0005)]
    for share, limit in zip((0.05, 0.01, 0.0005), limits, strict=True):
        others = [
            len(alarms.openings(alarms.levels(score, car, RULE), car, limit, RULE))
            for score, car in map(scores, range(2, 8))
        ]
        assert share / 3 < np.mean(others) / (CARS * SAMPLES) < share * 3


def test_undetected_faulty_cars_hardly_move_the_threshold() -> None:
    """Two undetected faulty cars in 200 do not hide other faults."""
    for share in (0.01, 0.0005):
        sound, mixed = threshold(*scores(1), share), threshold(*scores(1, faulty=2), share)
        assert abs(mixed / sound - 1) < 0.03


def test_a_regression_ignores_what_it_may_not_see() -> None:
    """y = 2 a + 3 b is fitted from a and b; from a alone only 2 a; from nothing 0."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(5000, 2))
    outputs = (inputs @ [2.0, 3.0])[:, None].repeat(3, axis=1)
    visible = np.array([[True, True, False], [True, False, False]])
    weights, bias = robust.ridge_regressions(inputs, outputs, visible)
    assert np.allclose(weights, [[2, 2, 0], [3, 0, 0]], atol=0.1)
    assert np.allclose(bias, 0, atol=0.1)


def test_what_differs_between_cars_is_taken_out() -> None:
    """Within cars the mean is 0, except for the share that is kept."""
    values, car = np.array([[1.0], [3.0], [10.0]]), np.array([4, 4, 7])
    assert robust.within(values, car).ravel().tolist() == [-1, 1, 0]
    assert robust.within(values, car, kept=0.5).ravel().tolist() == [0, 2, 5]


def test_the_precision_is_of_most_samples_and_scaled() -> None:
    """The inverse covariance is divided by the number of coordinates and ignores outliers."""
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(20_000, 4))
    inverse = robust.precision(samples)
    norm = np.sqrt(np.einsum("ni,ij,nj->n", samples, inverse, samples))
    assert 0.9 < np.sqrt((norm**2).mean()) < 1.3
    spoilt = samples.copy()
    spoilt[:200] *= 100
    assert np.allclose(robust.precision(spoilt), inverse, rtol=0.2, atol=0.02)


def test_the_precision_of_the_tails_is_of_rare_states_too() -> None:
    """Two signals that usually move together and rarely apart: apart is then less strange than usually."""
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(20_000, 1)) + 0.1 * rng.normal(size=(20_000, 2))
    samples[:400] += 5 * rng.normal(size=(400, 1)) * [1, -1]
    apart, usual = np.array([1.0, -1.0]), robust.precision(samples)
    tails = robust.precision(samples, tails=True)
    assert apart @ tails @ apart < 0.1 * (apart @ usual @ apart)
    assert np.isclose(np.median(np.einsum("ni,ij,nj->n", samples, tails, samples)), 1)


def test_the_precision_of_the_tails_is_not_that_of_a_faulty_car() -> None:
    """A car whose samples are far beyond all others counts only a few times as much as another."""
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(20_000, 4))
    spoilt = samples.copy()
    spoilt[:20, 0] += 10
    tails = robust.precision(samples, tails=True)
    assert np.allclose(robust.precision(spoilt, tails=True), tails, rtol=0.4, atol=0.02)
