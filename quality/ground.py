"""A seed's fleet: its parts, their samples on disk, and the truth about the test cars.

The parts are disjoint cars of one fleet: training cars, calibration cars that set the thresholds, healthy and
faulty test cars, and healthy cars that change without a fault. The `spoilt` cars are faulty without anybody
knowing: the test of robustness puts them among the training and calibration cars. The `labelled` cars are
faulty, and supervised detectors know when they failed. Only the faulty cars of a
change are not other cars: the first faulty test cars live through their faults once more, with the change.

The samples of a part are a file of (cars, samples, signals) float32, since a scorecard's fleet is larger than
memory. Files are written in blocks of time and read in blocks of cars, with plain reads instead of a memory
map, so that pages once read do not count as this process's memory.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import contract
import simulator
from contract.telemetry import SIGNALS, Floats
from quality.detectors import Labels
from quality.settings import CHANGES, FAULTY_IN, HOUR_S, PARTS, Settings
from simulator.chance import F8
from simulator.faults import KINDS, FaultPlan
from simulator.fleet import Fleet
from simulator.scenario import Scenario

# Each part begins at a car number of its own, so that parts share no cars, whatever their sizes.
_PART_CARS_MAX = 100_000
# Cars that are simulated together (their arrays fit into a core's cache), and samples of a block.
_FLEET_CARS, _BLOCK_STEPS = 512, 256
_READ_VALUES = 24_000_000  # 96 MB
# A change begins after this share of the judged time.
_BEFORE_CHANGE = 0.25
_ROLL_OUT_H = 24.0
_COLD_K = 15.0
_SOON_H = 12.0  # a failure in this time is what supervised detectors learn to foresee
_CHANGE_OF = {part: change for change, part in FAULTY_IN.items()}


@dataclass(frozen=True)
class Failure:
    """A fault that grew to a failure; times are seconds of the car's telemetry."""

    car: int  # within its part, from 0
    kind: str
    component: str
    onset_s: float
    failed_s: float

    @property
    def growth_h(self) -> float:
        """Hours from onset to failure."""
        return (self.failed_s - self.onset_s) / 3600


