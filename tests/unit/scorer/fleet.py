"""A few cars whose samples go to a detector batch by batch."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from contract.joined import Joined
from contract.telemetry import SIGNALS, Decoded, Floats
from scorer.detector import AnomalyDetector
from scorer.findings import Detections

K = len(SIGNALS)

SAMPLED_AT_MS = 1_800_000_000_000


class Fleet:
    """A detector and its results by (car, seq)."""

    def __init__(self, *models: Any) -> None:
        self.detector = AnomalyDetector()
        for model in models:
            self.detector.add(model)
        self.scores: dict[tuple[str, int], float] = {}
        self.versions: dict[tuple[str, int], int] = {}
        self.changes: list[tuple[str, int, bool]] = []  # (car, seq, whether an alert opened or closed)
        self.unseen: list[dict[str, Any]] = []  # alerts that nobody is shown
        self._seq: defaultdict[str, int] = defaultdict(int)

    def samples(self, cars: Sequence[str], signals: Floats) -> tuple[Detections, list[dict[str, Any]]]:
        """Give the next sample of each car (several of a car in order); signals (n, K) or (K,)."""
        seq = []
        for car in cars:
            self._seq[car] += 1
            seq.append(self._seq[car])
        return self.records(list(zip(cars, seq, strict=True)), np.broadcast_to(signals, (len(cars), K)))

    def records(
        self,
        records: Sequence[tuple[str, int]],
        signals: Floats,
        partition: int = 0,
        at_ms: Sequence[int] | None = None,
    ) -> tuple[Detections, list[dict[str, Any]]]:
        """Give one batch of (car, seq) with their signals (n, K). Scores below the threshold are not kept.

        at_ms: times since SAMPLED_AT_MS; without them seq counts the ms.
        """
        keys = [car.encode() for car, _ in records]
        seq = np.array([seq for _, seq in records], np.int64)
        times = SAMPLED_AT_MS + (seq if at_ms is None else np.array(at_ms, np.int64))
        decoded = Decoded(np.arange(len(keys)), seq, times, np.ascontiguousarray(signals, np.float32))
        by_car, sifted = self.detector.sift(Joined.of(keys), np.full(len(keys), partition, np.int32), decoded)
        detections, alerts, unseen = self.detector.detect(by_car, sifted, decoded)
        self.unseen += unseen
        for row, score, manifest in zip(
            detections.rows.tolist(), detections.scores.tolist(), detections.manifests, strict=True
        ):
            self.scores[records[row]] = score
            self.versions[records[row]] = manifest.version
        self.changes += [
            (alert["car_id"], alert["at"] - SAMPLED_AT_MS, alert["action"] == "opened") for alert in alerts
        ]
        return detections, alerts

    def number(self, car: str) -> int:
        """The row of a car in the detector's arrays."""
        return self.detector.cars.ids.index(car.encode())

    def state(self, car: str, version: int) -> Floats:
        """The state of a car for the model of this version."""
        row: Floats = self.detector.generations.versions[version].column.values[self.number(car)]
        return row
