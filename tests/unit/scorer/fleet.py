"""A few cars whose samples are given to a detector, batch by batch."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from contract.joined import Joined
from contract.telemetry import SIGNALS, Decoded, Floats
from scorer.detector import Detections, Detector, Turn

K = len(SIGNALS)

SAMPLED_AT_MS = 1_800_000_000_000


class Fleet:
    """A detector and what it said, by (car, seq)."""

    def __init__(self, *models: Any) -> None:
        self.detector = Detector()
        for model in models:
            self.detector.add(model)
        self.scores: dict[tuple[str, int], float] = {}
        self.versions: dict[tuple[str, int], int] = {}
        self.turns: list[tuple[str, int, bool]] = []
        self._seq: defaultdict[str, int] = defaultdict(int)

    def samples(self, cars: Sequence[str], signals: Floats) -> tuple[Detections, list[Turn]]:
        """The next sample of each car, several of a car in their order; signals (n, K) or (K,)."""
        seq = []
        for car in cars:
            self._seq[car] += 1
            seq.append(self._seq[car])
        return self.records(list(zip(cars, seq, strict=True)), np.broadcast_to(signals, (len(cars), K)))

    def records(
        self, records: Sequence[tuple[str, int]], signals: Floats, partition: int = 0
    ) -> tuple[Detections, list[Turn]]:
        """One batch of (car, seq) with their signals (n, K). Low thresholds make every score known."""
        keys = [car.encode() for car, _ in records]
        seq = np.array([number for _, number in records], np.int64)
        decoded = Decoded(
            np.arange(len(keys)), seq, SAMPLED_AT_MS + seq, np.ascontiguousarray(signals, np.float32)
        )
        by_car, fresh, late = self.detector.sift(
            Joined.of(keys), np.full(len(keys), partition, np.int32), seq
        )
        found, turns = self.detector.detect(by_car, fresh, late, decoded)
        for row, score, manifest in zip(
            found.rows.tolist(), found.scores.tolist(), found.manifests, strict=True
        ):
            self.scores[records[row]] = score
            self.versions[records[row]] = manifest.version
        self.turns += [(*records[turn.row], turn.shares is not None) for turn in turns]
        return found, turns

    def place(self, car: str) -> int:
        """Of a car in the detector's arrays."""
        return self.detector.cars.ids.index(car.encode())

    def state(self, car: str, version: int) -> Floats:
        """What the model of this version remembers of a car."""
        row: Floats = self.detector.generations.versions[version].column.values[self.place(car)]
        return row
