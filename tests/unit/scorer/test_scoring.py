"""What a batch comes to: anomalies, dead letters, audit records."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contract import records
from contract.telemetry import SIGNALS, Decoder
from scorer.batch import Batch
from scorer.detector import Detector
from scorer.model import Model
from scorer.scoring import Scored, score
from scorer.shares import named, shares_of

SAMPLED_AT_MS, SCORED_AT_MS = 1_800_000_000_000, 1_800_000_000_250


@pytest.fixture
def scored(
    telemetry_log: Any, telemetry_values: Any, decoder: Decoder, model: Model
) -> Callable[..., Scored]:
    """Appends values to the log and scores them as one batch."""
    detector = Detector()
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
        )

    return run


@pytest.fixture
def sample(telemetry_values: Any, detector: Any) -> Callable[..., tuple[str, int, bytes]]:
    """(car, partition, value) of one record at the model's mean but for the signals named."""

    def make(car: str, seq: int, partition: int = 0, **signals: float) -> tuple[str, int, bytes]:
        row = detector.mean.copy()
        for name, value in signals.items():
            row[SIGNALS.index(name)] = value
        return car, partition, telemetry_values([car], [seq], row[None, :], SAMPLED_AT_MS)[0]

    return make


def decoded(done: Scored) -> list[dict[str, Any]]:
    """The anomalies; the key of each is its car."""
    found = [records.decode(value)[1] for _, value in done.anomalies]
    assert [anomaly["car_id"].encode() for anomaly in found] == [key for key, _ in done.anomalies]
    return found


AUDIT = {"model_version": 3, "scored_at": SCORED_AT_MS, "scorer": "replica-1"}


def test_a_regular_batch_is_scored_whole(scored: Any, sample: Any) -> None:
    """Records near the mean give one audit record a partition and nothing else."""
    done = scored(sample("a", 1), sample("b", 4), sample("a", 2))
    assert (done.scored, done.duplicates, done.late, done.anomalies, done.rejected) == (3, 0, 0, [], [])
    assert done.next_offsets == {0: 3}
    assert done.oldest_sample_ms == SAMPLED_AT_MS
    assert done.audits == [
        AUDIT
        | {"partition": 0, "first_offset": 0, "last_offset": 2}
        | {"scored": 3, "duplicates": 0, "late": 0, "rejected": 0}
    ]


def test_counts_of_a_mixed_batch_add_up(scored: Any, sample: Any) -> None:
    """Malformed, repeated and late records of several partitions are counted where they belong."""
    scored(sample("a", 1, 2), sample("a", 4, 2), sample("b", 1, 7))
    done = scored(
        ("a", 2, b"junk"),
        sample("b", 1, 7),
        sample("a", 5, 2),
        (None, 7, sample("b", 9)[2]),
        sample("a", 3, 2),
        sample("b", 2, 7),
        sample("a", 5, 2),
        ("c", 11, None),
    )
    assert [(row, error.reason) for row, error in done.rejected] == [
        (0, "bad_frame"), (3, "missing_key"), (7, "bad_frame")
    ]  # fmt: skip
    of = {audit.pop("partition"): audit for audit in done.audits}
    names = ("first_offset", "last_offset", "scored", "duplicates", "late", "rejected")
    assert {partition: tuple(audit[name] for name in names) for partition, audit in of.items()} == {
        2: (2, 5, 2, 1, 1, 1),
        7: (1, 3, 1, 1, 0, 1),
        11: (0, 0, 0, 0, 0, 1),
    }
    assert (done.scored, done.duplicates, done.late) == (3, 2, 1)
    assert done.next_offsets == {2: 6, 7: 4, 11: 1}
    for audit in done.audits:
        assert records.decode(records.encode("audit", audit | {"partition": 0}))[0] == "audit"


def test_offsets_with_holes_are_spanned(scored: Any, sample: Any, telemetry_log: Any) -> None:
    """Offsets without a record (transaction markers) lie within the audit record's span."""
    scored(sample("a", 1))
    telemetry_log.skip(0, 8)
    assert scored(sample("a", 2)).next_offsets == {0: 9}


def test_a_batch_without_a_sound_record_is_audited(scored: Any) -> None:
    """Where every record is malformed nothing is scored and the offsets are accounted for."""
    done = scored(("a", 0, b"x"), ("a", 0, b""), ("a", 0, None))
    assert (done.scored, len(done.rejected), done.next_offsets) == (0, 3, {0: 3})
    assert done.audits[0]["rejected"] == 3
    assert done.oldest_sample_ms == SCORED_AT_MS


