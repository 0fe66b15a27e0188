"""Every record is accounted for: scored, found to be a duplicate, or a dead letter."""

import time
from typing import Any

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from contract.topics import ANOMALIES, AUDIT, REJECTED, TELEMETRY

from .edge import until

pytestmark = pytest.mark.integration


def test_without_a_model_it_waits_and_then_begins_at_the_beginning(
    edge: Any, replica: Any, model_record: Any
) -> None:
    """Unready, and nothing scored, until the first model comes; then the earliest record is scored first."""
    edge.send(["a", "b", "c"] * 5, np.repeat(np.arange(1, 6), 3))
    scorer = replica()
    until(lambda: scorer.probe("/readyz") == (503, "no model yet\n"), "unready for want of a model")
    time.sleep(1)
    assert scorer.probe("/healthz")[0] == 200
    assert scorer.probe("/readyz")[0] == 503
    assert edge.read(AUDIT) == []
    edge.publish(model_record(version=4))
    scorer.wait_ready()
    until(edge.scored_once, "every record scored")
    assert edge.counts() == {"scored": 15, "duplicates": 0, "late": 0, "rejected": 0}
    assert {audit["model_version"] for audit in edge.decoded(AUDIT)} == {4}
    assert scorer.metric("scorer_model_version") == 4


def test_an_anomaly_tells_all(edge: Any, replica: Any, model_record: Any, detector: Any) -> None:
    """Car (also as key), seq, times, score, threshold, model version and the signals that make it."""
    signals = np.tile(detector.mean, (3, 1))
    signals[1, SIGNALS.index("coolant_temp")] += 8 * 16
    signals[1, SIGNALS.index("tire_pressure_1_1")] -= 12
    edge.publish(model_record(version=7))
    started_ms = time.time() * 1_000
    edge.send(["car-1"] * 3, [1, 2, 3], signals)
    replica().wait_ready()
    until(edge.scored_once, "every record scored")
    (message,) = edge.read(ANOMALIES)
    (anomaly,) = edge.decoded(ANOMALIES)
    assert message.key() == b"car-1"
    shares = anomaly.pop("signals")
    assert started_ms - 1 <= anomaly.pop("sampled_at") <= anomaly.pop("scored_at") <= time.time() * 1_000
    assert anomaly.pop("score") == pytest.approx(20, rel=1e-5)
    assert anomaly == {"car_id": "car-1", "seq": 2, "threshold": 12, "model_version": 7}
    assert [(share["name"], round(share["share"], 4)) for share in shares] == [
        ("coolant_temp", 0.64), ("tire_pressure_1_1", 0.36)
    ]  # fmt: skip
    assert [share["value"] for share in shares] == [213, 20]


def test_malformed_records_become_dead_letters(
    edge: Any, replica: Any, model_record: Any, telemetry_values: Any
) -> None:
    """Each with its bytes, its key, the reason and its place as headers; what is around them is scored."""
    sound = telemetry_values(["a"], [1])[0]
    bad = {
        b"": "bad_frame",
        b"junk": "bad_frame",
        b"\x00\x00\x00\x03\xe7" + sound[5:]: "unknown_schema",
        sound[:-3]: "malformed_record",
        sound + b"\0": "malformed_record",
    }
    edge.publish(model_record())
    edge.send(["a"], [1])
    place = {message.key(): message.partition() for message in edge.read(TELEMETRY)}[b"a"]
    for value in bad:
        edge.write(TELEMETRY, value, b"a", partition=place)
    edge.write(TELEMETRY, sound, None, partition=place)
    edge.write(TELEMETRY, None, b"a", partition=place)
    edge.send(["a"], [2])
    scorer = replica()
    scorer.wait_ready()
    until(edge.scored_once, "every record accounted for")
    assert edge.counts() == {"scored": 2, "duplicates": 0, "late": 0, "rejected": 7}
    low = edge.ends(TELEMETRY)[place][0]
    letters = {dict(letter.headers())["kafka_record"].decode(): letter for letter in edge.read(REJECTED)}
    expected = [*bad.items(), (sound, "missing_key"), (None, "bad_frame")]
    assert len(letters) == len(expected)
    for number, (value, reason) in enumerate(expected, 1):
        letter = letters[f"telemetry/{place}/{low + number}"]
        assert (letter.value() or b"", dict(letter.headers())["reason"].decode()) == (value or b"", reason)
        assert letter.key() == (None if reason == "missing_key" else b"a")
    assert scorer.metric("scorer_rejected_records_total", reason="malformed_record") == 2


def test_a_record_sent_twice_is_scored_once(
    edge: Any, replica: Any, model_record: Any, detector: Any
) -> None:
    """Within a run and across a restart; what comes late is scored, once."""
    odd = np.tile(detector.mean + 100, (6, 1))
    edge.publish(model_record())
    scorer = replica()
    edge.send(["a", "a", "b", "a", "a", "b"], [1, 2, 1, 2, 5, 1], odd)
    until(edge.scored_once, "every record accounted for")
    assert edge.counts() == {"scored": 4, "duplicates": 2, "late": 0, "rejected": 0}
    assert scorer.stop()[0] == 0
    scorer.start()
    edge.send(["a", "a", "b", "a", "a", "b"], [1, 4, 1, 5, 6, 2], odd)
    until(edge.scored_once, "every record accounted for")
    assert edge.counts() == {"scored": 7, "duplicates": 5, "late": 1, "rejected": 0}
    anomalies = sorted((anomaly["car_id"], anomaly["seq"]) for anomaly in edge.decoded(ANOMALIES))
    assert anomalies == [("a", 1), ("a", 2), ("a", 4), ("a", 5), ("a", 6), ("b", 1), ("b", 2)]
    assert scorer.metric("scorer_duplicate_records_total") == 3


def test_told_to_stop_it_commits_and_ends(edge: Any, replica: Any, model_record: Any) -> None:
    """SIGTERM: exit status 0 within 5 s, offsets committed; a restart has nothing left to do and says so."""
    edge.publish(model_record())
    edge.send([f"car-{number}" for number in range(300)] * 3, np.repeat([1, 2, 3], 300))
    scorer = replica()
    until(edge.scored_once, "every record scored")
    status, seconds = scorer.stop()
    assert status == 0
    assert seconds < 5
    ends = {partition: high for partition, (low, high) in edge.ends(TELEMETRY).items() if low < high}
    assert edge.committed() == ends
    scorer.start()
    scorer.wait_shows("scorer_known_cars", 300)
    assert scorer.metric("scorer_lag_records") == 0
    assert scorer.metric("scorer_scored_records_total") == 0
