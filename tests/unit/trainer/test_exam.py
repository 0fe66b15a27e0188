"""The exam: what is kept of a slice, and what a blind candidate shows in it."""

import dataclasses
import io

import numpy as np
import pytest

from contract.alert_rule import AlertRule
from contract.errors import Malformed
from contract.telemetry import SIGNALS
from trainer.judge import exam as exam_module
from trainer.judge.baselines import Contender
from trainer.judge.evaluate import Judgement, judge
from trainer.judge.exam import CARS_MIN, Exam, exam_of, examine, pack, unpack
from trainer.judge.held_out import DEVIATION, WORKSHOP, HeldOut, Labelled

CARS, SAMPLES, LEARNED = 40, 40, 10
BUDGET = 168 * 3600 / 100  # one alert in a hundred samples, which come a second apart
IDS = tuple(b"car-%06d" % number for number in range(3 * CARS))
RULE = AlertRule(close_ratio=1)


def rows(first_car: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Signals around 100 with deviation 1, and the cars first_car, first_car + 1, …"""
    signals = np.random.default_rng(seed).normal(100, 1, (CARS * SAMPLES, len(SIGNALS))).astype(np.float32)
    return signals, np.repeat(np.arange(first_car, first_car + CARS), SAMPLES)


def slice_(source: str = DEVIATION) -> HeldOut:
    """Reported failures: in the last ten samples of every car the first signal is higher by 10."""
    calibration, healthy, (faulty, car) = rows(0, 1), rows(CARS, 2), rows(2 * CARS, 3)
    last = np.flatnonzero(np.diff(car, append=-1))
    for back in range(10):
        faulty[last - back, 0] += 10
    failures = (np.zeros(CARS, np.intp), last - 9, last + 1)
    return HeldOut(
        LEARNED, 1.0, *calibration, *healthy, Labelled(source, ("shift",), faulty, car, car, *failures)
    )


def of(held: HeldOut) -> Exam:
    kept = exam_of(held, SIGNALS, IDS, seed=7)
    assert kept is not None
    return kept


def seeing(factor: float = 1.0) -> Contender:
    """The score grows with the first signal."""
    return Contender("seeing", lambda signals, car: factor * np.abs(signals[:, 0] - 100), RULE)


BLIND = Contender("blind", lambda signals, car: np.random.default_rng(1).random(len(car)), RULE)


def test_reported_failures_are_kept_and_deviations_made_again() -> None:
    """What is judged is the same as in the slice itself."""
    held = slice_(WORKSHOP)
    again = of(held).held_out(LEARNED)
    assert again is not None
    for name in ("fault", "first", "after", "signals"):
        np.testing.assert_array_equal(getattr(again.faulty, name), getattr(held.faulty, name))
    artificial = of(slice_()).held_out(LEARNED)
    assert artificial is not None
    assert artificial.faulty.source == DEVIATION
    assert len(artificial.faulty.fault) >= CARS
    np.testing.assert_array_equal(artificial.healthy, held.healthy)


@pytest.mark.parametrize("source", [WORKSHOP, DEVIATION])
def test_an_exam_survives_its_packing(source: str) -> None:
    """Names, ids, rows and failures."""
    kept = of(slice_(source))
    back = unpack(pack(kept))
    assert (back.signals, back.cars, back.seed, back.judged_from) == (
        SIGNALS,
        IDS[CARS : 2 * CARS],
        7,
        LEARNED,
    )
    for name in ("calibration", "calibration_car", "healthy", "healthy_car"):
        np.testing.assert_array_equal(getattr(back, name), getattr(kept, name))
    assert (back.reported is None) == (source == DEVIATION)
    if back.reported and kept.reported:
        np.testing.assert_array_equal(back.reported.signals, kept.reported.signals)
        np.testing.assert_array_equal(back.reported.after, kept.reported.after)


@pytest.mark.parametrize("source", [WORKSHOP, DEVIATION])
def test_an_exam_is_bounded_and_has_whole_cars(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cars are drawn until the limit is reached; failures of other cars are left out."""
    limit = 3 * 20 * SAMPLES * 4 * len(SIGNALS)
    monkeypatch.setattr(exam_module, "ROWS_BYTES_MAX", limit)
    kept = of(slice_(source))
    size = (
        kept.calibration.nbytes + kept.healthy.nbytes + (kept.reported.signals.nbytes if kept.reported else 0)
    )
    assert limit * 0.9 < size <= limit
    assert set(np.bincount(kept.healthy_car).tolist()) == {SAMPLES}
    assert len(kept.cars) == kept.healthy_car.max() + 1
    if kept.reported:
        assert len(kept.reported.fault) == 20
        assert (kept.reported.signals[kept.reported.first, 0] > 105).all()


def test_with_too_few_cars_there_is_no_exam(monkeypatch: pytest.MonkeyPatch) -> None:
    """One car fewer than needed fits."""
    monkeypatch.setattr(exam_module, "ROWS_BYTES_MAX", 2 * (CARS_MIN * SAMPLES - 1) * 4 * len(SIGNALS))
    assert exam_of(slice_(), SIGNALS, IDS, seed=7) is None


def test_models_that_learn_longer_are_judged_later() -> None:
    """Failures before that are left out; where the cars have too few rows, or no failure is left, None."""
    kept = of(slice_(WORKSHOP))
    later = kept.held_out(34)
    assert later is not None
    assert (later.judged_from, set((later.faulty.after - later.faulty.first).tolist())) == (34, {6})
    assert kept.held_out(SAMPLES - 1) is None
    early = dataclasses.replace(kept.reported, after=kept.reported.first + 1)
    assert dataclasses.replace(kept, reported=early).held_out(34) is None


def test_a_blind_candidate_is_found() -> None:
    """It foresees less, for the same budget and with its own threshold; an equal one does not."""
    data = of(slice_(WORKSHOP)).held_out(LEARNED)
    assert data is not None
    blind = examine(data, BLIND, seeing(), budget=BUDGET, served=None)
    assert blind.gain.high < -0.5
    equal = examine(data, seeing(2), seeing(), budget=BUDGET, served=None)
    assert equal.gain.mean == 0
    assert equal.served is None


def served(*drawn: float) -> Judgement:
    """A seeing candidate in its slice; `drawn` are thresholds in equal shares, the first its own."""
    data = of(slice_(WORKSHOP)).held_out(LEARNED)
    assert data is not None
    judged = judge(seeing(), data, BUDGET)
    return dataclasses.replace(judged, threshold=drawn[0], thresholds_drawn=np.resize(drawn, 200))


def test_a_threshold_that_blinds_a_sound_model_is_found() -> None:
    """For the same budget it is as good; with a threshold of 40 it sees nothing, with one of 1 too much."""
    data = of(slice_(WORKSHOP)).held_out(LEARNED)
    assert data is not None
    high = examine(data, seeing(), seeing(), budget=BUDGET, served=served(40.0))
    assert high.gain.mean == 0
    assert high.served is not None
    assert high.served.recall == 0
    low = examine(data, seeing(), seeing(), budget=BUDGET, served=served(1.0))
    assert low.served is not None
    assert low.served.false_alarms_low > 10 * low.champion.false_alarms_per_car_week


def test_a_threshold_that_few_cars_have_set_blinds_nobody_surely() -> None:
    """Other calibration cars would have given a threshold with which the model is as good as the champion."""
    data = of(slice_(WORKSHOP)).held_out(LEARNED)
    assert data is not None
    unsure = examine(data, seeing(), seeing(), budget=BUDGET, served=served(40.0, 4.0))
    assert unsure.served is not None
    assert unsure.served.recall == 0
    assert np.quantile(unsure.served.recall_drawn, 0.95) > 0.9


def _archive(**arrays: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def test_what_is_no_exam_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut, foreign, pickled, contradictory or too large when unpacked: Malformed, whatever it is."""
    whole = pack(of(slice_(WORKSHOP)))
    with np.load(io.BytesIO(whole)) as file:
        arrays = {name: file[name] for name in file.files}
    outside = arrays | {"after": arrays["after"] + 1}
    wrong = [
        whole[: len(whole) // 2],
        whole[:1000] + bytes(1000) + whole[2000:],
        b"",
        b"no archive",
        _archive(signals=np.array(SIGNALS)),
        _archive(**arrays | {"healthy_car": arrays["healthy_car"][1:]}),
        _archive(**arrays | {"seed": np.array([object()])}),
        _archive(**outside),
    ]
    for packed in wrong:
        with pytest.raises(Malformed, match="malformed_exam"):
            unpack(packed)
    monkeypatch.setattr(exam_module, "_UNPACKED_BYTES_MAX", 300_000)
    with pytest.raises(Malformed, match="bytes, at most 300000"):
        unpack(whole)
