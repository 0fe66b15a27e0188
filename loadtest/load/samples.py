"""The samples of a load car: one healthy car at seven speeds, and the same car with broken parts."""

import numpy as np

from contract.records import single_object_header
from contract.schema import latest
from contract.telemetry import SIGNALS, Floats, encode, prefix

# Means of one healthy car of the simulator (seed 1, car 361, 100 minutes), by speed: standing to motorway.
_BY_SPEED: dict[str, tuple[float, ...]] = {
    "coolant_temp": (51.3, 52.9, 52.4, 53.0, 53.6, 54.2, 55.1),
    "intake_air_temp": (17.3, 15.0, 15.3, 14.0, 13.6, 13.5, 14.3),
    "intake_air_flow_speed": (32.4, 44.8, 69.0, 99.3, 121.4, 138.3, 158.2),
    "battery_percentage": (31.6, 31.2, 31.1, 30.8, 30.4, 30.2, 30.1),
    "battery_voltage": (344.9, 344.7, 344.6, 344.0, 343.8, 342.7, 343.7),
    "current_draw": (3.1, 4.6, 11.4, 19.6, 19.0, 29.5, 12.9),
    "speed": (0.0, 2.5, 7.5, 13.6, 18.1, 21.5, 25.6),
    "engine_vibration_amplitude": (12.4, 207.9, 566.8, 1208.2, 1523.3, 1638.3, 1873.2),
    "throttle_pos": (0.05, 0.12, 0.10, 0.10, 0.09, 0.13, 0.07),
    "tire_pressure_1_1": (34.8, 35.7, 35.6, 35.5, 35.7, 35.8, 35.2),
    "tire_pressure_1_2": (33.4, 34.3, 34.2, 34.1, 34.3, 34.4, 33.7),
    "tire_pressure_2_1": (33.0, 33.8, 33.7, 33.7, 33.9, 34.0, 33.3),
    "tire_pressure_2_2": (33.7, 34.6, 34.4, 34.4, 34.6, 34.7, 33.9),
    "accelerometer_1_1_value": (0.04, 2.45, 4.60, 5.72, 5.47, 5.89, 6.04),
    "accelerometer_1_2_value": (0.04, 2.23, 4.15, 5.17, 4.94, 5.28, 5.84),
    "accelerometer_2_1_value": (0.03, 2.44, 4.40, 5.47, 5.27, 5.64, 5.82),
    "accelerometer_2_2_value": (0.05, 2.74, 4.98, 6.22, 5.93, 6.42, 6.78),
    "control_unit_firmware": (1000.0,) * 7,
    "motor_temp": (61.8, 63.8, 61.1, 64.8, 66.5, 69.1, 72.6),
}
HEALTHY: Floats = np.array([_BY_SPEED[name] for name in SIGNALS], np.float32).T.copy()

# Many parts broken at once, at motorway speed, which every model must find anomalous.
_BROKEN = {
    "coolant_temp": 130.0,
    "battery_voltage": 240.0,
    "engine_vibration_amplitude": 9_000.0,
    "tire_pressure_1_1": 12.0,
    "accelerometer_1_1_value": 60.0,
}
FAULTY: Floats = HEALTHY[-1].copy()
FAULTY[[SIGNALS.index(name) for name in _BROKEN]] = list(_BROKEN.values())

_SAMPLES_A_SPEED = 20


class Sensors:
    """A car's samples, encoded as it sends them: `seq` from 1 without a gap, at one speed after another."""

    def __init__(self, car_id: str) -> None:
        schema = latest("telemetry")
        self._prefixes = [single_object_header(schema) + prefix(schema, car_id)]
        self.seq = 0

    def sample(self, at_ms: int, *, faulty: bool = False) -> bytes:
        """The next MQTT payload; `at_ms` is its time stamp, ms since 1970."""
        self.seq += 1
        signals = FAULTY if faulty else HEALTHY[self.seq // _SAMPLES_A_SPEED % len(HEALTHY)]
        return encode(self._prefixes, np.array([self.seq]), np.array([at_ms]), signals[None])[0]
