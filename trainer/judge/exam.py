"""The exam: held-out rows of the champion's slice, kept with it, on which the next candidate is judged too.

In a poisoned slice everything is poisoned, also the rows by which candidate and champion are compared: where
a broken gateway sends zeros, the champion foresees nothing, and a blind candidate is no worse. The exam comes
from a slice of which a model was published. Both are judged for the same budget of false alarms, and the
candidate also with its own threshold: one that was set on poisoned rows makes a sound model blind.
"""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from contract.errors import Malformed
from contract.telemetry import Floats
from trainer.judge import evaluate
from trainer.judge.baselines import Contender
from trainer.judge.evaluate import Difference, Judgement
from trainer.judge.held_out import WORKSHOP, HeldOut, Labelled, from_deviations
from trainer.model.domain import fleet_domain
from trainer.model.replay import Rows, ranks, runs
from trainer.model.robust import CarNumbers

ROWS_BYTES_MAX = 8 * 2**20  # of an exam's telemetry before compression
CARS_MIN = 10  # of each part; fewer do not tell a worse candidate from bad luck
_UNPACKED_BYTES_MAX = 4 * ROWS_BYTES_MAX
_NUMBERS = ("signals", "cars", "seed", "judged_from", "interval_s")  # fields of Exam
_ROWS = ("calibration", "calibration_car", "healthy", "healthy_car")
_FAILURE = ("fault", "first", "after")  # the arrays of Labelled that have a value for each failure

