"""Alerts open and close as the rule says, with a hypothesis, and keep their identity."""

from typing import Any

import numpy as np
import pytest

from contract import records
from contract.alert_rule import AlertRule, advance
from contract.hypotheses import Hypotheses
from contract.joined import Joined
from contract.telemetry import SIGNALS
from scorer.alerts import Alert, Alerts
from scorer.batch import Batch
from scorer.cars import ByCar, Cars
from scorer.detector import Detector
from scorer.model import Model
from scorer.scoring import score
from scorer.shares import Components

from .fleet import SAMPLED_AT_MS, Fleet

RULE = AlertRule(smoothing=0.5, close_ratio=0.5)
COMPONENTS = {
    "coolant_circuit": ("coolant_temp",),
    "wheel_bearing_1_1": ("accelerometer_1_1_value", "engine_vibration_amplitude"),
    "vibration_sensor": ("engine_vibration_amplitude",),
    "coolant_temp_sensor": ("coolant_temp",),
}


@pytest.fixture
def model(detector: Any) -> Model:
    """Without state: the score is the distance in spreads; alerts over 12."""
    return Model.open(detector.record(3, 12.0, alert=RULE, components=COMPONENTS), "litert")


def off(detector: Any, spreads: float, signal: str = "coolant_temp") -> Any:
    """A sample with this score."""
    signals = detector.mean.copy()
    place = SIGNALS.index(signal)
    signals[place] += spreads * detector.spread[place]
    return signals


@pytest.mark.parametrize("batches", [1, 12])
def test_an_alert_opens_and_closes_with_hysteresis(detector: Any, model: Model, batches: int) -> None:
    """As the rule's own course over the car's scores, whether they come in one batch or in many."""
    fleet = Fleet(model)
    course = [0, 14, 14, 14, 14, 9, 9, 9, 2, 0, 20, 20]
    for part in np.array_split(np.array([off(detector, spreads) for spreads in course]), batches):
        fleet.samples(["a"] * len(part), part)
    # Levels: 0, 7, 10.5, 12.25, 13.1, 11.1, 10, 9.5, 5.8, 2.9, 11.4, 15.7
    assert fleet.turns == [("a", 4, True), ("a", 9, False), ("a", 12, True)]
    assert len(fleet.detector.alerts) == 1


def test_cars_have_alerts_of_their_own(detector: Any, model: Model) -> None:
    """One car's alert opens in the round in which it is due, whatever the others do."""
    fleet = Fleet(model)
    samples = {"a": [40, 0, 0, 0], "b": [0, 0, 40], "c": [10, 10, 10, 10]}
    cars = [car for car, course in samples.items() for _ in course]
    signals = np.array([off(detector, spreads) for course in samples.values() for spreads in course])
    fleet.samples(cars, signals)
    assert fleet.turns == [("a", 1, True), ("a", 3, False), ("b", 3, True)]


def test_what_opened_and_closed_in_one_batch_is_over(detector: Any, model: Model) -> None:
    """A level that comes to lie between the bounds, and falls again, is then no alert's."""
    fleet = Fleet(model)
    fleet.samples(["a"] * 3, np.array([off(detector, spreads) for spreads in (40, 0, 0)]))
    # Levels: 20, 10, 5; 9.5, 4.8
    fleet.samples(["a"], off(detector, 14))
    fleet.samples(["a"], off(detector, 0))
    assert fleet.turns == [("a", 1, True), ("a", 3, False)]
    assert not len(fleet.detector.alerts)


def test_batches_of_many_cars_turn_as_the_rule_does() -> None:
    """Of random scores every turn and every level is `advance`'s, one score of one car at a time."""
    random, cars, count = np.random.default_rng(1), Cars(), 20
    alerts = Alerts(cars)
    cars.places(Joined.of([b"car-%d" % car for car in range(count)]), np.zeros(count, np.int32))
    level, is_open, turns = np.zeros(count, np.float32), np.zeros(count, np.bool_), 0
    for _ in range(40):
        of = random.integers(0, count, random.integers(1, 80))
        shares = random.normal(0.8, 0.7, len(of)).astype(np.float32)
        rounds = ByCar.of(of).rounds(np.ones(len(of), np.bool_))
        found = set()
        for place, opens in alerts.advance(rounds, shares[rounds.rows], RULE)[1]:
            found.add((int(rounds.rows[place]), opens))
            if opens:
                alerts.open(int(rounds.cars[place]), Alert(1, 1, "", 0.0))
            else:
                alerts.close(int(rounds.cars[place]))
        expected = set()
        for row, car in enumerate(of.tolist()):
            one = slice(car, car + 1)
            level[one], is_open[one], opened, closed = advance(
                level[one], is_open[one], shares[row : row + 1], threshold=1.0, rule=RULE
            )
            if opened or closed:
                expected.add((row, bool(opened)))
        assert found == expected
        turns += len(found)
        np.testing.assert_array_equal(alerts.level.values[:count], level)
        np.testing.assert_array_equal(alerts.are_open(np.arange(count)), is_open)
    assert turns > 100


