"""Statistics that do not move by a few faulty cars."""

import numpy as np
from numpy.typing import NDArray

from trainer import robust

CARS, SAMPLES = 200, 30


def scores(seed: int, faulty: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Norms of 17 normal residuals, cars a little unlike, `faulty` ones far off; and whose they are."""
    rng = np.random.default_rng(seed)
    car = np.repeat(np.arange(CARS), SAMPLES)
    residual = rng.normal(size=(len(car), 17)) + 0.5 * rng.normal(size=(CARS, 17))[car]
    score = np.sqrt((residual**2).mean(axis=1))
    score[car < faulty] += 5
    return score, car


def test_cars_that_stand_out_are_suspect_and_others_are_not() -> None:
    """Ten cars far off among 200 are found; without any, none is."""
    score, car = scores(1, faulty=10)
    assert np.unique(car[robust.suspects(score, car)]).tolist() == list(range(10))
    assert not robust.suspects(*scores(1)).any()


def test_the_threshold_keeps_its_budget() -> None:
    """On other cars the share over the threshold is the budget, within a factor of two."""
    score, car = scores(1)
    others, _ = scores(2)
    for budget in (0.05, 0.01, 0.001):
        (limit,) = robust.thresholds(score, car, budget, np.ones((1, CARS)))
        assert budget / 2 < (others > limit).mean() < budget * 2


def test_undetected_faulty_cars_hardly_move_the_threshold() -> None:
    """Five faulty cars in a hundred do not hide the faults that are looked for."""
    sound = robust.thresholds(*scores(1), 0.001, np.ones((1, CARS)))
    mixed = robust.thresholds(*scores(1, faulty=10), 0.001, np.ones((1, CARS)))
    assert abs(mixed / sound - 1) < 0.02


def test_a_car_that_is_not_drawn_does_not_count() -> None:
    """With weight 0 for the cars of the high half, the threshold is that of the low half."""
    car = np.repeat(np.arange(20), 50)
    score = np.linspace(1, 2, len(car))
    weights = np.ones((2, 20))
    weights[1, 10:] = 0
    whole, half = robust.thresholds(score, car, 0.1, weights)
    assert np.allclose([whole, half], [1.9, 1.45], atol=0.01)


def test_each_output_is_expected_without_what_it_must_not_see() -> None:
    """A copy of the output among the inputs is ignored where it is not visible, and used where it is."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(5000, 3))
    outputs = inputs[:, :1] * 0.5 + 0.1 * rng.normal(size=(5000, 1))
    inputs[:, 2:] = outputs
    hidden = np.array([[True], [True], [False]])
    weights, bias = robust.leave_out_linear(inputs, outputs, hidden, ridge=1e-6)
    assert np.allclose(weights[:, 0], [0.5, 0, 0], atol=0.01)
    assert abs(bias[0]) < 0.01
    seeing, _ = robust.leave_out_linear(inputs, outputs, ~np.zeros((3, 1), bool), ridge=1e-6)
    assert seeing[2, 0] > 0.9


def test_long_tails_are_bent_and_others_are_left_straight() -> None:
    """After bending, 99 % of either residual are within about the 2.58 of a normal distribution."""
    rng = np.random.default_rng(1)
    residual = np.stack([rng.normal(size=20_000), rng.standard_t(2, size=20_000)], axis=1)
    spread, knee = robust.bend(residual, np.full(2, 1e-3))
    bent = knee * np.arcsinh(residual / spread / knee)
    reach = np.quantile(np.abs(bent), 0.99, axis=0)
    assert np.all(reach < 2.7)
    assert knee[0] > 5
    assert knee[1] < 2


def test_a_constant_coordinate_has_the_spread_of_its_resolution() -> None:
    """What never changed in training must not make every later change infinitely strange."""
    values = np.stack([np.full(1000, 7.0), np.linspace(0, 1, 1000)], axis=1)
    centre, spread = robust.centre_and_spread(values, np.array([0.5, 0.001]))
    assert centre[0] == 7
    assert spread[0] == 0.5
    assert 0.25 < spread[1] < 0.3


def test_the_norm_of_typical_residuals_is_one() -> None:
    """The inverse covariance is scaled by the number of coordinates, and outliers have no part in it."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(5, 5))
    residual = rng.normal(size=(20_000, 5)) @ mixing
    residual[:200] += 100
    inverse = robust.precision(residual, shrinkage=0.0)
    norms = np.sqrt(np.einsum("ni,ij,nj->n", residual, inverse, residual))
    assert 0.9 < np.median(norms) < 1.1
    assert norms[:200].min() > 10
