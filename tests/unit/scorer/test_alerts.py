"""Alerts open and close by the alert rule, with a hypothesis, and keep their id."""

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
from scorer.cars import ByCar, CarTable
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.scoring import score
from scorer.shares import Components
from scorer.source import Source

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
    """A model without state: the score is the distance from the mean in spreads, the threshold 12."""
    return Model.open(detector.record(3, 12.0, alert=RULE, components=COMPONENTS), "litert")


def off(detector: Any, spreads: float, signal: str = "coolant_temp") -> Any:
    """A sample with this score: `signal` is off by so many spreads."""
    signals = detector.mean.copy()
    column = SIGNALS.index(signal)
    signals[column] += spreads * detector.spread[column]
    return signals


@pytest.mark.parametrize("batches", [1, 12])
def test_an_alert_opens_and_closes_with_hysteresis(detector: Any, model: Model, batches: int) -> None:
    """The changes are those of the rule over the car's scores, in one batch or in many."""
    fleet = Fleet(model)
    course = [0, 14, 14, 14, 14, 9, 9, 9, 2, 0, 20, 20]
    for part in np.array_split(np.array([off(detector, spreads) for spreads in course]), batches):
        fleet.samples(["a"] * len(part), part)
    # Levels: 0, 7, 10.5, 12.25, 13.1, 11.1, 10, 9.5, 5.8, 2.9, 11.4, 15.7
    assert fleet.changes == [("a", 4, True), ("a", 9, False), ("a", 12, True)]
    assert len(fleet.detector.alerts) == 1


def test_cars_have_alerts_of_their_own(detector: Any, model: Model) -> None:
    """Each car's alert opens with its own score, whatever the scores of other cars."""
    fleet = Fleet(model)
    samples = {"a": [40, 0, 0, 0], "b": [0, 0, 40], "c": [10, 10, 10, 10]}
    cars = [car for car, course in samples.items() for _ in course]
    signals = np.array([off(detector, spreads) for course in samples.values() for spreads in course])
    fleet.samples(cars, signals)
    assert fleet.changes == [("a", 1, True), ("a", 3, False), ("b", 3, True)]


def test_an_alert_opened_and_closed_in_one_batch_is_over(detector: Any, model: Model) -> None:
    """A later level between the closing and the opening bound opens none."""
    fleet = Fleet(model)
    fleet.samples(["a"] * 3, np.array([off(detector, spreads) for spreads in (40, 0, 0)]))
    # Levels: 20, 10, 5; 9.5, 4.8
    fleet.samples(["a"], off(detector, 14))
    fleet.samples(["a"], off(detector, 0))
    assert fleet.changes == [("a", 1, True), ("a", 3, False)]
    assert not len(fleet.detector.alerts)


def test_batches_of_many_cars_follow_the_rule() -> None:
    """For random scores all changes and levels are those of `advance` with one score of one car at a time."""
    random, cars, count = np.random.default_rng(1), CarTable(), 20
    alerts = Alerts(cars)
    cars.numbers(Joined.of([b"car-%d" % car for car in range(count)]), np.zeros(count, np.int32))
    level, is_open, count_changes = np.zeros(count, np.float32), np.zeros(count, np.bool_), 0
    for _ in range(40):
        scored = random.integers(0, count, random.integers(1, 80))
        shares = random.normal(0.8, 0.7, len(scored)).astype(np.float32)
        rounds = ByCar.of(scored).rounds(np.ones(len(scored), np.bool_))
        changes = set()
        for i, opens in alerts.advance(rounds, shares[rounds.rows], RULE)[1]:
            changes.add((int(rounds.rows[i]), opens))
            if opens:
                alerts.open(int(rounds.cars[i]), Alert(1, 1, "", 0.0))
            else:
                alerts.close(int(rounds.cars[i]))
        expected = set()
        for row, car in enumerate(scored.tolist()):
            one = slice(car, car + 1)
            level[one], is_open[one], opened, closed = advance(
                level[one], is_open[one], shares[row : row + 1], threshold=1.0, rule=RULE
            )
            if opened or closed:
                expected.add((row, bool(opened)))
        assert changes == expected
        count_changes += len(changes)
        np.testing.assert_array_equal(alerts.level.values[:count], level)
        np.testing.assert_array_equal(alerts.is_open.values[:count], is_open)
    assert count_changes > 100


