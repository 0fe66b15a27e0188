"""The gate: whether a candidate may be published, from measurements alone. Every reason is in words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from contract.manifest import TFLITE_BYTES_MAX
from trainer.judge import bounds
from trainer.judge.evaluate import Difference, Judgement
from trainer.judge.exam import Examined

PARITY_MAX = 1e-4
# The threshold is set on as many cars as it is checked on: both are uncertain by about a factor of two.
ALARM_TOLERANCE = 2.0
# If the test cars drove too little for even one allowed alert, the threshold is extrapolated: it is off by
# about a factor of three with 20 seconds of telemetry.
ALARM_TOLERANCE_EXTRAPOLATED = 10.0
SUSPECT_SHARE_MAX = 0.1
# A smaller loss of recall does not count, however surely it was measured.
RECALL_TOLERANCE = 0.01
# The exam's rows are of another time than the slice: a sound candidate may foresee a little less there.
EXAM_TOLERANCE = 0.05
# Of what it foresaw when it was published, a champion foresees at least this share in a sound slice; and of
# what a champion foresees in its exam, a candidate with its own threshold. Thresholds of two sound slices of
# 20 s were 7 % apart, which cost the same graph a quarter of its recall.
CHAMPION_SHARE_MIN = 0.5
FAILING_CARS_MIN = 20  # fewer do not tell that a champion fails


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
    exam: Examined | None = None  # None where the champion has none
    champion: Judgement | None = None  # in the slice
    champion_before: float | None = None  # its recall when it was published, for the same kind of labels
    failing_cars: int = 0  # in the slice
    outside: Mapping[str, float] = field(default_factory=dict)  # share of values out of bounds, by signal
    on_trial: bool = False  # it will first shadow the champion, and its trial judges small losses
    trusted: bool = False  # a person vouches for the slice: neither exam nor bounds refuse


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
    tolerated = EXAM_TOLERANCE if e.on_trial else RECALL_TOLERANCE
    for name, verdict, most in (
        ("linear", "better without its network", RECALL_TOLERANCE),
        ("champion", "worse than the champion", tolerated),
    ):
        if gain := e.gains.get(name):
            checks.append((f"{verdict}: recall {gain}", gain.high >= -most))
    return checks if e.trusted else checks + _exam_checks(e) + _slice_checks(e)


def _exam_checks(e: Evidence) -> list[tuple[str, bool]]:
    if e.exam is None:
        return []
    checks = [(f"worse than the champion in its exam: recall {e.exam.gain}", _holds(e.exam.gain))]
    if own := e.exam.served:
        champion = e.exam.champion
        allowed = max(
            e.budget * ALARM_TOLERANCE_EXTRAPOLATED, ALARM_TOLERANCE * champion.false_alarms_per_car_week
        )
        least = CHAMPION_SHARE_MIN * champion.recall
        checks += [
            (
                f"its threshold is too high: it foresees {own.recall:.0%} in the champion's exam, the "
                f"champion {champion.recall:.0%}",
                bool(np.quantile(own.recall_drawn, 0.95) >= least),
            ),
            (
                f"{own.false_alarms_per_car_week:.3g} false alarms a car-week in the champion's exam (hardly "
                f"less than {own.false_alarms_low:.3g}), at most {allowed:.3g}",
                own.false_alarms_low <= allowed,
            ),
        ]
    return checks


def _holds(gain: Difference) -> bool:
    """At most the tolerated loss, or one that may be chance: few failures."""
    return gain.mean >= -EXAM_TOLERANCE or gain.high >= 0


def _slice_checks(e: Evidence) -> list[tuple[str, bool]]:
    """Whether the slice is of the fleet that the champion knows, and of sound sensors."""
    wrong = {name: share for name, share in e.outside.items() if share > bounds.SHARE_MAX}
    named = ", ".join(f"{name} {share:.1%}" for name, share in wrong.items())
    checks = [(f"the slice is unsound: values outside of physical bounds: {named}", not wrong)]
    if e.champion and e.champion_before and e.failing_cars >= FAILING_CARS_MIN:
        least = CHAMPION_SHARE_MIN * e.champion_before
        known = np.quantile(e.champion.recall_drawn, 0.95) >= least
        checks.append(
            (
                f"the slice is unsound: the champion foresees {e.champion.recall:.0%} of its failures, when "
                f"it was published {e.champion_before:.0%}",
                bool(known),
            )
        )
    return checks


def _better(candidate: Judgement, gain: float) -> bool:
    """A gain, or no loss where nearly every failure is foreseen and nothing can be better."""
    return gain > 0 or (candidate.recall >= 1 - RECALL_TOLERANCE and gain >= 0)