# What numpy raises for bytes that are no archive of arrays; the last two for archives of another kind.
_DAMAGED = (
    ValueError, KeyError, TypeError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error,
    struct.error, SyntaxError, NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Exam:
    """Held-out rows of one slice, by car and time: whole cars from their first row in the slice on."""

    signals: tuple[str, ...]  # names of the K columns
    cars: tuple[bytes, ...]  # ids of the healthy cars, in the order of their rows
    seed: int  # of the deviations
    judged_from: int  # a car's rows before this number did not count: it was being learned
    interval_s: float  # between two samples of a car, in the median
    calibration: Floats  # (c, K)
    calibration_car: CarNumbers  # (c,)
    healthy: Floats  # (h, K)
    healthy_car: CarNumbers  # (h,) index in `cars`
    reported: Labelled | None  # failures that workshops reported; None: deviations grow in the healthy cars

    def held_out(self, learning_samples: int) -> HeldOut | None:
        """The rows to judge models by that learn a car for at most so many samples.

        None where most cars have too few rows for them, or no failure is left.
        """
        judged_from = max(self.judged_from, learning_samples)
        for car in (self.calibration_car, self.healthy_car):
            if len(car) and np.quantile(ranks(car), 0.9) <= judged_from:
                return None
        if self.reported:
            faulty = _later(self.reported, judged_from)
        else:
            domain = fleet_domain(self.signals)
            faulty = from_deviations(domain, self.healthy, self.healthy_car, judged_from, self.seed)
        if not len(faulty.fault):
            return None
        return HeldOut(
            judged_from=judged_from,
            interval_s=self.interval_s,
            calibration=self.calibration,
            calibration_car=self.calibration_car,
            healthy=self.healthy,
            healthy_car=self.healthy_car,
            faulty=faulty,
        )


@dataclass(frozen=True)
class Examined:
    """How two models did in an exam."""

    candidate: Judgement  # with a threshold that is set on the exam's calibration cars ...
    champion: Judgement  # ... for the same budget of false alarms
    gain: Difference  # recall of the candidate minus that of the champion
    served: Judgement | None  # the candidate with its own threshold, where it can be compared
    failures: int

    def metrics(self) -> dict[str, Any]:
        """For the manifest."""
        judged = {"candidate": self.candidate, "champion": self.champion, "candidate_served": self.served}
        return {name: each.metrics() for name, each in judged.items() if each} | {"failures": self.failures}


def examine(
    data: HeldOut, candidate: Contender, champion: Contender, *, budget: float, served: Judgement | None
) -> Examined:
    """Judge two models on an exam's rows; `served`: the candidate in its slice, None for another length."""
    candidate = _scoring_once(candidate)
    ours, theirs = (evaluate.judge(contender, data, budget) for contender in (candidate, champion))
    own = evaluate.judge_at(candidate, data, served.threshold, served.thresholds_drawn) if served else None
    return Examined(ours, theirs, evaluate.difference(ours, theirs), own, len(data.faulty.fault))


def _scoring_once(contender: Contender) -> Contender:
    """The contender, with its scores of the same array kept."""
    scores: dict[int, Floats] = {}

    def score(signals: Floats, car: CarNumbers) -> Floats:
        if id(signals) not in scores:
            scores[id(signals)] = contender.score(signals, car)
        return scores[id(signals)]

    return replace(contender, score=score)


def judged_rows(data: HeldOut) -> float:
    """Rows for which a healthy car is judged, in the median: thresholds grow with them."""
    return float(np.median(runs(data.healthy_car)[1])) - data.judged_from


def exam_of(held: HeldOut, signals: tuple[str, ...], cars: tuple[bytes, ...], seed: int) -> Exam | None:
    """The exam of a slice with these signals and cars: as many whole cars as the limit allows.

    None where fewer than CARS_MIN calibration or healthy cars do. Reported failures are kept; artificial ones
    can be made again from the healthy cars.
    """
    reported = held.faulty.source == WORKSHOP
    rows_max = ROWS_BYTES_MAX // (4 * len(signals)) // (3 if reported else 2)
    rows, calibration = (_some_cars(car, rows_max, seed) for car in (held.healthy_car, held.calibration_car))
    numbers, car = np.unique(held.healthy_car[rows], return_inverse=True)
    if min(len(numbers), len(np.unique(held.calibration_car[calibration]))) < CARS_MIN:
        return None
    return Exam(
        signals=signals,
        cars=tuple(cars[number] for number in numbers),
        seed=seed,
        judged_from=held.judged_from,
        interval_s=held.interval_s,
        calibration=held.calibration[calibration],
        calibration_car=held.calibration_car[calibration],
        healthy=held.healthy[rows],
        healthy_car=car,
        reported=_part(held.faulty, _some_cars(held.faulty.car, rows_max, seed)) if reported else None,
    )


def _some_cars(car: CarNumbers, rows_max: int, seed: int) -> Rows:
    """The rows of whole cars (n,), drawn until `rows_max` are reached."""
    starts, lengths = runs(car)
    drawn = np.random.default_rng(seed).permutation(len(starts))
    fitting = np.zeros(len(starts), bool)
    fitting[drawn] = np.cumsum(lengths[drawn]) <= rows_max
    return np.flatnonzero(np.repeat(fitting, lengths))


def _part(faulty: Labelled, rows: Rows) -> Labelled:
    """These rows (m,) of whole cars, and the failures in them."""
    kept = np.isin(faulty.first, rows)
    return replace(
        faulty,
        signals=faulty.signals[rows],
        drive=faulty.drive[rows],
        car=faulty.car[rows],
        fault=faulty.fault[kept],
        first=np.searchsorted(rows, faulty.first[kept]),
        after=np.searchsorted(rows, faulty.after[kept]),
    )


def _later(faulty: Labelled, judged_from: int) -> Labelled:
    """The failures as far as their cars are learned by then."""
    starts, _ = runs(faulty.drive)
    began = starts[np.searchsorted(starts, faulty.first, side="right") - 1]
    first = np.maximum(faulty.first, began + judged_from)
    kept = first < faulty.after
    return replace(faulty, fault=faulty.fault[kept], first=first[kept], after=faulty.after[kept])


def pack(exam: Exam) -> bytes:
    """The exam as compressed arrays (NumPy's .npz)."""
    arrays: dict[str, Any] = {name: np.array(getattr(exam, name)) for name in (*_NUMBERS, *_ROWS)}
    if exam.reported:
        arrays |= {"faulty": exam.reported.signals, "faulty_car": exam.reported.car}
        arrays |= {name: np.array(getattr(exam.reported, name)) for name in ("faults", *_FAILURE)}
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def unpack(packed: bytes) -> Exam:
    """The exam in these bytes. Raises Malformed (`malformed_exam`)."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _UNPACKED_BYTES_MAX:
            raise ValueError(f"{size} bytes, at most {_UNPACKED_BYTES_MAX}")
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            return _exam({name: file[name] for name in file.files})
    except _DAMAGED as error:
        raise Malformed("malformed_exam", f"{error!r:.300}") from error


def _exam(arrays: dict[str, Any]) -> Exam:
    """Raises ValueError, KeyError or TypeError for arrays that do not belong together."""
    signals = tuple(map(str, arrays["signals"]))
    calibration, calibration_car = _rows(arrays, "calibration", len(signals))
    healthy, healthy_car = _rows(arrays, "healthy", len(signals))
    reported = None
    if "faulty" in arrays:
        rows, drive = _rows(arrays, "faulty", len(signals))
        failures = [arrays[name].astype(np.intp) for name in _FAILURE]
        _, first, after = failures
        if not len(drive) >= after.max(initial=0) or (first < 0).any() or (first >= after).any():
            raise ValueError("failures outside of the rows")
        faults = tuple(map(str, arrays["faults"]))
        reported = Labelled(WORKSHOP, faults, rows, drive, drive, *failures)
    return Exam(
        signals=signals,
        cars=tuple(map(bytes, arrays["cars"])),
        seed=int(arrays["seed"]),
        judged_from=int(arrays["judged_from"]),
        interval_s=float(arrays["interval_s"]),
        calibration=calibration,
        calibration_car=calibration_car,
        healthy=healthy,
        healthy_car=healthy_car,
        reported=reported,
    )


def _rows(arrays: dict[str, Any], name: str, width: int) -> tuple[Floats, CarNumbers]:
    """Signals (n, K) and their cars (n,), by car."""
    signals, car = arrays[name].astype(np.float32), arrays[f"{name}_car"].astype(np.intp)
    if signals.shape != (len(car), width) or not len(car) or (np.diff(car) < 0).any():
        raise ValueError(f"{name}: values of the shape {signals.shape} for {len(car)} rows")
    return signals, car
