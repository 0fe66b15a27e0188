"""What a slice must hold, estimated from the newest records of a fleet."""

import numpy as np

from contract.telemetry import SIGNALS
from plumbing.settings import SettingsError
from trainer import capacity
from trainer.log_slice import Telemetry


def newest(samples: list[int], interval_ms: int = 500) -> Telemetry:
    """The newest records of cars with so many samples each."""
    car = np.repeat(np.arange(len(samples), dtype=np.int32), samples)
    seq = np.array([row for count in samples for row in range(count)], np.int64)
    names = tuple(f"car-{number:06d}".encode() for number in range(len(samples)))
    return Telemetry(names, car, seq, seq * interval_ms, np.zeros((len(car), len(SIGNALS)), np.float32))


def refusal(fleet: Telemetry, learning_s: float, records_max: int, reach: float = 1.0) -> str:
    """The message for a slice of so many records; "" where it may hold enough."""
    try:
        capacity.refuse_hopeless(fleet, learning_s, records_max, reach)
    except SettingsError as error:
        return str(error)
    return ""


def test_eight_hours_of_five_hundred_cars_at_two_hertz():
    """What the defaults ask of a small fleet: 57 600 samples a car to learn from, as many to judge by."""
    fleet = newest([40] * 500)
    assert refusal(fleet, 28_800.0, 57_601 * 500) == ""
    message = refusal(fleet, 28_800.0, 57_601 * 500 - 1)
    assert "57600 samples each (--learning-s), which takes about 57600000 records" in message
    assert message.endswith("or --learning-s to 1.44e+04")


def test_cars_that_send_more_than_others_are_enough():
    """Only as many cars as a training needs must be there for long enough."""
    assert refusal(newest([20] * 490), 5.0, 2_000)
    assert not refusal(newest([100] * 90 + [2] * 400), 5.0, 2_000)


def test_a_fleet_is_not_refused_for_the_cars_that_send_most():
    """Where four records are read for each that is wanted, the others need not find room beside them."""
    fleet = newest([10] * 500 + [1_250] * 12)
    assert "--records-max 30000 can never hold" in refusal(fleet, 10.0, 30_000)
    assert not refusal(fleet, 10.0, 30_000, reach=4.0)
    message = refusal(fleet, 50.0, 30_000, reach=4.0)
    assert "--records-max 30000 can never hold" in message
    assert "about 100000 records" in message


def test_nothing_is_said_of_too_few_cars_or_samples():
    """The newest records may not show the whole fleet: then only the slice itself can tell."""
    for samples in ([50] * 89, [1] * 500, [2] * 89 + [1] * 500, []):
        assert not refusal(newest(samples), 10.0, 1)
