"""What a slice must hold, estimated from the newest records of a fleet."""

import numpy as np

from contract.telemetry import SIGNALS
from trainer import capacity
from trainer.log_slice import Telemetry


def newest(samples: list[int], interval_ms: int = 500) -> Telemetry:
    """The newest records of cars with so many samples each."""
    car = np.repeat(np.arange(len(samples), dtype=np.int32), samples)
    seq = np.array([row for count in samples for row in range(count)], np.int64)
    names = tuple(f"car-{number:06d}".encode() for number in range(len(samples)))
    return Telemetry(names, car, seq, seq * interval_ms, np.zeros((len(car), len(SIGNALS)), np.float32))


def test_eight_hours_of_five_hundred_cars_at_two_hertz():
    """What the defaults ask of a small fleet: 57 600 samples a car to learn from, as many to judge by."""
    need = capacity.need(newest([40] * 500), 28_800.0)
    assert need is not None
    assert need.samples == 57_600
    assert need.records_min == 57_601 * 500
    assert need.records == 2 * 57_600 * 500
    assert "57600 samples each (--learning-s), which takes about 57600000 records" in str(need)


def test_cars_that_send_more_than_others_are_enough():
    """Only as many cars as a training needs must be there for long enough."""
    few_that_drive = capacity.need(newest([100] * 90 + [2] * 400), 5.0)
    all_alike = capacity.need(newest([20] * 490), 5.0)
    assert few_that_drive is not None
    assert all_alike is not None
    assert few_that_drive.records_min < all_alike.records_min


def test_nothing_is_said_of_too_few_cars_or_samples():
    """The newest records may not show the whole fleet: then only the slice itself can tell."""
    assert capacity.need(newest([50] * 89), 10.0) is None
    assert capacity.need(newest([1] * 500), 10.0) is None
    assert capacity.need(newest([2] * 89 + [1] * 500), 10.0) is None
    assert capacity.need(newest([]), 10.0) is None
