"""The gate: whether a candidate may be published, from measurements alone. Every reason is in words."""

import math
from dataclasses import dataclass

from contract.manifest import TFLITE_BYTES_MAX
from trainer.judge.evaluate import Difference

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

    tflite_bytes: int
    finite: bool  # whether all scores, contributions and states were
    parity: float  # largest difference between TFLite's and Keras's score, relative to max(1, score)
    unsound: tuple[str, ...]  # what a process without TensorFlow found wrong
    threshold: float
    false_alarms: float  # alerts of healthy test cars a car-week
    false_alarms_low: float  # it is hardly less than this
    budget: float  # alerts a car-week that were allowed
    car_weeks: float  # of healthy test cars' telemetry
    suspect_share: float  # of the healthy test cars
    recall: float
    over_max_abs_z: Difference  # recall minus that of this baseline
    over_mahalanobis: Difference
    over_linear: Difference | None  # … of the candidate without its network; None where it ships without
    over_champion: Difference | None  # None where there is none


def reasons(evidence: Evidence) -> list[str]:
    """Why the candidate must not be published; empty: it may. A NaN never passes."""
    return [reason for reason, passed in _checks(evidence) if not passed]


def _checks(e: Evidence) -> list[tuple[str, bool]]:
    counted = e.budget * e.car_weeks >= 1
    allowed = e.budget * (ALARM_TOLERANCE if counted else ALARM_TOLERANCE_EXTRAPOLATED)
    checks = [
        (f"{e.tflite_bytes} bytes, at most {TFLITE_BYTES_MAX}", 0 < e.tflite_bytes <= TFLITE_BYTES_MAX),
        ("weights or scores that are not finite", e.finite and math.isfinite(e.threshold)),
        (f"TFLite differs from Keras by {e.parity:.2g}, at most {PARITY_MAX:.2g}", e.parity <= PARITY_MAX),
        *[(f"unsound: {reason}", False) for reason in e.unsound],
        (
            f"{e.false_alarms:.3g} false alarms a car-week (hardly less than {e.false_alarms_low:.3g}), "
            f"at most {allowed:.3g}",
            e.false_alarms_low <= allowed,
        ),
        (
            f"{e.suspect_share:.0%} of the healthy cars are suspect, at most {SUSPECT_SHARE_MAX:.0%}",
            e.suspect_share <= SUSPECT_SHARE_MAX,
        ),
        (f"not better than max|z|: recall {_shown(e.over_max_abs_z)}", _better(e, e.over_max_abs_z.low)),
        (
            f"not better than Mahalanobis: recall {_shown(e.over_mahalanobis)}",
            _better(e, e.over_mahalanobis.mean),
        ),
    ]
    for other, gain in (("without its network", e.over_linear), ("than the champion", e.over_champion)):
        if gain is not None:
            word = "better" if gain is e.over_linear else "worse"
            checks.append((f"{word} {other}: recall {_shown(gain)}", gain.high >= -RECALL_TOLERANCE))
    return checks


def _better(e: Evidence, gain: float) -> bool:
    """A gain, or no loss where nearly every failure is foreseen and nothing can be better."""
    return gain > 0 or (e.recall >= 1 - RECALL_TOLERANCE and gain >= 0)


def _shown(gain: Difference) -> str:
    return f"{gain.mean:+.3f} (90 % of {gain.low:+.3f} to {gain.high:+.3f})"
