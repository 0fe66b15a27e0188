"""Which signals a model judges while a fleet changes from one schema version to the next."""

import numpy as np

from contract.telemetry import SIGNALS
from trainer.log_slice import Telemetry
from trainer.reading import Slice
from trainer.train import sent_signals, with_signals

NEW = SIGNALS.index("motor_temp")


def telemetry(new_cars: int, cars: int = 10) -> Telemetry:
    """One record of each car; `new_cars` of them send motor_temp."""
    signals = np.ones((cars, len(SIGNALS)), np.float32)
    signals[new_cars:, NEW] = np.nan
    number = np.arange(cars)
    return Telemetry(tuple(b"%d" % car for car in number), number.astype(np.int32), number, number, signals)


def test_a_signal_is_judged_once_most_cars_send_it() -> None:
    """From half of the records on; the other signals are judged all the time."""
    older = tuple(name for name in SIGNALS if name != "motor_temp")
    assert [sent_signals(telemetry(new)) for new in (0, 4, 5, 10)] == [older, older, SIGNALS, SIGNALS]


def test_a_slice_keeps_the_columns_that_are_judged() -> None:
    """In the model's order, and everything else as it was read."""
    data = Slice(telemetry(3), [], {})
    picked = with_signals(data, ("speed", "motor_temp")).telemetry
    np.testing.assert_array_equal(picked.signals, data.telemetry.signals[:, [SIGNALS.index("speed"), NEW]])
    assert picked.cars == data.telemetry.cars
