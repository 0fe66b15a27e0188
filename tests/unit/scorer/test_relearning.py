"""A signal such as a firmware that flickers does not keep its car unlearned."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from contract.joined import Joined
from contract.state_layout import SEEN, StateLayout
from scorer.cars import CarTable
from scorer.model_states import ModelStates
from scorer.relearning import A_WEEK_MAX, LASTING_SAMPLES

LEARNING, IDENTITY, WIDTH = 100, 3, 4
A, B = 1.0, 2.0
LAYOUT = StateLayout(
    width=WIDTH,
    learning_samples=LEARNING,
    memory_samples=10,
    sample_interval_s=1,
    baseline=(1, 2),
    deviation=(2, 3),
    units="u",
)
DAY_MS = 86_400_000


def step(signals: Any, state: Any) -> tuple[Any, Any, Any]:
    """A graph that begins anew where the identity changes, as the trainer's does."""
    after = state.copy()
    after[(state[:, IDENTITY] != signals[:, 0]) & (state[:, SEEN] > 0)] = 0
    after[:, SEEN] = np.minimum(after[:, SEEN] + 1, LEARNING)
    after[:, IDENTITY] = signals[:, 0]
    return np.zeros(len(state), np.float32), signals, after


class Learned:
    """Two cars, of which the second one always says A."""

    def __init__(self) -> None:
        self.cars = CarTable()
        self.numbers = self.cars.numbers(Joined.of([b"a", b"b"]), np.zeros(2, np.int32))
        manifest = SimpleNamespace(version=1, state=LAYOUT, hypotheses=None)
        model: Any = SimpleNamespace(manifest=manifest, width=WIDTH, step=step)
        self.states = ModelStates(model, self.cars)

    def give(self, *identities: float) -> None:
        for identity in identities:
            self.cars.now_ms += 1_000
            signals = np.array([[identity], [A]], np.float32)
            *_, after = self.states.step(self.numbers, signals)
            self.states.column.put(self.numbers, after)

    @property
    def warm(self) -> list[bool]:
        return list(self.states.warm(self.numbers).tolist())

    @property
    def identity(self) -> float:
        return float(self.states.column.values[0, IDENTITY])


def count(name: str) -> float:
    return REGISTRY.get_sample_value(f"scorer_{name}_total") or 0


@pytest.mark.parametrize("period", [1, 2, 10, LASTING_SAMPLES - 1])
@pytest.mark.parametrize("learned_first", [False, True])
def test_a_flicker_does_not_matter(period: int, learned_first: bool) -> None:
    """The car is learned from the samples of one firmware, and stays learned; the others are counted."""
    learned, before = Learned(), count("relearning_put_off")
    learned.give(*[A] * (LEARNING if learned_first else 20))
    learned.give(*([B] * period + [A] * period) * (LEARNING // period))
    assert learned.warm == [True, True]
    assert learned.identity == A
    assert count("relearning_put_off") - before == period * (LEARNING // period)


def test_a_new_firmware_that_lasts_is_learned() -> None:
    """After a few samples, once; and it is counted."""
    learned, before = Learned(), count("relearned_cars")
    learned.give(*[A] * LEARNING, *[B] * (LASTING_SAMPLES - 1))
    assert learned.warm == [True, True]
    learned.give(B)
    assert (learned.warm, learned.identity) == ([False, True], B)
    learned.give(*[B] * LEARNING)
    assert learned.warm == [True, True]
    assert count("relearned_cars") - before == 1


def test_a_slow_flicker_is_bounded_to_a_few_times_a_week() -> None:
    """Then the car stays with what was learned last; a week later it may be learned anew again."""
    learned, before = Learned(), count("relearned_cars")
    learned.give(*[A] * LEARNING)
    slow = [B] * 30 + [A] * 30
    learned.give(*slow * 20)
    assert count("relearned_cars") - before == A_WEEK_MAX
    assert learned.warm == [True, True]
    learned.cars.now_ms += 8 * DAY_MS
    learned.give(*slow)
    assert count("relearned_cars") - before == A_WEEK_MAX + 1
