"""What each component costs, from scale runs: CPU and memory as straight lines fitted to what was measured.

CPU of a component, in cores = base · processes + per message · messages/s. The base is what a process spends
on waking up however little comes; it is also why a message costs more at low rates. Memory = base ·
processes + per car · cars.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

MEASURED = Path(__file__).with_name("measured.json")
COMPONENTS = ("simulator", "mqtt", "bridge", "edge", "scorer", "mirror", "cloud")
# A JVM's memory is its heap, which fills with time up to its limit, whatever the number of cars.
_JVMS = ("edge", "mirror", "cloud")


@dataclass(frozen=True)
class Measured:
    """One scale run: how many processes each component had, its CPU in cores and its memory in MiB."""

    cars: int
    rate: float
    processes: Mapping[str, int]
    cores: Mapping[str, float]
    memory_mib: Mapping[str, float]

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> "Measured":
        """From a run's summary.json."""
        components = summary["components"]
        return cls(
            cars=summary["cars"],
            rate=summary["rate_msgs_per_s"],
            processes={name: use["processes"] for name, use in components.items()},
            cores={name: round(use["cpu_percent"] / 100, 4) for name, use in components.items()},
            memory_mib={name: use["rss_mib"] for name, use in components.items()},
        )

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class Cost:
    """Of one component: cores a process and a message/s, MiB a process and a car."""

    base_cores: float
    cores_per_message: float
    base_mib: float
    mib_per_car: float

    def cores(self, processes: int, rate: float) -> float:
        """CPU at so many messages/s."""
        return self.base_cores * processes + self.cores_per_message * rate

    def memory_mib(self, processes: int, cars: int) -> float:
        """Memory with so many cars."""
        return self.base_mib * processes + self.mib_per_car * cars


def fit(runs: Sequence[Measured]) -> dict[str, Cost]:
    """The cost of every component. Raises ValueError with fewer than two rates: a line needs two points."""
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


def _line(processes: Sequence[float], load: Sequence[float], found: Sequence[float]) -> tuple[float, float]:
    """(a process, a unit of load), neither negative, by least squares relative to what was found."""
    weights = 1 / np.maximum(np.array(found), 1e-9)
    both = np.column_stack([processes, load]) * weights[:, None]
    base, slope = np.linalg.lstsq(both, np.ones(len(load)), rcond=None)[0]
    if slope < 0 or len(set(load)) < 2:
        return float(np.linalg.lstsq(both[:, :1], np.ones(len(load)), rcond=None)[0][0]), 0.0
    if base < 0:
        return 0.0, float(np.linalg.lstsq(both[:, 1:], np.ones(len(load)), rcond=None)[0][0])
    return float(base), float(slope)


def read(path: Path = MEASURED) -> tuple[dict[str, Any], list[Measured]]:
    """(date, machine, command; the runs) of a file of measured runs. Raises ValueError where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content, [Measured(**run) for run in content["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no file of measured runs ({error}): `python -m loadtest plan --measure` writes one"
        ) from error


def write(path: Path, about: Mapping[str, Any], runs: Sequence[Measured]) -> None:
    """Write a file of measured runs."""
    content = {**about, "runs": [run.as_dict() for run in runs]}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
