"""The states of cars as records of the topic car-state: written now and then, read back at a takeover.

A state is written after the audit records of the samples in it, so what is read back is never ahead of the
offset where its partition goes on. It may be behind by the samples of an interval, which are still in the
log.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import car_state, records
from contract.errors import Malformed
from contract.joined import Joined
from scorer import metrics
from scorer.alerts import Alert
from scorer.detector import NO_SEQ, AnomalyDetector
from scorer.generations import GENERATIONS_MAX
from scorer.index import CarNumbers
from scorer.model import Model
from scorer.model_states import ModelStates
from scorer.source import Source
from scorer.trial_snapshots import Restored, Snapshot, TrialSnapshots

_log = logging.getLogger("scorer")

# States written at once: a batch waits 2 ms for 250 of them; without a batch there is more time.
_WITH_A_BATCH_MAX, _WITHOUT_MAX = 250, 2_500
_FLOAT = np.dtype("<f4")

# A challenger's states are written with those of every so many intervals.
_TRIAL_INTERVALS = 6


@dataclass(eq=False)
class Snapshots:
    """Writes and reads the car states of one detector, for models of one name."""

    detector: AnomalyDetector
    model_name: str
    interval_s: float
    # A model that scored before, by version, if its record is still there.
    earlier: Callable[[int], Model | None]
    source: Source = field(default_factory=Source)  # whose log the samples are of

    def __post_init__(self) -> None:
        self._waiting: CarNumbers = np.empty(0, np.intp)  # cars whose changed states are still to be written
        self._began_s = 0.0  # of the current interval
        self._intervals = 0
        self._of_trial = TrialSnapshots(self.detector, self.model_name, self.source)
        self._trial_waiting: CarNumbers = np.empty(0, np.intp)  # likewise, of the challenger's states

    def due(self, now_s: float, with_a_batch: bool) -> list[Snapshot]:
        """The next of the changed states: all of them once an interval, a bounded number a call."""
        if not len(self._waiting) and now_s - self._began_s >= self.interval_s:
            self._began_s = now_s
            self._waiting = np.flatnonzero(self.detector.changed.values[: len(self.detector.cars)])
            self._intervals += 1
            if self._intervals % _TRIAL_INTERVALS == 0:
                self._trial_waiting = self._of_trial.changed()
        count = _WITH_A_BATCH_MAX if with_a_batch else _WITHOUT_MAX
        cars, self._waiting = self._waiting[:count], self._waiting[count:]
        count -= len(cars)
        of_trial, self._trial_waiting = self._trial_waiting[:count], self._trial_waiting[count:]
        return self._take(cars) + self._of_trial.take(of_trial)

    def changed_in(self, partitions: Collection[int]) -> list[Snapshot]:
        """All changed states of these partitions."""
        cars = self.detector.cars.in_partitions(partitions)
        own = self._take(cars[self.detector.changed.values[cars]])
        return own + self._of_trial.take(np.intersect1d(cars, self._of_trial.changed()))

    def deletions(self, cars: CarNumbers) -> list[Snapshot]:
        """Deletions of all that is written of these cars."""
        table, of_trial = self.detector.cars, self._of_trial.deleted(cars, of_any_trial=True)
        partitions = table.partition.values[cars].tolist()
        own = [(p, table.ids[car], None) for p, car in zip(partitions, cars.tolist(), strict=True)]
        return [*own, *of_trial]

    def forget(self) -> None:
        """Drop what is waiting, because the cars have other numbers now."""
        self._waiting, self._trial_waiting = self._waiting[:0], self._trial_waiting[:0]

    def _take(self, cars: CarNumbers) -> list[Snapshot]:
        """The records of these cars, whose states count as written from now on."""
        if not len(cars):
            return []
        detector, generations = self.detector, self.detector.generations
        detector.changed.values[cars] = False
        metrics.states_written.inc(len(cars))
        partitions, ids = detector.cars.partition.values[cars].tolist(), detector.cars.ids
        keys = [ids[car] for car in cars.tolist()]
        values = car_state.encode(
            keys,
            (self.model_name, generations.newest.version),
            source=astuple(self.source),
            seq=detector.seq.values[cars],
            sampled_at_ms=detector.sampled_at.values[cars],
            alert_level=detector.alerts.level.values[cars],
            state=generations.newest.column.values[cars],
        )
        unusual = (generations.age.values[cars] > 0) | detector.alerts.is_open.values[cars]
        if detector.trial:
            unusual |= detector.trial.serves.values[cars]
        for row in np.flatnonzero(unusual).tolist():
            values[row] = self._encode(int(cars[row]))
        return [*zip(partitions, keys, values, strict=True), *self._of_trial.deleted(cars)]

    def _encode(self, car: int) -> bytes:
        """The record of a car with an alert, or with the states of two models."""
        detector, generations = self.detector, self.detector.generations
        key = detector.cars.ids[car]
        alert = detector.visible_alert(car)
        fields = {
            "car_id": key.decode(errors="replace"),
            "model_name": self.model_name,
            **asdict(self.source),
            "seq": int(detector.seq.values[car]),
            "sampled_at": int(detector.sampled_at.values[car]),
            "alert_level": float(detector.alerts.level.values[car]),
            "alert": None if alert is None else vars(alert),
            "states": [
                {"model_version": states.version, "state": states.column.values[car].astype(_FLOAT).tobytes()}
                for states in dict.fromkeys((generations.scored_by(car), generations.learned_by(car)))
            ],
        }
        return records.encode("car_state", fields)

    def restore(self, last: Mapping[bytes, tuple[int, bytes]]) -> None:
        """Take in the last record of each car: key to (partition, value)."""
        keys, partitions, restored = [], [], []
        of_trial: list[Restored] = []
        for key, (partition, value) in last.items():
            try:
                name, fields = records.decode(value)
                if name == "car_state" and fields["model_name"] == self._of_trial.model_name:
                    of_trial.append((key, partition, fields))
                if name != "car_state" or fields["model_name"] != self.model_name:
                    continue
            except Malformed as error:
                metrics.states_refused.labels("malformed").inc()
                _log.warning("not a car state of %r: %s", key, error)
                continue
            keys.append(key)
            partitions.append(partition)
            restored.append(fields)
        if restored:
            cars = self.detector.cars.numbers(Joined.of(keys), np.array(partitions, np.int32))
            self._put_alerts(cars, restored)
            self._put_states(cars, restored)
            metrics.states_restored.inc(len(restored))
        self._of_trial.restore(of_trial)

    def _put_alerts(self, cars: CarNumbers, restored: list[dict[str, Any]]) -> None:
        detector = self.detector
        # Where telemetry was made again, sequence numbers may begin anew with it.
        of_this_log = [self.source.is_mine(fields.get("topic_id", "")) for fields in restored]
        seq = np.array([fields["seq"] for fields in restored], np.int64)
        detector.seq.values[cars] = np.where(of_this_log, seq, NO_SEQ)
        detector.sampled_at.values[cars] = [fields["sampled_at"] for fields in restored]
        level = np.array([fields["alert_level"] for fields in restored], np.float32)
        is_open = np.array([fields["alert"] is not None for fields in restored])
        # Without an alert the level cannot be over the threshold, whatever was written.
        level = np.where(np.isfinite(level), np.where(is_open, level, np.minimum(level, 1)), 0)
        detector.alerts.restore(cars, level.astype(np.float32), is_open)
        for row in np.flatnonzero(is_open).tolist():
            detector.alerts.open(int(cars[row]), Alert(**restored[row]["alert"]))

    def _put_states(self, cars: CarNumbers, restored: list[dict[str, Any]]) -> None:
        """Give each model its states: the first of a car is that of the model that scores it.

        The last one is that of the model that learns it.
        """
        generations = self.detector.generations
        versions = [[entry["model_version"] for entry in fields["states"]] for fields in restored]
        for place in (0, -1):  # those that score cars first: there may not be room for all
            self._add_older({of_car[place] for of_car in versions if of_car})
        written: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)  # version to (row, state)
        scored: defaultdict[int, list[int]] = defaultdict(list)  # version to rows of the cars that it scores
        learned: defaultdict[int, list[int]] = defaultdict(list)  # likewise
        gone: defaultdict[int, list[int]] = defaultdict(list)  # likewise, of versions that are not at work
        for row, fields in enumerate(restored):
            for entry in fields["states"]:
                written[entry["model_version"]].append((row, entry["state"]))
            if at_work := [version for version in versions[row] if version in generations.versions]:
                scored[at_work[0]].append(row)
                learned[at_work[-1]].append(row)
            if versions[row][:1] != at_work[:1]:
                gone[versions[row][0]].append(row)
        refused = {
            version: _fill(states, cars, written[version]) for version, states in generations.versions.items()
        }
        for version, states in generations.versions.items():
            generations.serve(cars[_without(scored[version], refused[version])], states)
        for version, states in generations.versions.items():
            generations.learn(cars[_without(learned[version], refused[version])], states)
        for version, rows in gone.items():
            for states in generations.versions.values():  # what they watched of this model has no end now
                states.unwatch(cars[rows])
            metrics.states_refused.labels("unknown_model").inc(len(rows))
            _log.warning("%d car states are of model version %d, which is gone", len(rows), version)

    def _add_older(self, versions: set[int]) -> None:
        """Add those of these models that are not at work but still known, as many as there is room for."""
        generations = self.detector.generations
        for version in sorted(versions, reverse=True):
            if version in generations.versions or len(generations) == GENERATIONS_MAX:
                continue
            if model := self.earlier(version):
                generations.add_older(model)
                _log.info("an earlier model goes on until its cars are learned", extra={"version": version})


def _fill(states: ModelStates, cars: CarNumbers, written: list[tuple[int, bytes]]) -> list[int]:
    """Store the written states (row, bytes) of `cars[row]`; returns the rows whose state was refused."""
    size = _FLOAT.itemsize * states.model.width
    refused = [row for row, data in written if len(data) != size]
    fitting = [(row, data) for row, data in written if len(data) == size]
    rows = np.array([row for row, _ in fitting], np.intp)
    values = np.frombuffer(b"".join(data for _, data in fitting), _FLOAT)
    values = values.reshape(len(rows), states.model.width)
    finite = np.isfinite(values).all(axis=1)
    states.column.values[cars[rows[finite]]] = values[finite]
    metrics.states_refused.labels("malformed").inc(len(refused))
    metrics.states_refused.labels("not_finite").inc(int((~finite).sum()))
    return [*refused, *rows[~finite].tolist()]


def _without(rows: list[int], refused: list[int]) -> NDArray[np.intp]:
    """The rows that are not among the refused ones."""
    return np.setdiff1d(rows, refused).astype(np.intp)
