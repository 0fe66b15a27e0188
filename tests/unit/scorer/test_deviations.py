"""How many cars deviate from themselves, in which signal, and which way."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contract.hypotheses import Hypotheses
from contract.joined import Joined
from contract.signals import signal_settings
from contract.state_layout import StateLayout
from scorer.cars import CarTable
from scorer.deviations import beyond
from scorer.model_states import ModelStates

JUDGED = [signal.name for signal in signal_settings().signals if signal.judged]
K = len(JUDGED)
VOLTAGE = JUDGED.index("battery_voltage")
LAYOUT = StateLayout(
    width=2 * K + 2, learning_samples=8, memory_samples=4.0, sample_interval_s=1.0, baseline=(1, 1 + K),
    deviation=(1 + K, 1 + 2 * K), units="", variance=(1 + 2 * K, 2 + 2 * K), strange_variance=7.0,
)  # fmt: skip
# The deviation's columns, in another order than the layout's; healthy cars' are around 0.5, spread by 2 / √K.
HYPOTHESES = Hypotheses(
    columns=tuple(reversed(range(*LAYOUT.deviation))),
    usual=(0.5,) * K,
    norm=tuple(map(tuple, (np.eye(K) / 4).tolist())),
    directions={"battery": ((1.0,) * K,)},
)


@pytest.fixture
def states(remembering: Any) -> ModelStates:
    """Ten learned cars that do not deviate."""
    manifest = remembering.manifest(state=LAYOUT, hypotheses=HYPOTHESES)
    cars = CarTable()
    states: Any = ModelStates(SimpleNamespace(manifest=manifest, width=LAYOUT.width), cars)  # type: ignore[arg-type]
    cars.numbers(Joined.of([b"%d" % car for car in range(10)]), np.zeros(10, np.int32))
    states.column.values[:10, 0] = 8
    states.column.values[:10, slice(*LAYOUT.deviation)] = 0.5
    return states  # type: ignore[no-any-return]


def deviate(states: ModelStates, cars: slice, spreads: float) -> None:
    """Let the voltage of cars deviate by so many healthy spreads."""
    spread = HYPOTHESES.spread[0]
    states.column.values[cars, LAYOUT.deviation[0] + VOLTAGE] = 0.5 + spreads * spread


def counts(states: ModelStates, known: int = 10) -> dict[str, tuple[int, int, int, int]]:
    """The signals in which any car deviates."""
    rows = {row.name: (row.far_below, row.below, row.above, row.far_above) for row in beyond(states, known)}
    assert list(rows) in (JUDGED, [])
    return {name: row for name, row in rows.items() if any(row)}


def test_cars_are_counted_by_signal_and_way(states: ModelStates) -> None:
    """Far ones are among the others, as the counts of a distribution are."""
    for cars, spreads in ((slice(0, 1), -8.1), (slice(1, 3), -1.1), (slice(3, 6), 1.1), (slice(6, 8), 8.1)):
        deviate(states, cars, spreads)
    assert counts(states) == {"battery_voltage": (1, 3, 5, 2)}


def test_only_cars_that_the_model_judges_count(states: ModelStates) -> None:
    """Not one that it learns, nor one of an unknown kind, nor a row that no car has."""
    deviate(states, slice(0, 10), 9)
    states.column.values[0, 0] = 7
    states.column.values[1, -1] = 7.0
    assert counts(states, known=9) == {"battery_voltage": (0, 0, 7, 7)}


def test_more_cars_than_a_block(states: ModelStates) -> None:
    """Blocks add up."""
    states.column.values = np.tile(states.column.values[:10], (2_000, 1))
    deviate(states, slice(0, 12_345), 9)
    assert counts(states, known=20_000) == {"battery_voltage": (0, 0, 12_345, 12_345)}


@pytest.mark.parametrize(
    "changes",
    [{"hypotheses": None}, {"signals": ("speed", "coolant_temp")}, {"state": None}],
    ids=["an old manifest", "other signals", "no state"],
)
def test_nothing_is_said_where_the_spread_is_not_known(
    states: ModelStates, remembering: Any, changes: dict[str, Any]
) -> None:
    """Old manifests, and graphs whose columns are no deviations of the judged signals."""
    states.model.manifest = remembering.manifest(**{"state": LAYOUT, "hypotheses": HYPOTHESES} | changes)
    states.layout = states.model.manifest.state
    assert beyond(states, 10) == ()
