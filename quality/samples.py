"""The fleet's samples on disk: one file of (cars, samples, signals) float32 per part.

A scorecard's fleet is larger than memory. Files are written in blocks of time and read in blocks of cars,
with plain reads instead of a memory map, so that pages once read do not count as this process's memory.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import contract
import simulator
from contract.telemetry import SIGNALS, Floats
from simulator.fleet import Fleet

_BLOCK_STEPS = 256
# Cars that are simulated together: their arrays fit into a core's cache.
_FLEET_CARS = 512
_READ_VALUES = 24_000_000  # 96 MB


@dataclass(frozen=True)
class Part:
    """One part of the fleet."""

    path: Path
    cars: int
    samples: int

    @property
    def _car_bytes(self) -> int:
        return self.samples * len(SIGNALS) * 4

    def read(self, first: int, cars: int) -> Floats:
        """Signals (cars, samples, K) of the cars first, first+1, … Raises ValueError on a short file."""
        count = cars * self.samples * len(SIGNALS)
        flat = np.fromfile(self.path, np.float32, count=count, offset=first * self._car_bytes)
        if len(flat) != count:
            raise ValueError(f"{self.path} is incomplete: remove it")
        return flat.reshape(cars, self.samples, len(SIGNALS))

    def groups(self) -> Iterator[tuple[int, Floats]]:
        """All cars in blocks that fit into memory: (number of the first car, signals (cars, samples, K))."""
        size = max(1, _READ_VALUES // (self.samples * len(SIGNALS)))
        for first in range(0, self.cars, size):
            yield first, self.read(first, min(size, self.cars - first))


def simulate(
    make: Callable[[int, int], Fleet], part: Part, interval_s: float, report: Callable[[float], None]
) -> None:
    """Write the part's file. make(first, cars) gives the fleet of these cars of the part, at second 0.

    `report` is called with the share that is done. The file gets its name only once it is complete.
    """
    unfinished = part.path.with_suffix(".part")
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.open("wb") as file:
        file.truncate(part.cars * part.samples * len(SIGNALS) * 4)
    for first in range(0, part.cars, _FLEET_CARS):
        cars = min(_FLEET_CARS, part.cars - first)
        fleet = make(first, cars)
        for start in range(0, part.samples, _BLOCK_STEPS):
            stop = min(start + _BLOCK_STEPS, part.samples)
            block = np.stack(
                [fleet.step(slice(0, cars), (i + 1) * interval_s, interval_s) for i in range(start, stop)]
            )
            whole = np.memmap(unfinished, np.float32, "r+", shape=(part.cars, part.samples, len(SIGNALS)))
            whole[first : first + cars, start:stop] = block.transpose(1, 0, 2)
            del whole
            report((first + cars * stop / part.samples) / part.cars)
    unfinished.rename(part.path)


def fingerprint(*inputs: object) -> str:
    """A name for the data that this simulator makes of these inputs; it changes with the code."""
    digest = hashlib.sha256(repr(inputs).encode())
    for package in (simulator, contract):
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def clear(folder: Path, *, but: str | None = None) -> None:
    """Remove the kept samples, except those named `but`."""
    for old in folder.glob("*"):
        if old.name != but:
            shutil.rmtree(old, ignore_errors=True)