def test_late_and_repeated_records_move_no_level(detector: Any, model: Model) -> None:
    """A late record is an anomaly if it is one; the alert it might have made is past."""
    fleet = Fleet(model)
    fleet.records([("a", 1), ("a", 3)], np.tile(detector.mean, (2, 1)))
    odd = np.tile(off(detector, 100), (3, 1))
    fleet.records([("a", 2), ("a", 3), ("a", 2)], odd)
    assert set(fleet.scores) == {("a", 2)}
    assert fleet.turns == []
    assert fleet.detector.alerts.level.values[0] == 0


def test_a_new_threshold_changes_the_scale_and_no_alert(detector: Any, model: Model) -> None:
    """A model with another threshold goes on where the car's level stood in thresholds."""
    fleet = Fleet(model)
    fleet.samples(["a"] * 3, off(detector, len(SIGNALS)))
    assert [turn[2] for turn in fleet.turns] == [True]
    fleet.detector.add(Model.open(detector.record(4, 120.0, alert=RULE), "litert"))
    fleet.samples(["a"] * 3, off(detector, 180))
    assert len(fleet.turns) == 1


def test_records_of_an_alert_tell_all(
    detector: Any, model: Model, decoder: Any, telemetry_log: Any, telemetry_values: Any
) -> None:
    """Who, when, which component and signals, by which model; opening and closing share the id."""
    place = SIGNALS.index("tire_pressure_1_1")
    odd = off(detector, 40)
    odd[place] -= 30
    signals = np.array([odd, detector.mean, detector.mean, detector.mean])
    values = telemetry_values(["car-7"] * 4, [5, 6, 7, 8], signals, SAMPLED_AT_MS)
    messages = [telemetry_log.append(value, b"car-7") for value in values]
    scorer = Detector()
    scorer.add(model)
    done = score(Batch.of(messages, [b"car-7"] * 4), decoder, scorer, now_ms=SAMPLED_AT_MS + 9, scorer="s")
    opened, closed = done.alerts
    for alert in done.alerts:
        assert records.decode(records.encode("alert", alert))[0] == "alert"
    shares = [(share["name"], round(share["share"], 2), share["value"]) for share in opened.pop("signals")]
    assert shares == [("coolant_temp", 0.64, 405.0), ("tire_pressure_1_1", 0.36, 2.0)]
    assert opened.pop("confidence") == pytest.approx(0.64)
    assert opened.pop("level") == pytest.approx(25)
    same = {
        "car_id": "car-7", "alert_id": "car-7-5", "opened_at": SAMPLED_AT_MS, "at": SAMPLED_AT_MS,
        "threshold": 12.0, "component": "coolant_circuit", "model_version": 3,
        "scored_at": SAMPLED_AT_MS + 9,
    }  # fmt: skip
    assert opened == same | {"action": "opened"}
    assert closed.pop("level") == pytest.approx(25 / 8, rel=1e-4)
    assert closed.pop("confidence") == pytest.approx(0.64)
    assert closed == same | {"action": "closed", "signals": []}


@pytest.mark.parametrize(
    ("signals", "component", "confidence"),
    [
        ({"coolant_temp": 1.0}, "coolant_circuit", 1.0),
        ({"accelerometer_1_1_value": 0.5, "engine_vibration_amplitude": 0.4}, "wheel_bearing_1_1", 0.9),
        ({"engine_vibration_amplitude": 0.9, "accelerometer_1_1_value": 0.1}, "vibration_sensor", 0.9),
        ({"speed": 1.0}, "", 0.0),
    ],
)
def test_the_hypothesis_is_the_component_of_the_signals(
    signals: dict[str, float], component: str, confidence: float
) -> None:
    """Two signals point to what both speak of, one alone to what only it speaks of, others to nothing."""
    shares = np.array([signals.get(name, 0.0) for name in SIGNALS])
    assert Components(COMPONENTS).hypothesis(shares) == (component, pytest.approx(confidence))


def test_without_components_there_is_no_hypothesis() -> None:
    """A model that names none opens alerts all the same."""
    assert Components({}).hypothesis(np.full(len(SIGNALS), 1 / len(SIGNALS))) == ("", 0.0)


def test_a_state_tells_components_with_the_same_signals_apart(remembering: Any) -> None:
    """By the way the car's deviation goes, in the model that scores it, not by the shares alone."""
    tyre = SIGNALS.index("tire_pressure_1_1")
    column = remembering.layout.deviation[0] + tyre
    known = Hypotheses(
        columns=(column,), usual=(0.0,), norm=((1.0,),), directions={"tire": ((-1.0,),), "brake": ((1.0,),)}
    )
    record = remembering.record(1, 3.0, alert=RULE, components=COMPONENTS, hypotheses=known)
    fleet = Fleet(Model.open(record, "litert"))
    signals = np.tile(remembering.mean, (20, 2, 1))
    signals[12:, :, tyre] += remembering.spread[tyre] * np.array([-9, 9])
    fleet.samples(["soft", "hot"] * 20, signals.reshape(-1, len(SIGNALS)))
    found = {car: fleet.detector.alerts.of(car.encode()) for car in ("soft", "hot")}
    assert {car: alert.component for car, alert in found.items() if alert} == {"soft": "tire", "hot": "brake"}
