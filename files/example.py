"""An example file: invented pumps of a water works, three of which begin to fail; drawn from a seed.

Every pump has its own wear, bias and load; each signal follows speed and inlet temperature as a pump's does:
flow grows with the speed, pressure with its square, power with its cube (the affinity laws).
"""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from files import BadData
from files.table import Say
from plumbing.settings import setting

SIGNALS = ("flow", "pressure", "motor_current", "bearing_temp", "vibration")
CONDITIONS = ("speed", "inlet_temp")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# Pump, day on which the fault begins, and what fails; the fault is fully grown after GROWTH_DAYS.
FAULTS = (
    ("pump-03", 27, "bearing"),
    ("pump-07", 29, "impeller"),
    ("pump-10", 31, "sensor"),
)
GROWTH_DAYS = 10.0
COMMAND = (
    f"python -m files fit --data {{data}} --signals {','.join(SIGNALS)} \\\n"
    f"    --conditions {','.join(CONDITIONS)} --group pump --time time --out pumps-model"
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Flags, environment (EXAMPLE_…) or these defaults."""

    out: Path = setting("the CSV file to write")
    pumps: int = setting("number of pumps", default=12, least=1)
    days: int = setting("days of data, from 2026-01-01 on", default=42, least=1)
    interval_s: int = setting("seconds between two samples of a pump", default=600, least=1)
    seed: int = setting("seed of all random numbers", default=1)


def run(settings: Settings, say: Say) -> int:
    """Write the file and print how to try it. Returns the exit code. Raises BadData."""
    chance = np.random.default_rng(settings.seed)
    samples = settings.days * 86_400 // settings.interval_s
    times = [BEGIN + timedelta(seconds=settings.interval_s * number) for number in range(samples)]
    day = np.arange(samples) * settings.interval_s / 86_400
    try:
        with settings.out.open("w", encoding="utf-8") as file:
            file.write(",".join(("time", "pump", *CONDITIONS, *SIGNALS)) + "\n")
            for number in range(1, settings.pumps + 1):
                name = f"pump-{number:02d}"
                for time, row in zip(times, pump(name, day, chance).T.tolist(), strict=True):
                    values = ",".join("" if np.isnan(value) else f"{value:.4g}" for value in row)
                    file.write(f"{time:%Y-%m-%dT%H:%M:%S},{name},{values}\n")
    except OSError as error:
        raise BadData(f"--out {settings.out} cannot be written: {error.strerror}") from error
    command = COMMAND.format(data=shlex.quote(str(settings.out)))
    print(f"{settings.out}: {samples * settings.pumps} rows of {settings.pumps} pumps. Try:\n{command}")
    return 0


def pump(name: str, day: Floats, chance: np.random.Generator) -> Floats:
    """CONDITIONS and SIGNALS, (7, n), at the days (n,)."""
    hour = 24 * day
    demand = 0.75 + 0.15 * np.sin(2 * np.pi * (hour - 8) / 24) + _wander(len(day), 0.05, 40, chance)
    speed = np.clip(1450 * demand * chance.normal(1, 0.03), 700, 1600)
    inlet = 10 + 3 * np.sin(2 * np.pi * day / 60) + 2 * np.sin(2 * np.pi * (hour - 15) / 24)
    inlet += _wander(len(day), 0.8, 200, chance)
    wear, relative = chance.normal(0, 0.03, 5), speed / 1450
    flow = 120 * relative * (1 + wear[0])
    pressure = 6 * relative**2 * (1 + wear[1])
    current = (4 + 18 * relative**3) * (1 + wear[2])
    temp = inlet + 12 + _lagged(14 * relative**2, 12) * (1 + wear[3]) + chance.normal(0, 1.5)
    vibration = 0.4 + 1.8 * relative**2 * (1 + 3 * wear[4])
    size = {
        kind: np.clip((day - begin) / GROWTH_DAYS, 0, 1) for faulty, begin, kind in FAULTS if faulty == name
    }
    bearing, impeller = size.get("bearing", 0), size.get("impeller", 0)
    temp, vibration = temp + 9 * bearing, vibration * (1 + 0.8 * bearing)
    flow, pressure = flow * (1 - 0.1 * impeller), pressure * (1 - 0.08 * impeller)
    current *= 1 + 0.06 * impeller
    true = np.stack([speed, inlet, flow, pressure, current, temp, vibration])
    noise = np.array([4, 0.1, 1.5, 0.06, 0.25, 0.4, 0.08])[:, None]
    seen = true + noise * chance.normal(size=true.shape)
    seen[3] += 0.5 * size.get("sensor", 0)
    seen[chance.random(seen.shape) < 0.002] = np.nan  # samples that were lost
    return np.asarray(seen)


def _wander(count: int, size: float, samples: int, chance: np.random.Generator) -> Floats:
    """A mean-reverting random walk of standard deviation `size` and a time constant of `samples`."""
    return _lagged(chance.normal(0, size * np.sqrt(2 * samples), count), samples)


def _lagged(values: Floats, samples: float) -> Floats:
    """First-order lag with a time constant of `samples`."""
    lagged, level = np.empty_like(values), float(values[0])
    for number, value in enumerate(values.tolist()):
        level += (value - level) / samples
        lagged[number] = level
    return lagged