@dataclass(frozen=True)
class Part:
    """One part of the fleet."""

    path: Path
    cars: int
    samples: int

    @property
    def bytes(self) -> int:
        """Size of the complete file."""
        return self.cars * self.samples * len(SIGNALS) * 4

    def read(self, first: int, cars: int) -> Floats:
        """Signals (cars, samples, K) of the cars first, first+1, … Raises ValueError on a short file."""
        count = cars * self.samples * len(SIGNALS)
        offset = first * self.samples * len(SIGNALS) * 4
        flat = np.fromfile(self.path, np.float32, count=count, offset=offset)
        if len(flat) != count:
            raise ValueError(f"{self.path} is incomplete: remove it")
        return flat.reshape(cars, self.samples, len(SIGNALS))

    def groups(self) -> Iterator[tuple[int, Floats]]:
        """All cars in blocks that fit into memory: (number of the first car, signals (cars, samples, K))."""
        size = max(1, _READ_VALUES // (self.samples * len(SIGNALS)))
        for first in range(0, self.cars, size):
            yield first, self.read(first, min(size, self.cars - first))


@dataclass(frozen=True)
class Ground:
    """A fleet's parts on disk, and the truth about its test cars."""

    settings: Settings
    seed: int
    folder: Path

    def part(self, name: str) -> Part:
        """The samples of a part."""
        return Part(self.folder / f"{name}.f4", self.settings.cars(name), self.settings.samples)

    def simulate(self, report: Callable[[str, float], None]) -> None:
        """Simulate and write the parts that have no file yet."""
        for name in PARTS:
            if not self.part(name).path.exists():
                self._simulate(name, report)

    def _simulate(self, name: str, report: Callable[[str, float], None]) -> None:
        """Write a part's file, which gets its name only once it is complete."""
        part, interval_s = self.part(name), self.settings.interval_s
        unfinished = part.path.with_suffix(".part")
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.truncate(part.bytes)
        for first in range(0, part.cars, _FLEET_CARS):
            cars = min(_FLEET_CARS, part.cars - first)
            fleet = self.fleet(name, first, cars)
            for start in range(0, part.samples, _BLOCK_STEPS):
                stop = min(start + _BLOCK_STEPS, part.samples)
                block = np.stack(
                    [fleet.step(slice(0, cars), (i + 1) * interval_s, interval_s) for i in range(start, stop)]
                )
                whole = np.memmap(unfinished, np.float32, "r+", shape=(part.cars, part.samples, len(SIGNALS)))
                whole[first : first + cars, start:stop] = block.transpose(1, 0, 2)
                del whole
                report(f"simulating {name} cars", (first + cars * stop / part.samples) / part.cars)
        unfinished.rename(part.path)

    def fleet(self, name: str, first: int = 0, cars: int | None = None) -> Fleet:
        """The cars first, first+1, … of a part, at second 0; all cars of the part by default."""
        return Fleet(
            seed=self.seed,
            first=self._first(name) + first,
            cars=cars or self.settings.cars(name),
            scenario=self._scenario(name),
        )

    def failures(self) -> tuple[list[Failure], list[Failure]]:
        """(all faults of the faulty test cars, those that count as failures to foresee)."""
        fleet, learned_s, end_s = self.fleet("faulty"), self._learned_s, self.settings.hours * HOUR_S
        plan = fleet.plan
        every = [
            Failure(
                car=int(plan.car[i]) - fleet.first,
                kind=KINDS[kind].name,
                component=plan.component(i),
                onset_s=float(plan.onset_s[i]),
                failed_s=float(plan.failed_s[i]),
            )
            for i, kind in enumerate(plan.kind.tolist())
        ]
        return every, [each for each in every if each.onset_s >= learned_s and each.failed_s <= end_s]

    def labels(self) -> Labels:
        """(cars, samples) of the labelled cars: what workshops report, which know no onset.

        1 where a component fails within the next hours, -1 from a failure to its repair, else 0.
        """
        fleet, interval_s = self.fleet("labelled"), self.settings.interval_s
        plan, labels = fleet.plan, np.zeros((fleet.cars, self.settings.samples), np.int8)
        for car, failed_s, repaired_s in zip(
            plan.car - fleet.first, plan.failed_s, plan.repaired_s, strict=True
        ):
            soon, failed, repaired = (
                int(max(0.0, at_s) / interval_s)
                for at_s in (failed_s - _SOON_H * HOUR_S, failed_s, repaired_s)
            )
            labels[car, soon:failed] = 1
            labels[car, failed:repaired] = -1
        return labels

    def failures_in(self, change: str) -> NDArray[np.intp]:
        """Indices (m,) into the failures to foresee: those that begin and end during or after the change.

        They happen in the part of the change's faulty cars and, without the change, in the faulty test cars.
        """
        cars, at_s = self.settings.cars(FAULTY_IN[change]), self.changes_from_s(change)
        _, failures = self.failures()
        return np.flatnonzero([each.car < cars and each.onset_s >= at_s for each in failures])

    def changes_from_s(self, name: str) -> float:
        """From which second on alarms of a part count as alarms during its change."""
        if name not in CHANGES or name == "new_model":
            return self._learned_s
        return self._learned_s + _BEFORE_CHANGE * (self.settings.hours * HOUR_S - self._learned_s)

    @property
    def _learned_s(self) -> float:
        return self.settings.learning_h * HOUR_S

    def _first(self, name: str) -> int:
        return PARTS.index("faulty" if name in _CHANGE_OF else name) * _PART_CARS_MAX

    def _scenario(self, name: str) -> Scenario:
        """Faults of test and labelled cars begin after the learning period, of spoilt cars at any time."""
        if name == "spoilt":
            return Scenario(faulty_share=1.0)
        faulty = name in ("faulty", "labelled") or name in _CHANGE_OF
        scenario = Scenario(faulty_share=float(faulty), healthy_s=self._learned_s)
        change = _CHANGE_OF.get(name, name)
        at_s = self.changes_from_s(change)
        if change == "firmware":
            over_s = _ROLL_OUT_H * HOUR_S
            return replace(scenario, firmware_share=1.0, firmware_at_s=at_s, firmware_over_s=over_s)
        if change == "cold_snap":
            return replace(scenario, cold_k=_COLD_K, cold_at_s=at_s)
        return replace(scenario, new_model_from=self._first(name)) if change == "new_model" else scenario


def severities(plans: Iterable[FaultPlan]) -> list[dict[str, Any]]:
    """How fast faults grow in these plans: a row per kind and effect, for a table or JSON.

    Hours of wear from onset to failure and mean growth per hour (in the unit), each as {p10, p50, p90}.
    """
    hours = defaultdict[tuple[str, float, str], list[float]](list)
    for plan in plans:
        wear_h = (plan.failed_s - plan.onset_s) * (plan.scenario.ageing / HOUR_S)
        for incident, hours_to_failure in enumerate(wear_h.tolist()):
            kind = KINDS[plan.kind[incident]]
            hours[(kind.name, *kind.components[plan.component(incident)])].append(hours_to_failure)
    return [
        {
            "kind": name,
            "incidents": len(values),
            "at_failure": size,
            "unit": unit,
            "hours_to_failure": _spread(np.array(values)),
            "per_hour": _spread(size / np.array(values)),
        }
        for (name, size, unit), values in sorted(hours.items())
    ]


def _spread(values: F8) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 4) for share in (10, 50, 90)}


def fingerprint(*inputs: object) -> str:
    """A name for the data that this simulator makes of these inputs; it changes with the code."""
    digest = hashlib.sha256(repr(inputs).encode())
    for package in (simulator, contract):
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
