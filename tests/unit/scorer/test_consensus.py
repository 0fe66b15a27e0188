"""What many cars can tell of a hand-over, and few cannot."""

import numpy as np

from contract.telemetry import Floats
from scorer.consensus import CARS_MIN, Consensus


def of(cars: int, middle: float, faulty: int = 0, *, groups: bool = False) -> tuple[Consensus, Floats]:
    """A consensus of drifts around `middle` with a spread of 1, and these; faulty cars drift by 20 more."""
    drift = (middle + np.random.default_rng(1).normal(size=(cars, 2))).astype(np.float32)
    drift[:faulty] += 20
    consensus = Consensus(groups)
    consensus.look(drift, drift)
    return consensus, drift


def test_the_drift_of_the_fleet_is_normal() -> None:
    """Although some cars are faulty. Of what a car drifts besides, a fifth of what is usual is normal."""
    consensus, drift = of(cars=100, middle=5.0, faulty=30)
    normal = consensus.normal(drift)
    np.testing.assert_allclose(np.median(normal[30:], axis=0), 5, atol=0.8)
    assert (normal[:30] < 7).all()


def test_the_drift_of_a_part_of_the_fleet_is_normal_where_groups_are_believed() -> None:
    """A recalibrated sensor in a fifth of the cars; of what such a car drifts besides, a fifth."""
    consensus, drift = of(cars=100, middle=5.0, faulty=20, groups=True)
    normal = consensus.normal(drift)
    np.testing.assert_allclose(np.median(normal[:20], axis=0), 25, atol=0.8)
    np.testing.assert_allclose(np.median(normal[20:], axis=0), 5, atol=0.8)


def test_what_a_group_drifts_besides_is_normal_too() -> None:
    """A sensor that reads otherwise moves what is expected of others, too."""
    drift = np.random.default_rng(1).normal(size=(100, 2)).astype(np.float32)
    drift[:20] += (20, 3)
    consensus = Consensus(groups=True)
    consensus.look(drift, drift)
    np.testing.assert_allclose(np.median(consensus.normal(drift)[:20], axis=0), (20, 3), atol=0.8)
    np.testing.assert_allclose(np.median(consensus.settled(drift, drift)[:20], axis=0), (20, 3), atol=0.8)
    np.testing.assert_allclose(np.median(consensus.normal(drift)[20:], axis=0), 0, atol=0.5)


def test_few_cars_are_no_group() -> None:
    """A tenth of the cars with the same fault stays in alert."""
    consensus, drift = of(cars=100, middle=5.0, faulty=10, groups=True)
    assert (consensus.normal(drift)[:10] < 7).all()


def test_a_median_within_the_spread_of_the_cars_is_no_drift_of_the_fleet() -> None:
    """A fifth of it is forgotten at each hand-over, as of any car's drift."""
    consensus, drift = of(cars=100, middle=0.5)
    usual = np.abs(drift) < 2
    np.testing.assert_allclose(consensus.normal(drift)[usual], 0.2 * drift[usual], rtol=1e-5)


def test_too_few_cars_agree_on_nothing() -> None:
    """All of the drift is inherited, and each car has its own difference between the models."""
    consensus, drift = of(cars=CARS_MIN - 1, middle=5.0)
    assert not consensus.normal(drift).any()
    np.testing.assert_array_equal(consensus.settled(drift, drift), drift)


def test_a_difference_that_only_a_fault_can_explain_is_cut() -> None:
    """Two models differ for a car by about as much as for the others."""
    consensus, difference = of(cars=100, middle=5.0, faulty=10)
    assert (consensus.settled(difference, difference)[:10] < 8).all()


def test_a_look_is_taken_now_and_then() -> None:
    """At first, and then after some samples of each car."""
    assert Consensus().due
    consensus, _ = of(cars=100, middle=0.0)
    assert not consensus.due
    consensus.watched += 800
    assert consensus.due


def test_a_later_look_at_too_few_cars_changes_nothing() -> None:
    """Cars that are handed over late, after most, inherit as the others did."""
    consensus, drift = of(cars=100, middle=5.0)
    before = consensus.normal(drift)
    consensus.look(drift[:3] - 5, drift[:3])
    np.testing.assert_array_equal(consensus.normal(drift), before)


def test_in_a_world_that_the_older_model_does_not_know_each_car_has_its_own_normal() -> None:
    """As in a cold snap: cars drift twice as far apart as healthy ones, and models differ by the car."""
    _, drift = of(cars=100, middle=5.0)
    usual = np.abs(drift - 5) < 2
    known, unknown = Consensus(), Consensus()
    known.look(drift, drift, usual=np.ones(2, np.float32))
    unknown.look(drift, drift, usual=np.full(2, 0.5, np.float32))
    common = np.median(drift, axis=0)
    for consensus, forgotten, own in ((known, 0.2, 0.5), (unknown, 0.8, 1.0)):
        expected = common + np.multiply.outer([forgotten, own], drift - common)
        np.testing.assert_allclose(consensus.normal(drift)[usual], expected[0][usual], atol=1e-5)
        np.testing.assert_allclose(consensus.settled(drift, drift)[usual], expected[1][usual], atol=1e-5)
