"""The cost of each component: CPU and memory as straight lines fitted to measured runs.

CPU in cores = base · processes + cost of a message · messages/s. The base is what a process spends on waking
up however little arrives; it is also why a message costs more at low rates. Memory = base · processes + cost
of a car · cars.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import output

MEASURED = Path(__file__).with_name("measured.json")
COMPONENTS = ("simulator", "mqtt", "bridge", "edge", "scorer", "mirror", "cloud")
# A JVM's memory is its heap, which fills with time up to its limit whatever the number of cars.
_JVMS = ("edge", "mirror", "cloud")


@dataclass(frozen=True)
class MeasuredRun:
    """A deployment under one load. The mappings are by component."""

    cars: int
    rate: float  # messages/s
    processes: Mapping[str, int]
    cores: Mapping[str, float]
    memory_mib: Mapping[str, float]


@dataclass(frozen=True)
class Cost:
    """The cost of one component."""

    base_cores: float  # for each process
    cores_per_message: float  # for each message/s
    base_mib: float  # for each process
    mib_per_car: float

    def cores(self, processes: int, rate: float) -> float:
        """CPU at `rate` messages/s."""
        return self.base_cores * processes + self.cores_per_message * rate

    def memory_mib(self, processes: int, cars: int) -> float:
        """Memory with `cars` cars."""
        return self.base_mib * processes + self.mib_per_car * cars


def fit(runs: Sequence[MeasuredRun]) -> dict[str, Cost]:
    """The cost of every component. Raises ValueError for runs at a single rate: a line needs two points."""
    if len({run.rate for run in runs}) < 2:
        raise ValueError("costs need runs at two rates at least")
    costs = {}
    for name in COMPONENTS:
        processes = [float(run.processes[name]) for run in runs]
        cpu = _line(processes, [run.rate for run in runs], [run.cores[name] for run in runs])
        cars = [0.0 if name in _JVMS else float(run.cars) for run in runs]
        memory = _line(processes, cars, [run.memory_mib[name] for run in runs])
        costs[name] = Cost(*cpu, *memory)
    return costs


def _line(
    processes: Sequence[float], load: Sequence[float], measured: Sequence[float]
) -> tuple[float, float]:
    """(cost of a process, cost of a unit of load), neither negative, by least squares of relative errors."""
    weights = 1 / np.maximum(np.array(measured), 1e-9)
    both = np.column_stack([processes, load]) * weights[:, None]
    base, slope = np.linalg.lstsq(both, np.ones(len(load)), rcond=None)[0]
    if slope < 0 or len(set(load)) < 2:
        return float(np.linalg.lstsq(both[:, :1], np.ones(len(load)), rcond=None)[0][0]), 0.0
    if base < 0:
        return 0.0, float(np.linalg.lstsq(both[:, 1:], np.ones(len(load)), rcond=None)[0][0])
    return float(base), float(slope)


def read(path: Path = MEASURED) -> tuple[dict[str, Any], list[MeasuredRun]]:
    """(the file with date, machine and command; its runs). Raises ValueError for any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content, [MeasuredRun(**run) for run in content["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a file of measured runs ({error}): `python -m loadtest plan --measure` writes one"
        ) from error


def write(path: Path, about: Mapping[str, Any], runs: Sequence[MeasuredRun]) -> None:
    """Write a file of measured runs."""
    output.write_json(path, {**about, "runs": [asdict(run) for run in runs]})
