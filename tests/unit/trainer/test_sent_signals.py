"""Which signals a model judges while a fleet changes from one schema version to the next."""

import numpy as np

from contract.telemetry import SIGNALS
from tests.conftest import MEAN, SPREAD, Remembering
from trainer.judge.baselines import model_contender
from trainer.log_slice import Telemetry
from trainer.model.replay import replay
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


def test_a_champion_that_judges_fewer_signals_is_compared_by_its_own() -> None:
    """It gets its columns by name, in its order, and one that the slice does not have as NaN."""
    names = ("speed", "coolant_temp", "motor_temp")
    have = tuple(name for name in SIGNALS if name != "motor_temp")
    picked = [SIGNALS.index(name) for name in names]
    champion = Remembering.of(MEAN[picked], SPREAD[picked])
    manifest = champion.manifest(signals=names)
    signals = (MEAN + SPREAD * np.random.default_rng(1).normal(size=(30, len(SIGNALS)))).astype(np.float32)
    car = np.repeat([0, 1], 15)
    contender = model_contender("champion", champion.tflite, manifest.alert, manifest.signals, given=have)
    score = contender.score(np.delete(signals, NEW, axis=1), car)
    own = signals[:, picked]
    own[:, -1] = np.nan
    np.testing.assert_array_equal(score, replay(champion.tflite, own, car).score)
    assert (score > 0).any()
