"""The slice: bounds, order, duplicates."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contract.records import body, confluent_header
from contract.schema import get
from contract.telemetry import SIGNALS
from trainer import log_slice
from trainer.log_slice import MaintenanceReport, Telemetry, faulty_cars, newest, ordered, records_in, reports


@pytest.mark.parametrize(
    ("lengths", "records_max", "kept"),
    [
        ([10, 10, 10], 30, [10, 10, 10]),
        ([10, 10, 10], 100, [10, 10, 10]),
        ([10, 10, 10], 15, [5, 5, 5]),
        ([2, 10, 10], 16, [2, 7, 7]),
        ([0, 100, 1], 21, [0, 20, 1]),
        ([0, 0], 5, [0, 0]),
        ([7], 3, [3]),
    ],
)
def test_the_newest_records_are_shared_out_among_partitions(
    lengths: list[int], records_max: int, kept: list[int]
) -> None:
    """At most records_max; every partition keeps its newest; what short ones leave goes to long ones."""
    ranges: Any = {"t": {number: (100, 100 + length) for number, length in enumerate(lengths)}}
    kept_ranges = newest(ranges, records_max)
    assert [after - first for first, after in kept_ranges["t"].values()] == kept
    assert all(
        after == 100 + length for (_, after), length in zip(kept_ranges["t"].values(), lengths, strict=True)
    )
    assert records_in(kept_ranges) == sum(kept) <= records_max


def test_several_topics_share_one_bound() -> None:
    """Two edges that feed one cloud are one slice."""
    kept_ranges = newest({"a.telemetry": {0: (0, 50)}, "b.telemetry": {0: (0, 50)}}, 40)
    assert kept_ranges == {"a.telemetry": {0: (30, 50)}, "b.telemetry": {0: (30, 50)}}


def test_a_slice_does_not_depend_on_the_order_of_reading() -> None:
    """Cars by id, records by seq, and every (car, seq) once, however the partitions came."""
    rng = np.random.default_rng(1)
    car, seq = (grid.ravel() for grid in np.meshgrid(np.arange(4), np.arange(1, 6), indexing="ij"))
    signals = np.repeat((car * 100 + seq)[:, None], len(SIGNALS), axis=1).astype(np.float32)
    sound = Telemetry((b"a", b"b", b"c", b"d"), car.astype(np.int32), seq, seq * 1000, signals, 0, Counter())
    rows = rng.permutation(np.concatenate([np.arange(20), [3, 3, 17]]))
    names = rng.permutation(4)
    mixed = Telemetry(
        tuple(sound.cars[name] for name in names),
        np.argsort(names).astype(np.int32)[car[rows]],
        seq[rows],
        seq[rows] * 1000,
        signals[rows],
    )
    result = ordered(mixed)
    assert result.cars == sound.cars
    assert result.duplicates == 3
    for name in ("car", "seq", "sampled_at_ms", "signals"):
        assert np.array_equal(getattr(result, name), getattr(sound, name)), name


def test_an_empty_slice_stays_empty() -> None:
    """Nothing to order is no error."""
    none = np.empty(0, np.int64)
    empty = Telemetry((), none.astype(np.int32), none, none, np.empty((0, len(SIGNALS)), np.float32))
    assert len(ordered(empty).car) == 0


@pytest.mark.parametrize("ids", [None, {1: 3001, 2: 3}], ids=["of the files", "of a registry"])
def test_reports_of_both_versions_are_read(
    ids: dict[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that nothing was found is of a healthy car; one that comes twice counts once."""
    record = {"component": "battery", "action": "repaired", "occurred_at": 7, "reported_at": 8}
    v1, v2 = (get("maintenance", version) for version in (1, 2))
    numbers = ids or {1: v1.schema_id, 2: v2.schema_id}
    values = [
        confluent_header(numbers[schema.version])
        + body(schema, record | {"car_id": car, "report_id": car} | more)
        for schema, car, more in (
            (v1, "a", {}),
            (v2, "b", {}),
            (v2, "c", {"inspected": True, "alert_id": "c-1"}),
            (v2, "d", {"action": "failed"}),
        )
    ]
    messages = [SimpleNamespace(value=lambda value=value: value) for value in (*values, values[2], b"what")]
    monkeypatch.setattr(log_slice, "read", lambda consumer, ranges: iter([messages]))
    consumer: Any = None
    found = reports(consumer, {}, {numbers[1]: v1, numbers[2]: v2})
    assert found == [
        MaintenanceReport(car, "battery", action, 7)
        for car, action in ((b"a", "repaired"), (b"b", "repaired"), (b"c", "inspected"), (b"d", "failed"))
    ]
    assert faulty_cars(found) == {b"a", b"b", b"d"}


def test_no_later_report_replaces_what_a_workshop_has_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither one of another car with the same id, nor one of the car itself, which is named in the log."""
    schema = get("maintenance", 2)
    record = {"car_id": "a", "report_id": "r-1", "component": "battery", "action": "failed", "occurred_at": 7}
    first = record | {"reported_at": 8}
    values = [
        confluent_header(schema.schema_id) + body(schema, first | more)
        for more in ({}, {"car_id": "b"}, {"action": "repaired", "inspected": True}, {})
    ]
    messages = [SimpleNamespace(value=lambda value=value: value) for value in values]
    monkeypatch.setattr(log_slice, "read", lambda consumer, ranges: iter([messages]))
    consumer: Any = None
    found = reports(consumer, {}, {schema.schema_id: schema})
    assert found == [MaintenanceReport(car, "battery", "failed", 7) for car in (b"a", b"b")]
    (line,) = caplog.records
    assert line.__dict__["reports"] == 1
