"""A general Avro reader reads what the fast encoder of anomalies writes."""

import numpy as np

from contract import anomaly, records
from contract.telemetry import SIGNALS

CARS = ["c", "käfer", "x" * 63, "y" * 200]
SEQ = np.array([0, 70, 2**34 - 1, -(2**34)])
STAMPS = np.array([2**34, 1_790_000_000_000, 2**41 - 1, 0])
SHARES = np.array([[0.5, 0.25, 0.25], [1, 0, 0], [0, 0, 0], [0.75, 0.25, 0]], np.float32)
COLUMNS = np.array([[3, 0, 17], [5, 0, 1], [0, 1, 2], [17, 16, 15]])
VALUES = np.array([[1, 2, 3], [np.inf, 0, 0], [0, 0, 0], [-1, 3e38, 0]], np.float32)


def test_records_hold_the_arguments() -> None:
    """Every field of every record, also of odd ones; signals without a share are left out."""
    values = anomaly.encode(
        [car.encode() for car in CARS], seq=SEQ, sampled_at_ms=STAMPS, scored_at_ms=1_790_000_000_007,
        score=np.array([2, np.inf, -1, 3], np.float32), threshold=np.array([1, 2, 1, 1], np.float32),
        versions=[1, 70_000, 1, 64], signals=COLUMNS, shares=SHARES, values=VALUES,
    )  # fmt: skip
    for row, value in enumerate(values):
        name, record = records.decode(value)
        assert name == "anomaly"
        assert record.pop("signals") == [
            {"name": SIGNALS[column], "share": share, "value": reading}
            for column, share, reading in zip(
                *(a[row].tolist() for a in (COLUMNS, SHARES, VALUES)), strict=True
            )
            if share > 0
        ]
        assert record == {
            "car_id": CARS[row], "seq": SEQ[row], "sampled_at": STAMPS[row], "scored_at": 1_790_000_000_007,
            "score": [2, np.inf, -1, 3][row], "threshold": [1, 2, 1, 1][row],
            "model_version": [1, 70_000, 1, 64][row],
        }  # fmt: skip


def test_no_anomaly_is_no_record() -> None:
    """No anomaly gives an empty list."""
    none, floats = np.empty(0, np.int64), np.empty(0, np.float32)
    assert anomaly.encode(
        [], seq=none, sampled_at_ms=none, scored_at_ms=0, score=floats, threshold=floats, versions=[],
        signals=none.reshape(0, 3), shares=floats.reshape(0, 3), values=floats.reshape(0, 3),
    ) == []  # fmt: skip
