"""The domain: which coordinate may be used to predict which signal."""

import numpy as np

from contract.telemetry import SIGNALS
from trainer.model.domain import columns, fleet_domain


def test_no_signal_is_expected_from_anything_made_of_it() -> None:
    """Neither the signal nor a ratio with it is visible; it is judged by itself or by its ratio."""
    domain = fleet_domain()
    for signal, target in enumerate(domain.targets()):
        assert domain.parts()[target, signal]
        assert not domain.visible()[signal, signal]
        assert not (domain.visible() & domain.parts())[:, signal].any()
        assert not domain.helpful()[domain.parts()[:, signal], signal].any()


def test_the_fleets_operating_point_leaves_each_condition_expectable() -> None:
    """At least one condition is visible to every judged signal."""
    domain = fleet_domain()
    sees = domain.visible() & domain.conditions[:, None]
    assert sees[:, domain.judged].any(axis=0).all()


def test_a_model_of_some_signals_has_their_part_of_the_settings() -> None:
    """Ratios, deviations and components of the signals that it does not judge are left out."""
    whole, names = fleet_domain(), tuple(name for name in SIGNALS if name != "motor_temp")
    part = fleet_domain(names)
    assert part.signals == names
    assert part.ratios == whole.ratios
    assert whole.components.keys() - part.components.keys() == {"motor_temp_sensor"}
    assert {change.signal for change in part.components["coolant_circuit"]} == {
        "coolant_temp",
        "intake_air_flow_speed",
    }
    assert {each.name for each in whole.deviations} - {each.name for each in part.deviations} == {
        "motor 20 K hotter"
    }


def test_columns_are_picked_by_name() -> None:
    """In any order; a column that is not there is NaN; nothing is copied where names are the same."""
    signals = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(
        columns(signals, ("a", "b"), ("b", "x", "a")), [[2, np.nan, 1], [4, np.nan, 3]]
    )
    assert columns(signals, ("a", "b"), ("a", "b")) is signals
