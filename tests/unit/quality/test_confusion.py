"""What alerts named, counted beside what failed."""

import pytest

from quality.ground import Failure
from quality.metrics import confusion, without_wheel


def _failed(kind: str, component: str) -> Failure:
    return Failure(0, kind, component, 0.0, 3600.0)


def test_the_right_component_at_another_wheel_is_wrong():
    """A tyre is counted with its wheel; what was not foreseen counts nowhere."""
    tyre = _failed("slow_puncture", "tire_1_1")
    alerts = [(tyre, "tire_1_1"), (tyre, "tire_2_1"), (tyre, "tire_1_1"), (tyre, "brake_1_1"), (tyre, None)]
    assert confusion(alerts) == {"slow_puncture": {"tire": 2, "brake": 1, "other wheel": 1}}


def test_a_sensor_is_right_only_by_its_own_name():
    """Another sensor keeps its name among the mistakes, and so does an alert that named nothing."""
    drift = _failed("sensor_drift", "coolant_temp_sensor")
    alerts = [(drift, name) for name in ("coolant_temp_sensor", "current_draw_sensor", "")]
    assert confusion(alerts) == {"sensor_drift": {"": 1, "current_draw_sensor": 1, "the sensor": 1}}


@pytest.mark.parametrize(
    ("component", "kind"),
    [("tire_1_2", "tire"), ("wheel_bearing_2_1", "wheel_bearing"), ("coolant_circuit", "coolant_circuit")],
)
def test_components_that_exist_once_per_wheel_are_one_kind(component: str, kind: str):
    """The row and column of the wheel go, nothing else does."""
    assert without_wheel(component) == kind
