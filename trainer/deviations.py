"""What to judge by where no workshop has reported enough: deviations of physical size, put into healthy data.

Each grows from nothing to its full size over a held-out car's samples. The sizes are those at which a driver
or the law would call the part faulty, not those that are easy to see. They move single signals only, so they
judge less than a real fault would; they are the same for every detector.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import SIGNALS, Floats
from trainer.robust import Cars


@dataclass(frozen=True)
class Deviation:
    """One of `signals` (drawn for each car) times `factor` plus `offset`, in its unit, at full size."""

    name: str
    signals: tuple[str, ...]
    factor: float = 1.0
    offset: float = 0.0


_WHEELS = ("1_1", "1_2", "2_1", "2_2")
DEVIATIONS = (
    Deviation("coolant 15 K hotter", ("coolant_temp",), offset=15.0),  # from a normal to a boiling summit
    Deviation("air flow 40 % less", ("intake_air_flow_speed",), factor=0.6),  # a filter due for change
    Deviation("battery 15 V less", ("battery_voltage",), offset=-15.0),  # four cells of about a hundred
    Deviation("current 30 % more", ("current_draw",), factor=1.3),  # a dragging brake
    Deviation("speed 15 % less", ("speed",), factor=0.85),  # a drifting sensor; the law allows 10 % (UN R39)
    Deviation("vibration doubled", ("engine_vibration_amplitude",), factor=2.0),  # ISO 20816: a zone further
    Deviation("tyre 25 % less", tuple(f"tire_pressure_{w}" for w in _WHEELS), factor=0.75),  # FMVSS 138
    Deviation("one wheel shakes twice", tuple(f"accelerometer_{w}_value" for w in _WHEELS), factor=2.0),
)


def growing(signals: Floats, car: Cars, deviation: Deviation, seed: int) -> Floats:
    """`signals` (n, 18), ordered by car and time, with the deviation growing over each car's samples."""
    numbers, starts, counts = np.unique(car, return_index=True, return_counts=True)
    rank = np.arange(len(car)) - np.repeat(starts, counts)
    size: NDArray[np.float64] = (rank + 1) / np.repeat(counts, counts)
    columns = np.array([SIGNALS.index(name) for name in deviation.signals])
    chosen = np.random.default_rng(seed).choice(columns, len(numbers))
    column = np.repeat(chosen, counts)
    moved = signals.copy()
    rows = np.arange(len(car))
    moved[rows, column] *= (1 + (deviation.factor - 1) * size).astype(np.float32)
    moved[rows, column] += (deviation.offset * size).astype(np.float32)
    return moved
