"""The quick writer of car states writes what a general Avro writer does."""

import numpy as np
import pytest

from contract import car_state, records


@pytest.mark.parametrize("width", [0, 1, 37, 64])
@pytest.mark.parametrize("version", [1, 63, 64, 70_000])
@pytest.mark.parametrize("name", ["failure-detector", "a name that is as long as nobody would make it" * 2])
def test_records_are_those_of_the_general_writer(width: int, version: int, name: str) -> None:
    """Byte for byte, whatever size car id, name, seq and state have."""
    cars = ["c", "car-000001", "x" * 63]
    seq = np.array([0, 70, 2**34 - 1])
    stamps = np.array([2**34, 1_790_000_000_000, 2**41 - 1])
    level = np.array([0, 0.5, 3e38], np.float32)
    state = np.random.default_rng(1).normal(size=(3, width)).astype(np.float32)
    found = car_state.encode(
        [car.encode() for car in cars], (name, version), source=("group", "topic id"),
        seq=seq, sampled_at_ms=stamps, alert_level=level, state=state,
    )  # fmt: skip
    for row, car in enumerate(cars):
        expected = {
            "car_id": car, "model_name": name, "group": "group", "topic_id": "topic id",
            "seq": int(seq[row]), "sampled_at": int(stamps[row]),
            "alert_level": float(level[row]), "alert": None,
            "states": [{"model_version": version, "state": state[row].astype("<f4").tobytes()}],
        }  # fmt: skip
        assert found[row] == records.encode("car_state", expected)


def test_no_car_is_no_record() -> None:
    """Nothing to write is nothing written."""
    none = np.empty(0, np.int64)
    assert car_state.encode(
        [], ("m", 1), source=("", ""), seq=none, sampled_at_ms=none,
        alert_level=none.astype(np.float32), state=np.empty((0, 3), np.float32),
    ) == []  # fmt: skip
