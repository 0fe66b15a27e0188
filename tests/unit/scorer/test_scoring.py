"""The results of a batch: anomalies, dead letters, audit records."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contract import records
from contract.telemetry import SIGNALS, Decoder
from scorer.batch import Batch
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.scoring import Scored, score
from scorer.shares import named, shares_of
from scorer.source import Source

SAMPLED_AT_MS, SCORED_AT_MS = 1_800_000_000_000, 1_800_000_000_250


@pytest.fixture
def scored(
    telemetry_log: Any, telemetry_values: Any, decoder: Decoder, model: Model
) -> Callable[..., Scored]:
    """A function that appends values to the log and scores them as one batch."""
    detector = AnomalyDetector()
    detector.add(model)

    def run(*entries: tuple[str | None, int, bytes | None], running: Any = None) -> Scored:
        if running is not None:
            detector.add(running)
        messages = [
            telemetry_log.append(value, None if car is None else car.encode(), partition)
            for car, partition, value in entries
        ]
        return score(
            Batch.of(messages, [m.key() for m in messages]),
            decoder,
            detector,
            now_ms=SCORED_AT_MS,
            scorer="replica-1",
            source=Source("scorers", "log"),
        )

    return run


@pytest.fixture
def sample(telemetry_values: Any, detector: Any) -> Callable[..., tuple[str, int, bytes]]:
    """A function that makes (car, partition, value) of a record: the model's mean but for these signals."""

    def make(car: str, seq: int, partition: int = 0, **signals: float) -> tuple[str, int, bytes]:
        row = detector.mean.copy()
        for name, value in signals.items():
            row[SIGNALS.index(name)] = value
        return car, partition, telemetry_values([car], [seq], row[None, :], SAMPLED_AT_MS)[0]

    return make


def decoded(result: Scored) -> list[dict[str, Any]]:
    """The decoded anomalies; the key of each is its car."""
    anomalies = [records.decode(value)[1] for _, value in result.anomalies]
    assert [anomaly["car_id"].encode() for anomaly in anomalies] == [key for key, _ in result.anomalies]
    return anomalies


AUDIT = {
    "model_version": 3, "scored_at": SCORED_AT_MS, "scorer": "replica-1",
    "group": "scorers", "topic_id": "log",
}  # fmt: skip


def test_a_regular_batch_is_scored_whole(scored: Any, sample: Any) -> None:
    """Normal records give one audit record a partition and nothing else."""
    result = scored(sample("a", 1), sample("b", 4), sample("a", 2))
    assert (result.anomalies, result.rejected) == ([], [])
    assert result.oldest_sample_ms == SAMPLED_AT_MS
    assert result.audits == [
        AUDIT
        | {"partition": 0, "first_offset": 0, "last_offset": 2}
        | {"scored": 3, "duplicates": 0, "late": 0, "rejected": 0}
    ]


def test_counts_of_a_mixed_batch_add_up(scored: Any, sample: Any) -> None:
    """Malformed, repeated and late records are counted in the audit record of their partition."""
    scored(sample("a", 1, 2), sample("a", 4, 2), sample("b", 1, 7))
    result = scored(
        ("a", 2, b"junk"),
        sample("b", 1, 7),
        sample("a", 5, 2),
        (None, 7, sample("b", 9)[2]),
        sample("a", 3, 2),
        sample("b", 2, 7),
        sample("a", 5, 2),
        ("c", 11, None),
    )
    assert [(record.partition, record.offset, error.reason) for error, record in result.rejected] == [
        (2, 2, "bad_frame"), (7, 2, "missing_key"), (11, 0, "bad_frame")
    ]  # fmt: skip
    audits = {audit.pop("partition"): audit for audit in result.audits}
    names = ("first_offset", "last_offset", "scored", "duplicates", "late", "rejected")
    assert {partition: tuple(audit[name] for name in names) for partition, audit in audits.items()} == {
        2: (2, 5, 2, 1, 1, 1),
        7: (1, 3, 1, 1, 0, 1),
        11: (0, 0, 0, 0, 0, 1),
    }
    for audit in result.audits:
        assert records.decode(records.encode("audit", audit | {"partition": 0}))[0] == "audit"


def test_offsets_with_holes_are_spanned(scored: Any, sample: Any, telemetry_log: Any) -> None:
    """The span of the audit record includes offsets without a record (transaction markers)."""
    scored(sample("a", 1))
    telemetry_log.skip(0, 8)
    assert scored(sample("a", 2)).audits[0]["last_offset"] == 8


def test_a_batch_of_malformed_records_is_audited(scored: Any) -> None:
    """Nothing is scored, and the audit record accounts for the offsets."""
    result = scored(("a", 0, b"x"), ("a", 0, b""), ("a", 0, None))
    (audit,) = result.audits
    assert (audit["scored"], audit["rejected"], audit["last_offset"], len(result.rejected)) == (0, 3, 2, 3)
    assert result.oldest_sample_ms == SCORED_AT_MS


