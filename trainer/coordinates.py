"""What the model looks at: the signals, and ratios of them that physics keeps nearly constant.

Written in TensorFlow's operations, so that the very same code runs in training and inside the graph that the
scorers get. A ratio says how strongly a part reacts to the driving: its logarithm has the same spread at
every speed, and a worn part moves it by the same amount everywhere.
"""

from typing import Any

import numpy as np

from contract.telemetry import SIGNALS

COUNT = len(SIGNALS)
_PLACE = {name: i for i, name in enumerate(SIGNALS)}
ACCELEROMETERS = [_PLACE[f"accelerometer_{wheel}_value"] for wheel in ("1_1", "1_2", "2_1", "2_2")]
FLOW, VOLTAGE, CURRENT, SPEED, VIBRATION, THROTTLE, FIRMWARE = (
    _PLACE[name]
    for name in (
        "intake_air_flow_speed",
        "battery_voltage",
        "current_draw",
        "speed",
        "engine_vibration_amplitude",
        "throttle_pos",
        "control_unit_firmware",
    )
)

# (name, the signal it judges or None, the signals it is made of); they stand behind the signals. What is
# linear, like the spread of the four tyres, is not here: the model's linear part makes it by itself.
_DERIVED: list[tuple[str, int | None, list[int]]] = [
    ("air flow over speed", FLOW, [FLOW, SPEED]),
    ("vibration over speed", VIBRATION, [VIBRATION, SPEED]),
    *[("acceleration over root of speed", wheel, [wheel, SPEED]) for wheel in ACCELEROMETERS],
    ("electric power over speed", None, [VOLTAGE, CURRENT, SPEED]),
]
WIDTH = COUNT + len(_DERIVED)

# The operating point: all that the network may see. What hardly changes within a car (temperatures, charge,
# tyre pressures) tells cars apart, and a network that sees it learns the training cars by heart (measured).
OPERATING_POINT = np.isin(np.arange(WIDTH), [SPEED, THROTTLE, CURRENT, WIDTH - 1])

# The firmware is a condition: another version is a difference between cars, never a fault.
SCORED = np.array([i != FIRMWARE for i in range(COUNT)])

# Below this a change is the sensor's resolution, not news: the floor of every spread, in the signal's unit
# (firmware: one version) and for the logarithms of ratios.
RESOLUTION = np.array(
    [0.2, 0.2, 0.5, 0.1, 0.2, 0.3, 0.1, 3, 0.005, *[0.1] * 4, *[0.05] * 4, 1000, *[0.005] * 6, 0.05]
)

# Where a ratio's parts are near zero: an idling fan, noise of a standing car.
_FLOW_IDLE, _VIBRATION_IDLE, _SHAKING_IDLE, _FORCE_MOST = 5.0, 20.0, 0.2, 20.0


def targets() -> np.ndarray[Any, np.dtype[np.intp]]:
    """Per signal the coordinate by which it is judged, (18,): its ratio where there is one, else itself."""
    chosen = np.arange(COUNT)
    for place, (_, judged, _) in enumerate(_DERIVED, COUNT):
        if judged is not None:
            chosen[judged] = place
    return chosen


def visible() -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(WIDTH, 18): whether coordinate i may be used to expect signal j, that is, is not made of it."""
    return ~parts()


def parts() -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(WIDTH, 18): whether coordinate i is made of signal j."""
    made = np.zeros((WIDTH, COUNT), bool)
    made[:COUNT] = np.eye(COUNT, dtype=bool)
    for place, (_, _, of) in enumerate(_DERIVED, COUNT):
        made[place, of] = True
    return made


def helpful() -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(WIDTH, WIDTH): whether coordinate i may fill coordinate k: i is not made of the signal k judges."""
    judged = [*range(COUNT), *[signal for _, signal, _ in _DERIVED]]
    columns = [
        ~parts()[:, signal] if signal is not None else ~parts()[:, _DERIVED[k - COUNT][2]].any(axis=1)
        for k, signal in enumerate(judged)
    ]
    return np.stack(columns, axis=1)


# The ratios' parts, in the order of the derived coordinates, and speed; and the parts of the electric power.
_SIZES, _POWER = [FLOW, VIBRATION, *ACCELEROMETERS, SPEED], [VOLTAGE, CURRENT]
# Logarithms of the sizes with what keeps them off zero; speed stands in three ratios, each with its own.
_LOGS = [0, 1, 2, 3, 4, 5, 6, 6, 6]
_IDLE = [_FLOW_IDLE, _VIBRATION_IDLE, *[_SHAKING_IDLE] * 4, _FLOW_IDLE, 1.0, _SHAKING_IDLE]
# (9, 6): log(flow) - log(speed), log(vibration) - log(speed), log(acceleration) - log(speed) / 2 four times.
_RATIOS = np.eye(9, 6, dtype=np.float32)
_RATIOS[6, 0] = _RATIOS[7, 1] = -1
_RATIOS[8, 2:] = -0.5


def coordinates(signals: Any) -> Any:
    """(n, 18) finite signals to (n, WIDTH) coordinates: the signals, then the derived ones.

    Columns are picked and combined by constant matrices: TFLite gathers columns ten times more slowly.
    """
    import tensorflow as tf

    picked = signals @ picks(COUNT, _SIZES + _POWER)
    sizes = tf.abs(picked[:, : len(_SIZES)])
    logs = tf.math.log(sizes @ picks(len(_SIZES), _LOGS) + np.array(_IDLE, np.float32))
    watts = picked[:, len(_SIZES) : len(_SIZES) + 1] * picked[:, len(_SIZES) + 1 :]
    force = watts / (1000 * sizes[:, len(_SIZES) - 1 :] + 1000)
    return tf.concat([signals, logs @ _RATIOS, tf.clip_by_value(force, -_FORCE_MOST, _FORCE_MOST)], axis=1)


def picks(width: int, columns: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(width, k): what (n, width) is multiplied by to get its `columns` (k); exact where all is finite."""
    return np.eye(width, dtype=np.float32)[:, columns]
