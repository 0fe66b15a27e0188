"""The scorecard matches anomalies with the faults that were there."""

from local.scorecard import draw_up, flags, kind


def incident(car: str, onset_s: float, failed_s: float, repaired_s: float) -> dict[str, object]:
    times = {"onset_at": onset_s * 1000, "failed_at": failed_s * 1000, "repaired_at": repaired_s * 1000}
    return {"car_id": car, "component": "tire_1_2", **times}


def test_flag_needs_three_anomalies_close_together() -> None:
    """Single anomalies are chance; three within ten seconds are a flag."""
    assert flags([0, 20, 40, 60]) == []
    assert flags([0, 4, 9, 30]) == [9]


def test_fault_is_found_between_onset_and_repair_with_its_lead() -> None:
    """The lead is the time from the first flag to the failure."""
    card = draw_up([incident("a", 10, 60, 80)], {"a": [30, 31, 32, 33]}, cars=2, from_s=0, to_s=100)
    (fault,) = card.found
    assert (fault.found_s, fault.lead_s, card.false_alarms) == (32, 28, [])
    assert card.per_component() == {"tire": {"present": 1, "half_grown": 1, "failed": 1, "found": 1}}


def test_flag_of_a_sound_car_is_one_false_alarm() -> None:
    """Flags close together are one alarm, later ones another; before the onset they are false as well."""
    anomalies = {"b": [1, 2, 3, 4, 5, 200, 201, 202], "a": [1, 2, 3]}
    card = draw_up([incident("a", 10, 60, 80)], anomalies, cars=2, from_s=0, to_s=300)
    assert sorted(card.false_alarms) == [("a", 3), ("b", 3), ("b", 202)]
    assert card.found == []


def test_fault_that_begins_after_the_run_is_not_present() -> None:
    """Only faults of the scored time count."""
    card = draw_up([incident("a", 100, 160, 180)], {}, cars=1, from_s=0, to_s=100)
    assert card.faults == []
    assert card.as_dict()["faults_present"] == 0


def test_component_kind_has_no_place() -> None:
    """Wheels are told apart in the truth and counted together."""
    assert [kind(c) for c in ("tire_1_2", "wheel_bearing_2_1", "air_filter")] == [
        "tire",
        "wheel_bearing",
        "air_filter",
    ]
