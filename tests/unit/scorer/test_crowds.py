"""One car that sends hundreds of samples at once does not hold up all others."""

from typing import Any

import numpy as np
import pytest

from contract.alert_rule import AlertRule
from contract.telemetry import SIGNALS
from scorer.detector import ROUNDS_MAX
from scorer.model import Model

from .fleet import Fleet

K, COUNT, OTHERS, DAY_MS = len(SIGNALS), 600, 50, 86_400_000


class CountingModel(Model):
    """Counts its calls, which cost the same for a sample as for a hundred."""

    calls = 0

    def step(self, signals: Any, state: Any) -> tuple[Any, Any, Any]:
        self.calls += 1
        return super().step(signals, state)


@pytest.fixture
def make(remembering: Any) -> Any:
    """A function that makes a fleet and its model."""

    def fleet() -> tuple[Fleet, CountingModel]:
        rule = {"threshold": 2.0, "alert": AlertRule(smoothing=0.5)}
        model = CountingModel.open(remembering.record(1, **rule), "litert")
        assert isinstance(model, CountingModel)
        model.calls = 0
        return Fleet(model), model

    return fleet


def flood(fleet: Fleet, apart_ms: int, began_ms: int = 0) -> Any:
    """COUNT samples of car `a`, so far apart, and one of each of the others; returns those of `a`."""
    noise = np.random.default_rng(1).normal(size=(COUNT + OTHERS, K)).astype(np.float32)
    cars = [("a", seq) for seq in range(1, COUNT + 1)] + [(f"b{n}", 1) for n in range(OTHERS)]
    times = [began_ms + apart_ms * seq for _, seq in cars[:COUNT]] + [apart_ms * COUNT] * OTHERS
    fleet.records(cars, noise, at_ms=times)
    return noise[:COUNT]


@pytest.mark.parametrize(("apart_ms", "began_ms"), [(0, 0), (1, 0), (1_000, -2 * DAY_MS)])
def test_a_flood_costs_a_bounded_number_of_calls(make: Any, apart_ms: int, began_ms: int) -> None:
    """Samples faster than a car takes them, or older than the log: all are scored, some move the state."""
    fleet, model = make()
    flood(fleet, apart_ms, began_ms)
    assert model.calls <= ROUNDS_MAX + 10
    assert fleet.detector.seq.values[fleet.number("b7")] == 1
    fleet.samples(["a"], np.zeros(K, np.float32))


def test_a_backlog_moves_the_state_with_every_sample(make: Any) -> None:
    """A car that was away for ten minutes ends in the state in which it would be otherwise."""
    (at_once, _), (one_by_one, _) = make(), make()
    for seq, signals in enumerate(flood(at_once, 1_000), 1):
        one_by_one.records([("a", seq)], signals[None, :], at_ms=[1_000 * seq])
    np.testing.assert_array_equal(at_once.state("a", 1), one_by_one.state("a", 1))
    assert at_once.detector.seq.values[at_once.number("a")] == COUNT
