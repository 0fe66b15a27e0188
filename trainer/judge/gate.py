"""The gate: whether a candidate may be published, from measurements alone. Every reason is in words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from contract.manifest import TFLITE_BYTES_MAX
from trainer.judge.evaluate import Difference, Judgement

PARITY_MAX = 1e-4
# The threshold is set on as many cars as it is checked on: both are uncertain by about a factor of two.
ALARM_TOLERANCE = 2.0
# If the test cars drove too little for even one allowed alert, the threshold is extrapolated: it is off by
# about a factor of three with 20 seconds of telemetry.
ALARM_TOLERANCE_EXTRAPOLATED = 10.0
SUSPECT_SHARE_MAX = 0.1
# A smaller loss of recall does not count, however surely it was measured.
RECALL_TOLERANCE = 0.01


@dataclass(frozen=True)
class Evidence:
    """What was measured of a candidate."""

    candidate: Judgement
    # Recall of the candidate minus that of another detector: max_abs_z and mahalanobis; linear (the candidate
    # without its network) and champion where there is one.
    gains: Mapping[str, Difference]
    budget: float  # alerts of healthy cars a car-week that were allowed
    car_weeks: float  # of healthy test cars' telemetry
    tflite_bytes: int
    finite: bool  # whether all scores, contributions and states were
    parity: float  # largest difference between TFLite's and Keras's score, relative to max(1, score)
    unsound: tuple[str, ...] = ()  # what a process without TensorFlow found wrong


def reasons(evidence: Evidence) -> list[str]:
    """Why the candidate must not be published; empty: it may. A NaN never passes."""
    return [reason for reason, passed in _checks(evidence) if not passed]


def _checks(e: Evidence) -> list[tuple[str, bool]]:
    own, z, mahalanobis = e.candidate, e.gains["max_abs_z"], e.gains["mahalanobis"]
    counted = e.budget * e.car_weeks >= 1
    allowed = e.budget * (ALARM_TOLERANCE if counted else ALARM_TOLERANCE_EXTRAPOLATED)
    checks = [
        (f"{e.tflite_bytes} bytes, at most {TFLITE_BYTES_MAX}", 0 < e.tflite_bytes <= TFLITE_BYTES_MAX),
        ("weights or scores that are not finite", e.finite and math.isfinite(own.threshold)),
        (f"TFLite differs from Keras by {e.parity:.2g}, at most {PARITY_MAX:.2g}", e.parity <= PARITY_MAX),
        *[(f"unsound: {reason}", False) for reason in e.unsound],
        (
            f"{own.false_alarms_per_car_week:.3g} false alarms a car-week (hardly less than "
            f"{own.false_alarms_low:.3g}), at most {allowed:.3g}",
            own.false_alarms_low <= allowed,
        ),
        (
            f"{own.suspect_share:.0%} of the healthy cars are suspect, at most {SUSPECT_SHARE_MAX:.0%}",
            own.suspect_share <= SUSPECT_SHARE_MAX,
        ),
        (f"not better than max|z|: recall {z}", _better(own, z.low)),
        (f"not better than Mahalanobis: recall {mahalanobis}", _better(own, mahalanobis.mean)),
    ]
    for name, verdict in (("linear", "better without its network"), ("champion", "worse than the champion")):
        if gain := e.gains.get(name):
            checks.append((f"{verdict}: recall {gain}", gain.high >= -RECALL_TOLERANCE))
    return checks


def _better(candidate: Judgement, gain: float) -> bool:
    """A gain, or no loss where nearly every failure is foreseen and nothing can be better."""
    return gain > 0 or (candidate.recall >= 1 - RECALL_TOLERANCE and gain >= 0)
