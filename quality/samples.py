"""The fleet's samples on disk: a part is a file of (cars, samples, 18) float32, read some cars at a time.

A scorecard's fleet is larger than memory. Files are written in blocks of time and read in blocks of cars, by
plain reads and not through a mapping, so that what was read does not count as this process's memory.
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
# So many cars at a time are simulated: their arrays stay in a core's cache.
_FLEET_CARS = 512
_READ_VALUES = 24_000_000  # 96 MB


@dataclass(frozen=True)
class Part:
    """The cars of a part in its file."""

    path: Path
    cars: int
    samples: int

    @property
    def _car_bytes(self) -> int:
        return self.samples * len(SIGNALS) * 4

    def read(self, first: int, cars: int) -> Floats:
        """(cars, samples, 18) of the cars first, first+1, … Raises ValueError where the file ends before."""
        count = cars * self.samples * len(SIGNALS)
        flat = np.fromfile(self.path, np.float32, count=count, offset=first * self._car_bytes)
        if len(flat) != count:
            raise ValueError(f"{self.path} is cut off: remove it")
        return flat.reshape(cars, self.samples, len(SIGNALS))

    def groups(self) -> Iterator[tuple[int, Floats]]:
        """(first car, its and the next cars' samples), all cars in blocks that fit into memory."""
        size = max(1, _READ_VALUES // (self.samples * len(SIGNALS)))
        for first in range(0, self.cars, size):
            yield first, self.read(first, min(size, self.cars - first))


def simulate(
    make: Callable[[int, int], Fleet], part: Part, interval_s: float, tell: Callable[[float], None]
) -> None:
    """Write the part's file. make(first, cars): the fleet of these cars of the part, at second 0.

    `tell` hears the share that is done. The file appears under its name only once it is whole.
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
            tell((first + cars * stop / part.samples) / part.cars)
    unfinished.rename(part.path)


def fingerprint(*told: object) -> str:
    """Name of the data that this simulator makes when told this: another code, another name."""
    found = hashlib.sha256(repr(told).encode())
    for package in (simulator, contract):
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def clear(folder: Path, *, but: str | None = None) -> None:
    """Remove the kept samples, except those named `but`."""
    for old in folder.glob("*"):
        if old.name != but:
            shutil.rmtree(old, ignore_errors=True)
