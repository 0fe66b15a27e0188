"""The states of a challenger as records of car-state, beside those of the models at work.

They have keys and a model name of their own, so that scorers of before trials leave them out. They are
written less often: where a replica takes over, the challenger misses up to a minute of the cars' samples.
After the trial they are deleted.
"""

from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import Any

import numpy as np

from contract import car_state, records
from contract.joined import Joined
from contract.topics import challenger_key
from scorer import metrics
from scorer.alerts import Alert
from scorer.detector import NO_SEQ, AnomalyDetector
from scorer.index import CarNumbers
from scorer.model_states import ModelStates
from scorer.source import Source
from scorer.trial import Trial

_FLOAT = np.dtype("<f4")

Snapshot = tuple[int, bytes, bytes | None]
# (key, partition, fields) of a record that was read back.
Restored = tuple[bytes, int, dict[str, Any]]


class TrialSnapshots:
    """Writes, reads and deletes the challenger's states of one detector's cars."""

    def __init__(self, detector: AnomalyDetector, model_name: str, source: Source) -> None:
        self.model_name = challenger_key(model_name)  # in these records
        self._detector = detector
        self._source = source
        self._kept = detector.cars.column(False, np.bool_)  # whether the topic has a record of the car

    def changed(self) -> CarNumbers:
        """The cars of which the challenger's state has changed since it was written."""
        trial = self._detector.trial
        if trial is None:
            return np.empty(0, np.intp)
        return np.flatnonzero(trial.changed.values[: len(self._detector.cars)])

    def take(self, cars: CarNumbers) -> list[Snapshot]:
        """The records of these cars, whose states count as written from now on."""
        detector, trial = self._detector, self._detector.trial
        if trial is None or not len(cars):
            return []
        trial.changed.values[cars], self._kept.values[cars] = False, True
        ids = [detector.cars.ids[car] for car in cars.tolist()]
        values = car_state.encode(
            ids,
            (self.model_name, trial.states.version),
            source=astuple(self._source),
            seq=detector.seq.values[cars],
            sampled_at_ms=detector.sampled_at.values[cars],
            alert_level=trial.alerts.level.values[cars],
            state=trial.states.column.values[cars],
        )
        serves = trial.serves.values[cars]
        hidden = np.where(serves, detector.alerts.is_open.values[cars], trial.alerts.is_open.values[cars])
        for row in np.flatnonzero(hidden).tolist():
            values[row] = self._encode(int(cars[row]), trial)
        partitions = detector.cars.partition.values[cars].tolist()
        return [(p, _key(car), value) for p, car, value in zip(partitions, ids, values, strict=True)]

    def _encode(self, car: int, trial: Trial) -> bytes:
        """The record of a car with an alert that is not shown to people."""
        detector = self._detector
        alert = (detector.alerts if trial.serves.values[car] else trial.alerts).get(car)
        state = trial.states.column.values[car].astype(_FLOAT).tobytes()
        fields = {
            "car_id": detector.cars.ids[car].decode(errors="replace"),
            "model_name": self.model_name,
            **asdict(self._source),
            "seq": int(detector.seq.values[car]),
            "sampled_at": int(detector.sampled_at.values[car]),
            "alert_level": float(trial.alerts.level.values[car]),
            "alert": None if alert is None else vars(alert),
            "states": [{"model_version": trial.states.version, "state": state}],
        }
        return records.encode("car_state", fields)

    def deleted(self, cars: CarNumbers, *, of_any_trial: bool = False) -> list[Snapshot]:
        """Deletions of what is left of these cars from a trial that is over, or from any."""
        cars = cars[self._kept.values[cars]]
        if (self._detector.trial and not of_any_trial) or not len(cars):
            return []
        self._kept.values[cars] = False
        table = self._detector.cars
        partitions = table.partition.values[cars].tolist()
        return [(p, _key(table.ids[car]), None) for p, car in zip(partitions, cars.tolist(), strict=True)]

    def restore(self, restored: Sequence[Restored]) -> None:
        """Take in records, after those of the models at work.

        They are used where the version is on trial, or has become the newest since.
        """
        detector = self._detector
        restored = [each for each in restored if each[0].endswith(_SUFFIX) and each[0] != _SUFFIX]
        if not restored:
            return
        keys, partitions, all_fields = zip(*restored, strict=True)
        ids = [key.removesuffix(_SUFFIX) for key in keys]
        cars = detector.cars.numbers(Joined.of(ids), np.array(partitions, np.int32))
        self._kept.values[cars] = True
        by_version: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        for car, fields in zip(cars.tolist(), all_fields, strict=True):
            for entry in fields["states"][:1]:
                by_version.setdefault(entry["model_version"], []).append((car, fields))
        for version, found in by_version.items():
            if detector.trial and detector.trial.states.version == version:
                self._go_on(detector.trial, found)
            elif version == detector.generations.newest.version:
                self._promoted(found)
            else:  # of a trial that is over
                detector.changed.values[[car for car, _ in found]] = True

    def _go_on(self, trial: Trial, found: list[tuple[int, dict[str, Any]]]) -> None:
        """Go on with the trial."""
        detector = self._detector
        takes = trial.takes(np.array([car for car, _ in found], np.intp)).tolist()
        cars, sound = _fill(trial.states, [each for each, mine in zip(found, takes, strict=True) if mine])
        trial.restore(cars, detector.generations)
        of_this_log = [self._source.is_mine(fields.get("topic_id", "")) for fields in sound]
        seq = np.where(of_this_log, np.array([fields["seq"] for fields in sound], np.int64), NO_SEQ)
        detector.seq.values[cars] = np.maximum(detector.seq.values[cars], seq)
        level = np.nan_to_num(np.array([fields["alert_level"] for fields in sound], np.float32))
        trial.alerts.restore(cars, level, level > 1)
        for car, fields in zip(cars.tolist(), sound, strict=True):
            if fields["alert"] is not None:
                trial.alerts.open(car, Alert(**fields["alert"]))
        metrics.states_restored.inc(len(cars))

    def _promoted(self, found: list[tuple[int, dict[str, Any]]]) -> None:
        """Give the newest model what it learned on trial of cars whose own records are older than that."""
        states = self._detector.generations.newest
        fresh = [(car, fields) for car, fields in found if not states.column.values[car].any()]
        cars, _ = _fill(states, fresh)
        self._detector.generations.serve(cars[states.warm(cars)], states)
        self._detector.changed.values[[car for car, _ in found]] = True


_SUFFIX = b"/challenger"


def _key(car: bytes) -> bytes:
    """The key of the challenger's state of a car; no car id has a slash."""
    return car + _SUFFIX


def _fill(
    states: ModelStates, found: list[tuple[int, dict[str, Any]]]
) -> tuple[CarNumbers, list[dict[str, Any]]]:
    """Store the states of cars in these records; returns cars and records of those that were sound."""
    cars, sound = [], []
    for car, fields in found:
        data = fields["states"][0]["state"]
        row = np.frombuffer(data, _FLOAT) if len(data) == _FLOAT.itemsize * states.model.width else None
        if row is None or not np.isfinite(row).all():
            metrics.states_refused.labels("malformed" if row is None else "not_finite").inc()
            continue
        states.column.values[car] = row
        cars.append(car)
        sound.append(fields)
    return np.array(cars, np.intp), sound
