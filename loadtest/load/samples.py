"""The samples of a load car: a healthy car of the simulator, and the same car with broken parts."""

import numpy as np

from contract.records import single_object_header
from contract.schema import latest
from contract.telemetry import SIGNALS, Floats, encode, prefix
from simulator.fleet import Fleet
from simulator.scenario import Scenario

# A healthy car of the simulator, a sample a minute; it stands, is warm or cold, and drives at every speed.
_MINUTES = 200
_CAR = Fleet(seed=1, first=361, cars=1, scenario=Scenario(faulty_share=0.0))
HEALTHY: Floats = np.concatenate([_CAR.step(slice(0, 1), 60.0 * i, 60.0) for i in range(1, _MINUTES + 1)])

# Many parts broken at once, at the highest speed, which every model must find anomalous.
_BROKEN = {
    "coolant_temp": 130.0,
    "battery_voltage": 240.0,
    "engine_vibration_amplitude": 9_000.0,
    "tire_pressure_1_1": 12.0,
    "accelerometer_1_1_value": 60.0,
}
FAULTY: Floats = HEALTHY[HEALTHY[:, SIGNALS.index("speed")].argmax()].copy()
FAULTY[[SIGNALS.index(name) for name in _BROKEN]] = list(_BROKEN.values())


class Sensors:
    """A car's samples, encoded as it sends them: `seq` from 1 without a gap, in the order of the drive."""

    def __init__(self, car_id: str) -> None:
        schema = latest("telemetry")
        self._prefixes = [single_object_header(schema) + prefix(schema, car_id)]
        self.seq = 0

    def sample(self, at_ms: int, *, faulty: bool = False) -> bytes:
        """The next MQTT payload; `at_ms` is its time stamp, ms since 1970."""
        self.seq += 1
        signals = FAULTY if faulty else HEALTHY[self.seq % len(HEALTHY)]
        return encode(self._prefixes, np.array([self.seq]), np.array([at_ms]), signals[None])[0]
