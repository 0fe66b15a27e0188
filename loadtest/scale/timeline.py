"""A run observed second by second, and the rates and latencies between two of its moments."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

import numpy as np

from local.screen import Picture
from local.watch import Latency

STAGES = ("cars", "edge", "scored", "cloud")
_HISTOGRAMS = {
    "puback": ("simulator", "simulator_puback_seconds_bucket"),  # from a sample to its PUBACK
    "batch_age": ("scorer", "scorer_batch_age_seconds_bucket"),  # from a batch's oldest sample to its scores
}


@dataclass(frozen=True)
class Point:
    """One observation."""

    at_s: float  # since 1970
    picture: Picture
    metrics: Mapping[str, Mapping[str, float]]  # by service, added up over its replicas

    @property
    def total(self) -> dict[str, int]:
        """Messages that have passed each stage."""
        return dict(zip(STAGES, (row.total for row in self.picture.rows), strict=True))

    @property
    def waiting(self) -> dict[str, int]:
        """Messages that wait before each stage."""
        return dict(zip(STAGES, (row.waiting for row in self.picture.rows), strict=True))


@dataclass
class Timeline:
    """Observations in the order of time."""

    points: list[Point] = field(default_factory=list)

    def between(self, from_s: float, to_s: float) -> "Timeline":
        """The observations from `from_s` to `to_s`, both in s since 1970."""
        return Timeline([point for point in self.points if from_s <= point.at_s <= to_s])

    @property
    def seconds(self) -> float:
        """From the first observation to the last; 0 with fewer than two."""
        return self.points[-1].at_s - self.points[0].at_s if len(self.points) > 1 else 0.0

    def rates(self) -> dict[str, float]:
        """Messages a second of each stage; 0 with fewer than two observations."""
        if self.seconds <= 0:
            return dict.fromkeys(STAGES, 0.0)
        first, last = self.points[0], self.points[-1]
        return {stage: (last.total[stage] - first.total[stage]) / self.seconds for stage in STAGES}

    def late_tick_share(self) -> float:
        """Share of the fleet's ticks that came more than a tick late; a few percent mean overload."""
        grown = self._grown("simulator")
        late = grown.get("simulator_late_ticks_total", 0.0)
        return late / max(grown.get("simulator_ticks_total", 0.0), 1.0)

    def mean_waiting(self, stage: str) -> float:
        """Mean number of messages that waited before a stage."""
        return fmean(point.waiting[stage] for point in self.points) if self.points else 0.0

    def mean_in_bridge(self) -> float:
        """Mean number of messages that the bridge had read and not acknowledged."""
        waiting = [point.metrics["bridge"].get("bridge_in_flight_messages", 0.0) for point in self.points]
        return fmean(waiting) if waiting else 0.0

    def latency(self, name: Literal["puback", "batch_age"]) -> Latency:
        """Percentiles of what a histogram counted between the first observation and the last."""
        service, metric = _HISTOGRAMS[name]
        return latency(self._grown(service), metric)

    def _grown(self, service: str) -> dict[str, float]:
        if not self.points:
            return {}
        return growth(self.points[0].metrics[service], self.points[-1].metrics[service])


def growth(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """By how much each scraped counter has grown."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def latency(metrics: Mapping[str, float], name: str) -> Latency:
    """Percentiles of a scraped histogram."""
    counts = histogram(metrics, name)
    return Latency(int(max(counts.values(), default=0)), quantile(counts, 0.5), quantile(counts, 0.99))


def histogram(metrics: Mapping[str, float], name: str) -> dict[float, float]:
    """A scraped histogram as {upper bound in s: count up to it}, in ascending order."""
    bounds = {
        float(key.removeprefix(name + "{le=").removesuffix("}")): value
        for key, value in metrics.items()
        if key.startswith(name + "{le=")
    }
    return dict(sorted(bounds.items()))


def quantile(counts: Mapping[float, float], share: float) -> float | None:
    """A quantile in ms, interpolated within its bucket; None for an empty histogram.

    Above the last finite bound it is that bound.
    """
    total = max(counts.values(), default=0.0)
    if total <= 0:
        return None
    finite = {bound: count for bound, count in counts.items() if bound < math.inf}
    return round(1000 * float(np.interp(share * total, [0.0, *finite.values()], [0.0, *finite])), 1)
