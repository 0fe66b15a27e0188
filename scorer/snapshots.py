"""What is known of the cars as records of the topic car-state: written now and then, read back at a takeover.

A state is written after the audit records of the samples in it, so what is read back is never ahead of where
its partition goes on; it may be behind, by the samples of an interval, which are still in the log.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from contract import car_state, records
from contract.errors import Malformed
from contract.joined import Joined
from scorer import metrics
from scorer.alerts import Alert
from scorer.detector import Detector
from scorer.index import Places
from scorer.model import Model
from scorer.states import States

_log = logging.getLogger("scorer")

# A batch waits for so many to be written, 2 ms; where no batch has come there is more time.
_WITH_A_BATCH_MAX, _WITHOUT_MAX = 250, 2_500
_FLOAT = np.dtype("<f4")

# Partition, key and value of a record.
Snapshot = tuple[int, bytes, bytes]


class Snapshots:
    """The car states of one detector, for models of one name."""

    def __init__(
        self, detector: Detector, model_name: str, interval_s: float, earlier: Callable[[int], Model | None]
    ) -> None:
        """`earlier` gives a model that scored before, by its version, if it is still there."""
        self._detector = detector
        self._model_name = model_name
        self._interval_s = interval_s
        self._earlier = earlier
        self._waiting: Places = np.empty(0, np.intp)
        self._began_s = 0.0

    def due(self, now_s: float, with_a_batch: bool) -> list[Snapshot]:
        """Some of the states that have changed: all of them once an interval, a bounded number at a time."""
        if not len(self._waiting) and now_s - self._began_s >= self._interval_s:
            self._began_s = now_s
            self._waiting = np.flatnonzero(self._detector.changed.values[: len(self._detector.cars)])
        count = _WITH_A_BATCH_MAX if with_a_batch else _WITHOUT_MAX
        some, self._waiting = self._waiting[:count], self._waiting[count:]
        return self._taken(some)

    def of(self, partitions: Collection[int]) -> list[Snapshot]:
        """All states that have changed in these partitions."""
        cars = self._detector.cars.of(partitions)
        return self._taken(cars[self._detector.changed.values[cars]])

    def forget(self) -> None:
        """The cars have other places now."""
        self._waiting = self._waiting[:0]

    def _taken(self, cars: Places) -> list[Snapshot]:
        if not len(cars):
            return []
        detector, of = self._detector, self._detector.generations
        detector.changed.values[cars] = False
        metrics.states_written.inc(len(cars))
        partitions, ids = detector.cars.partitions(cars).tolist(), detector.cars.ids
        keys = [ids[car] for car in cars.tolist()]
        values = car_state.encode(
            keys,
            (self._model_name, of.newest.version),
            seq=detector.seq.values[cars],
            sampled_at_ms=detector.sampled_at.values[cars],
            alert_level=detector.alerts.level.values[cars],
            state=of.newest.column.values[cars],
        )
        more = of.behind(cars) > 0  # states, or something about an alert
        more |= detector.alerts.are_open(cars)
        for row in np.flatnonzero(more).tolist():
            values[row] = self._whole(int(cars[row]))
        return list(zip(partitions, keys, values, strict=True))

    def _whole(self, car: int) -> bytes:
        """The record of a car of which there is more to say than usual."""
        detector, of = self._detector, self._detector.generations
        key, serving = detector.cars.ids[car], of.scored_by(car)
        alert = detector.alerts.of(key)
        fields = {
            "car_id": key.decode(errors="replace"),
            "model_name": self._model_name,
            "seq": int(detector.seq.values[car]),
            "sampled_at": int(detector.sampled_at.values[car]),
            "alert_level": float(detector.alerts.level.values[car]),
            "alert": None if alert is None else vars(alert),
            "states": [
                {"model_version": states.version, "state": states.column.values[car].astype(_FLOAT).tobytes()}
                for states in dict.fromkeys((serving, of.newest))
            ],
        }
        return records.encode("car_state", fields)

    def restore(self, found: Mapping[bytes, tuple[int, bytes]]) -> None:
        """Take in the last record of each car: key to partition and value."""
        cars, partitions, sound = [], [], []
        for key, (partition, value) in found.items():
            try:
                name, fields = records.decode(value)
                if name != "car_state" or fields["model_name"] != self._model_name:
                    continue
            except Malformed as error:
                metrics.states_refused.labels("malformed").inc()
                _log.warning("no car state of %r: %s", key, error)
                continue
            cars.append(key)
            partitions.append(partition)
            sound.append(fields)
        if sound:
            places = self._detector.cars.places(Joined.of(cars), np.array(partitions, np.int32))
            self._put(places, sound)
            metrics.states_restored.inc(len(sound))

    def _put(self, places: Places, found: list[dict[str, Any]]) -> None:
        detector = self._detector
        detector.seq.values[places] = [fields["seq"] for fields in found]
        detector.sampled_at.values[places] = [fields["sampled_at"] for fields in found]
        level = np.array([fields["alert_level"] for fields in found], np.float32)
        is_open = np.array([fields["alert"] is not None for fields in found])
        # Without an alert it cannot be over the threshold, whatever was written.
        detector.alerts.level.values[places] = np.where(
            np.isfinite(level), np.where(is_open, level, np.minimum(level, 1)), 0
        )
        for row in np.flatnonzero(is_open).tolist():
            detector.alerts.open(int(places[row]), Alert(**found[row]["alert"]))
        # Per model version the rows and the bytes of its states, and the rows that it scores.
        known: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
        scored: defaultdict[int, list[int]] = defaultdict(list)
        for row, fields in enumerate(found):
            for entry in fields["states"]:
                known[entry["model_version"]].append((row, entry["state"]))
            for entry in fields["states"][:1]:
                scored[entry["model_version"]].append(row)
        self._add_older(set(scored))
        for version, states in detector.generations.versions.items():
            refused = _fill(states, places, known[version])
            served = np.setdiff1d(scored.pop(version, []), refused).astype(np.intp)
            detector.generations.serve(places[served], states)
        for version, rows in scored.items():
            metrics.states_refused.labels("unknown_model").inc(len(rows))
            _log.warning("the states of %d cars are of version %d, which is not there", len(rows), version)

    def _add_older(self, versions: set[int]) -> None:
        """Models that scored some of the cars, where they are still there."""
        of = self._detector.generations
        for version in sorted(versions - of.versions.keys()):
            if model := self._earlier(version):
                of.add_older(model)
                _log.info("an earlier model goes on until its cars are learned", extra={"version": version})


def _fill(states: States, places: Places, given: list[tuple[int, bytes]]) -> list[int]:
    """Put what was read into the places of its rows; returns the rows that were refused."""
    size = _FLOAT.itemsize * states.model.width
    refused = [row for row, data in given if len(data) != size]
    fitting = [(row, data) for row, data in given if len(data) == size]
    rows = np.array([row for row, _ in fitting], np.intp)
    values = np.frombuffer(b"".join(data for _, data in fitting), _FLOAT).reshape(
        len(rows), states.model.width
    )
    finite = np.isfinite(values).all(axis=1)
    states.column.values[places[rows[finite]]] = values[finite]
    for reason, count in (("malformed", len(refused)), ("not_finite", int((~finite).sum()))):
        metrics.states_refused.labels(reason).inc(count)
    return [*refused, *rows[~finite].tolist()]
