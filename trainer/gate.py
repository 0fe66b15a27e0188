"""The gate: whether a candidate may be published, from measurements alone. Pure; every reason is in words."""

import math
from dataclasses import dataclass

from contract.manifest import TFLITE_BYTES_MAX
from trainer.evaluate import Difference

PARITY_MAX = 1e-4
# The threshold comes from as many cars as the check: both are uncertain by about a factor of two.
ALARM_TOLERANCE = 2.0
SUSPECT_SHARE_MAX = 0.1
# A loss smaller than this is none, however surely it was measured.
RECALL_TOLERANCE = 0.01


@dataclass(frozen=True)
class Evidence:
    """What was measured of a candidate.

    `parity`: largest difference between TFLite's and Keras's score, relative to max(1, score).
    `unsound`: what the separate process found. `alarm_share_low`: what the share of false alarms hardly
    falls below; `alarm_share_budget`: what was asked for. The rest: recall minus that of others.
    """

    tflite_bytes: int
    finite: bool
    parity: float
    unsound: tuple[str, ...]
    threshold: float
    alarm_share: float
    alarm_share_low: float
    alarm_share_budget: float
    suspect_share: float
    over_max_abs_z: Difference
    over_mahalanobis: Difference
    over_champion: Difference | None


def reasons(evidence: Evidence) -> list[str]:
    """Why the candidate must not be published; empty: it may. What is not a number never passes."""
    return [reason for reason, passed in _checks(evidence) if not passed]


def _checks(e: Evidence) -> list[tuple[str, bool]]:
    allowed = ALARM_TOLERANCE * e.alarm_share_budget
    checks = [
        (f"{e.tflite_bytes} bytes, at most {TFLITE_BYTES_MAX}", 0 < e.tflite_bytes <= TFLITE_BYTES_MAX),
        ("weights or scores that are not finite", e.finite and math.isfinite(e.threshold)),
        (f"TFLite differs from Keras by {e.parity:.2g}, at most {PARITY_MAX:.2g}", e.parity <= PARITY_MAX),
        *[(f"unsound: {reason}", False) for reason in e.unsound],
        (
            f"false alarms on {e.alarm_share:.2%} of healthy samples (hardly less than "
            f"{e.alarm_share_low:.2%}), at most {allowed:.2%}",
            e.alarm_share_low <= allowed,
        ),
        (
            f"{e.suspect_share:.0%} of the healthy cars are suspect, at most {SUSPECT_SHARE_MAX:.0%}",
            e.suspect_share <= SUSPECT_SHARE_MAX,
        ),
        (f"not better than max|z|: recall {_shown(e.over_max_abs_z)}", e.over_max_abs_z.low > 0),
        (
            f"worse than Mahalanobis: recall {_shown(e.over_mahalanobis)}",
            e.over_mahalanobis.high >= -RECALL_TOLERANCE,
        ),
    ]
    if e.over_champion is not None:
        shown = _shown(e.over_champion)
        checks.append((f"worse than the champion: recall {shown}", e.over_champion.high >= -RECALL_TOLERANCE))
    return checks


def _shown(gain: Difference) -> str:
    return f"{gain.mean:+.3f} (90 % of {gain.low:+.3f} to {gain.high:+.3f})"