def test_late_and_repeated_records_move_no_level(detector: Any, model: Model) -> None:
    """A late record can be an anomaly, but it changes no level and opens no alert."""
    fleet = Fleet(model)
    fleet.records([("a", 1), ("a", 3)], np.tile(detector.mean, (2, 1)))
    odd = np.tile(off(detector, 100), (3, 1))
    fleet.records([("a", 2), ("a", 3), ("a", 2)], odd)
    assert set(fleet.scores) == {("a", 2)}
    assert fleet.changes == []
    assert fleet.detector.alerts.level.values[0] == 0


def test_a_new_threshold_changes_the_scale_and_no_alert(detector: Any, model: Model) -> None:
    """Levels are shares of the threshold, so they stay when a model with another threshold takes over."""
    fleet = Fleet(model)
    fleet.samples(["a"] * 3, off(detector, len(SIGNALS)))
    assert [opened for *_, opened in fleet.changes] == [True]
    fleet.detector.add(Model.open(detector.record(4, 120.0, alert=RULE), "litert"))
    fleet.samples(["a"] * 3, off(detector, 180))
    assert len(fleet.changes) == 1


def test_the_records_of_an_alert_have_all_fields(
    detector: Any, model: Model, decoder: Any, telemetry_log: Any, telemetry_values: Any
) -> None:
    """Car, time, component, signals and model; the opening and the closing record have the same id."""
    odd = off(detector, 40)
    odd[SIGNALS.index("tire_pressure_1_1")] -= 30
    signals = np.array([odd, detector.mean, detector.mean, detector.mean])
    values = telemetry_values(["car-7"] * 4, [5, 6, 7, 8], signals, SAMPLED_AT_MS)
    messages = [telemetry_log.append(value, b"car-7") for value in values]
    anomalies = AnomalyDetector()
    anomalies.add(model)
    batch = Batch.of(messages, [b"car-7"] * 4)
    scored = score(batch, decoder, anomalies, now_ms=SAMPLED_AT_MS + 9, scorer="s", source=Source())
    opened, closed = scored.alerts
    for alert in scored.alerts:
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
    """Two signals point to the component that has both, one alone to the component that has only it."""
    shares = np.array([signals.get(name, 0.0) for name in SIGNALS])
    assert Components(COMPONENTS).hypothesis(shares) == (component, pytest.approx(confidence))


def test_without_components_there_is_no_hypothesis() -> None:
    """Alerts of a model whose manifest names no components have an empty component."""
    assert Components({}).hypothesis(np.full(len(SIGNALS), 1 / len(SIGNALS))) == ("", 0.0)


def test_a_state_tells_components_with_the_same_signals_apart(remembering: Any) -> None:
    """The direction of the car's deviation in its state names the component; the shares are alike."""
    tyre = SIGNALS.index("tire_pressure_1_1")
    column = remembering.layout.deviation[0] + tyre
    hypotheses = Hypotheses(
        columns=(column,), usual=(0.0,), norm=((1.0,),), directions={"tire": ((-1.0,),), "brake": ((1.0,),)}
    )
    record = remembering.record(1, 3.0, alert=RULE, components=COMPONENTS, hypotheses=hypotheses)
    fleet = Fleet(Model.open(record, "litert"))
    signals = np.tile(remembering.mean, (20, 2, 1))
    signals[12:, :, tyre] += remembering.spread[tyre] * np.array([-9, 9])
    fleet.samples(["soft", "hot"] * 20, signals.reshape(-1, len(SIGNALS)))
    alerts = {car: fleet.detector.alerts.get(number) for number, car in enumerate(("soft", "hot"))}
    assert {car: alert.component for car, alert in alerts.items() if alert} == {
        "soft": "tire",
        "hot": "brake",
    }
