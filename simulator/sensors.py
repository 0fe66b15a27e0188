"""From true values to sensor readings: every sensor has a gain, a bias and noise of its own."""

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import SIGNALS
from simulator.chance import F4
from simulator.faults import DRIFTS, WHEELS, ActiveFaults

# Standard deviations (of the gain over the cars, of the bias over the cars, of the noise of a reading); bias
# and noise in the signal's unit.
_ERRORS: dict[str, tuple[float, float, float]] = {
    "coolant_temp": (0.003, 0.5, 0.2),
    "intake_air_temp": (0.003, 0.4, 0.2),
    "intake_air_flow_speed": (0.020, 0.5, 1.0),
    "battery_percentage": (0.0, 0.5, 0.05),
    "battery_voltage": (0.002, 0.2, 0.2),
    "current_draw": (0.005, 0.2, 0.3),
    "speed": (0.008, 0.0, 0.05),
    "engine_vibration_amplitude": (0.010, 2.0, 3.0),
    "throttle_pos": (0.005, 0.002, 0.003),
    **{f"tire_pressure_{wheel}": (0.005, 0.2, 0.08) for wheel in WHEELS},
    **{f"accelerometer_{wheel}_value": (0.010, 0.02, 0.03) for wheel in WHEELS},
    "control_unit_firmware": (0.0, 0.0, 0.0),
    "motor_temp": (0.003, 0.6, 0.3),
}
GAIN_SPREAD, BIAS_SPREAD, _noise = (
    np.array([_ERRORS[name][kind] for name in SIGNALS], np.float64) for kind in range(3)
)
NOISE: F4 = _noise.astype(np.float32)[:, None]
# Range of a sensor: a speed or an amplitude is never negative, a percentage never above 100.
_SIGNED = ("coolant_temp", "intake_air_temp", "current_draw", "motor_temp")
_WHOLE = {"battery_percentage": 100.0, "throttle_pos": 1.0}
_LOWEST: F4 = np.array([-1e6 if name in _SIGNED else 0 for name in SIGNALS], np.float32)[:, None]
_HIGHEST: F4 = np.array([_WHOLE.get(name, 1e6) for name in SIGNALS], np.float32)[:, None]
# Column and drift of each sensor that exists once, in the order of the faults' components (faults.DRIFTS).
_COLUMN = np.array([SIGNALS.index(name) for name in DRIFTS])
_DRIFT = np.array([size for size, _ in DRIFTS.values()], np.float32)


def read(true: F4, gain: F4, bias: F4, noise: F4) -> F4:
    """Readings (k, signals) of k cars from their true values; all arguments are (signals, k).

    Overwrites `true` and `noise`.
    """
    true *= gain
    true += bias
    noise *= NOISE
    true += noise
    np.maximum(true, _LOWEST, out=true)
    np.minimum(true, _HIGHEST, out=true)
    return np.ascontiguousarray(true.T)


def drift(true: F4, faults: ActiveFaults, sensor: NDArray[np.intp], upwards: NDArray[np.bool_]) -> None:
    """Add the drift of sensors (m,) to `true` (signals, k); upwards (incidents,) is the direction."""
    sign = np.where(upwards[faults.incident], 1, -1)
    true[_COLUMN[sensor], faults.car] += sign * faults.severity * _DRIFT[sensor]


def stick(
    readings: F4, faults: ActiveFaults, sensor: NDArray[np.intp], without_contact: NDArray[np.bool_], held: F4
) -> None:
    """Let sensors (m,) without contact repeat their last reading, in `readings` (k, signals).

    held (incidents,) stores the last reading; NaN where there is none yet.
    """
    last, now = held[faults.incident], readings[faults.car, _COLUMN[sensor]]
    reading = np.where(without_contact & np.isfinite(last), last, now)
    readings[faults.car, _COLUMN[sensor]] = held[faults.incident] = reading