def test_a_batch_of_duplicates_is_not_scored(scored: Any, sample: Any) -> None:
    """No model run and no anomaly for records that were all seen before."""
    wild = sample("a", 1, coolant_temp=500.0)
    assert len(scored(wild).anomalies) == 1
    done = scored(wild, wild)
    assert (done.scored, done.duplicates, done.anomalies) == (0, 2, [])


def test_an_anomaly_says_who_when_why_and_by_which_model(scored: Any, sample: Any, detector: Any) -> None:
    """Among good, repeated and malformed records the anomaly is the right one's, with all its fields."""
    done = scored(
        ("b", 0, b"junk"),
        sample("a", 1),
        sample("a", 1),
        sample("car-9", 9, coolant_temp=85 + 8 * 16, tire_pressure_1_1=32 - 12),
    )
    (anomaly,) = decoded(done)
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
def test_a_value_beyond_all_bounds_is_named(scored: Any, sample: Any, value: float) -> None:
    """The signal that makes a score infinite is named alone, not one that is merely high or missing."""
    (anomaly,) = decoded(scored(sample("a", 1, current_draw=value, speed=400.0, throttle_pos=np.nan)))
    assert [s["name"] for s in anomaly["signals"]] == ["current_draw"]
    assert anomaly["signals"][0]["share"] == 1.0
    assert not anomaly["score"] <= anomaly["threshold"]


def test_a_missing_signal_is_not_an_anomaly_by_itself(scored: Any, sample: Any) -> None:
    """The detector masks NaN; another signal's fault is still named, and its share is of what is there."""
    done = scored(sample("a", 1, speed=np.nan), sample("a", 2, speed=np.nan, coolant_temp=500.0))
    assert [anomaly["seq"] for anomaly in decoded(done)] == [2]
    assert [s["name"] for s in decoded(done)[0]["signals"]] == ["coolant_temp"]


def test_a_score_that_is_no_number_is_an_anomaly(scored: Any, sample: Any, model: Model) -> None:
    """A model that gives NaN for a missing signal makes an anomaly that names this signal."""

    def give(signals: Any, state: Any) -> Any:
        contribution = np.zeros_like(signals)
        score = np.where(np.isnan(signals).any(axis=1), np.nan, 0.0)
        return score.astype(np.float32), contribution * score[:, None].astype(np.float32), state

    naive = SimpleNamespace(step=give, threshold=model.threshold, manifest=model.manifest, width=0)
    (anomaly,) = decoded(scored(sample("a", 1), sample("b", 1, throttle_pos=np.nan), running=naive))
    assert anomaly["car_id"] == "b"
    assert np.isnan(anomaly["score"])
    assert "throttle_pos" in [s["name"] for s in anomaly["signals"]]


def test_a_key_that_is_no_text_stops_nothing(
    telemetry_log: Any, telemetry_values: Any, decoder: Decoder, model: Model
) -> None:
    """An anomaly of a record with such a key is written like any other."""
    value = telemetry_values(["ab"], [1], np.zeros((1, len(SIGNALS)), np.float32))[0]
    batch = Batch.of([telemetry_log.append(value, b"\xff\xfe")], [b"\xff\xfe"])
    detector = Detector()
    detector.add(model)
    done = score(batch, decoder, detector, now_ms=0, scorer="s")
    assert len(done.anomalies) + len(done.rejected) == 1
    assert all(anomaly["car_id"] for anomaly in decoded(done))


def test_shares_of_signed_contributions_count_by_size() -> None:
    """At most three signals, the largest first, by the size of the contribution; all shares add up to 1."""
    contribution = np.zeros(len(SIGNALS), np.float32)
    contribution[[2, 5, 7, 11]] = [-6, 3, 1, -10]
    values = np.arange(len(SIGNALS), dtype=np.float32)
    (shares,) = shares_of(contribution[None, :], values[None, :])
    assert [(s["name"], s["share"], s["value"]) for s in named(shares, values)] == [
        (SIGNALS[11], 0.5, 11.0), (SIGNALS[2], 0.3, 2.0), (SIGNALS[5], 0.15, 5.0)
    ]  # fmt: skip


def test_no_contribution_names_no_signal() -> None:
    """Contributions that are all zero give no name rather than a wrong one."""
    nothing = np.zeros((1, len(SIGNALS)), np.float32)
    assert named(shares_of(nothing, nothing)[0], nothing[0]) == []