def test_a_batch_of_duplicates_is_not_scored(scored: Any, sample: Any) -> None:
    """Records that were all seen before give no anomaly."""
    wild = sample("a", 1, coolant_temp=500.0)
    assert len(scored(wild).anomalies) == 1
    result = scored(wild, wild)
    (audit,) = result.audits
    assert (audit["scored"], audit["duplicates"], result.anomalies) == (0, 2, [])


def test_an_anomaly_has_all_fields(scored: Any, sample: Any, detector: Any) -> None:
    """Among good, repeated and malformed records the anomaly has the fields of its own record."""
    result = scored(
        ("b", 0, b"junk"),
        sample("a", 1),
        sample("a", 1),
        sample("car-9", 9, coolant_temp=85 + 8 * 16, tire_pressure_1_1=32 - 12),
    )
    (anomaly,) = decoded(result)
    signals = anomaly.pop("signals")
    assert anomaly.pop("score") == pytest.approx(20.0, rel=1e-5)
    assert anomaly == {
        "car_id": "car-9", "seq": 9, "threshold": 12.0, "model_version": 3,
        "sampled_at": SAMPLED_AT_MS, "scored_at": SCORED_AT_MS,
    }  # fmt: skip
    assert [(s["name"], round(s["share"], 4), s["value"]) for s in signals] == [
        ("coolant_temp", 0.64, 213.0), ("tire_pressure_1_1", 0.36, 20.0)
    ]  # fmt: skip


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38])
def test_a_value_that_makes_the_score_infinite_is_named(scored: Any, sample: Any, value: float) -> None:
    """That signal is named alone, without signals that are only high or missing."""
    (anomaly,) = decoded(scored(sample("a", 1, current_draw=value, speed=400.0, throttle_pos=np.nan)))
    assert [s["name"] for s in anomaly["signals"]] == ["current_draw"]
    assert anomaly["signals"][0]["share"] == 1.0
    assert not anomaly["score"] <= anomaly["threshold"]


def test_a_missing_signal_is_not_an_anomaly_by_itself(scored: Any, sample: Any) -> None:
    """The graph masks NaN; another signal's fault is still found and named."""
    result = scored(sample("a", 1, speed=np.nan), sample("a", 2, speed=np.nan, coolant_temp=500.0))
    assert [anomaly["seq"] for anomaly in decoded(result)] == [2]
    assert [s["name"] for s in decoded(result)[0]["signals"]] == ["coolant_temp"]


def test_a_nan_score_is_an_anomaly(scored: Any, sample: Any, model: Model) -> None:
    """A model whose score is NaN for a missing signal makes an anomaly that names this signal."""

    def give(signals: Any, state: Any) -> Any:
        contribution = np.zeros_like(signals)
        score = np.where(np.isnan(signals).any(axis=1), np.nan, 0.0)
        return score.astype(np.float32), contribution * score[:, None].astype(np.float32), state

    naive = SimpleNamespace(step=give, threshold=model.threshold, manifest=model.manifest, width=0)
    (anomaly,) = decoded(scored(sample("a", 1), sample("b", 1, throttle_pos=np.nan), running=naive))
    assert anomaly["car_id"] == "b"
    assert np.isnan(anomaly["score"])
    assert "throttle_pos" in [s["name"] for s in anomaly["signals"]]


def test_a_key_that_is_not_utf_8_is_no_error(
    telemetry_log: Any, telemetry_values: Any, decoder: Decoder, model: Model
) -> None:
    """An anomaly of a record with such a key is written like any other."""
    value = telemetry_values(["ab"], [1], np.zeros((1, len(SIGNALS)), np.float32))[0]
    batch = Batch.of([telemetry_log.append(value, b"\xff\xfe")], [b"\xff\xfe"])
    detector = AnomalyDetector()
    detector.add(model)
    result = score(batch, decoder, detector, now_ms=0, scorer="s", source=Source())
    assert len(result.anomalies) + len(result.rejected) == 1
    assert all(anomaly["car_id"] for anomaly in decoded(result))


def test_contributions_count_by_their_size() -> None:
    """At most three signals are named, the largest absolute contribution first; all shares add up to 1."""
    contribution = np.zeros(len(SIGNALS), np.float32)
    contribution[[2, 5, 7, 11]] = [-6, 3, 1, -10]
    values = np.arange(len(SIGNALS), dtype=np.float32)
    (shares,) = shares_of(contribution[None, :], values[None, :])
    assert [(s["name"], s["share"], s["value"]) for s in named(shares, values)] == [
        (SIGNALS[11], 0.5, 11.0), (SIGNALS[2], 0.3, 2.0), (SIGNALS[5], 0.15, 5.0)
    ]  # fmt: skip


def test_no_contribution_names_no_signal() -> None:
    """Contributions that are all zero name no signal."""
    nothing = np.zeros((1, len(SIGNALS)), np.float32)
    assert named(shares_of(nothing, nothing)[0], nothing[0]) == []
