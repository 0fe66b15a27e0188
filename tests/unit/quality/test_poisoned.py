"""Poisoned slices are what their names say, and what must not happen is named."""

from typing import Any

import numpy as np
import pytest

from contract.telemetry import SIGNALS, Floats
from quality.life import poisoned, slices
from quality.life.slices import World

VOLTAGE = SIGNALS.index("battery_voltage")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty cars, six samples each."""
    monkeypatch.setattr(slices, "CARS", 50)
    monkeypatch.setattr(slices, "_SAMPLES", 6)


def signals(make: slices.Make) -> Floats:
    return make(World(1)).telemetry.signals


def test_every_slice_is_another_one_and_complete() -> None:
    """Nobody measures the same slice twice under two names; each row has all signals."""
    every = [signals(make) for make in (*slices.POISONED, *slices.SOUND)]
    assert all(np.isfinite(each).all() for each in every)
    clocks = len(slices.POISONED) - 1  # only its times differ from the next hours
    distinct = [each.tobytes() for number, each in enumerate(every) if number != clocks]
    assert len(set(distinct)) == len(distinct)


def test_poisons_change_what_they_say() -> None:
    """Voltages of zero, km/h, exchanged tyres, fewer cars, two cars an id, times ten times further apart."""
    sound, world = signals(slices.next_hours), World(1)
    assert (signals(slices.zero_voltage)[:, VOLTAGE] == 0).all()
    speed = SIGNALS.index("speed")
    np.testing.assert_allclose(signals(slices.speed_in_km_h)[:, speed], 3.6 * sound[:, speed], rtol=1e-6)
    first, last = SIGNALS.index("tire_pressure_1_1"), SIGNALS.index("tire_pressure_2_2")
    np.testing.assert_array_equal(signals(slices.swapped_tyres)[:, first], sound[:, last])
    assert np.array_equal(np.sort(signals(slices.shuffled_signals), axis=1), np.sort(sound, axis=1))
    assert len(slices.one_gateway(world).telemetry.cars) == 30
    doubled = slices.doubled_ids(world).telemetry
    assert (len(doubled.cars), np.bincount(doubled.car).tolist()) == (25, [6] * 25)
    assert set(np.diff(slices.fast_clocks(world).telemetry.sampled_at_ms[:6])) == {600_000}


def row(**changes: Any) -> dict[str, Any]:
    given = {"slice": "s", "poisoned": True, "published": False, "worse_published": False}
    given |= {"good_refused": False, "reason": "why"}
    return given | changes


def test_what_must_not_happen_is_counted() -> None:
    """A model that is published though it is worse, and a sound slice that is refused."""
    good = [row(), row(poisoned=False, published=True), row(published=True)]
    assert all(bar.met for bar in poisoned.bars([{"slices": good}]))
    bad = [row(published=True, worse_published=True), row(poisoned=False, good_refused=True)]
    assert [bar.figure for bar in poisoned.bars([{"slices": good}, {"slices": bad}])] == [1, 1]
