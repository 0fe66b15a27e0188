"""What to do about a trial: a pure function of its evidence, with its reasons in words.

- withdraw: the challenger raises surely more alerts than allowed, alone, or does not judge cars that the
  champion judges. This holds at any share, so it is also the roll-back of a model that scores all cars.
- promote: enough driving was judged, and nothing speaks against it.
- hold: as promote, but the champion's cars have moved and nobody has looked whether they are faulty.
- wait: more driving, or more cars learned, or a person.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from contract.evidence import AT_THRESHOLD, LEVELS
from trainer.watch.drift import Drift

Action = Literal["wait", "promote", "withdraw", "hold"]

_SURE = 0.05  # a one-sided error that makes "surely"
_OVER = 2.0  # times the budget: as much is tolerated, as by the gate (judge/gate.py)
_OPENINGS_MIN = 5  # fewer may be one bad hour, whatever the bound says
# Cars that the challenger may not judge, beyond those of the champion: some drive too rarely to be learned.
_SILENT_SHARE, _CHANCE = 0.01, 3.0
# A car that has driven for as many learning times is learned, or is known to be of a strange kind.
_STRANGE_AFTER = 2.0
_MISSED_SHARE_MAX = 0.05  # of the failures that the champion foresaw; one of a few is chance
# Beyond it a fault would have to show more than twice as strongly as in the exam that the model has passed.
_MULTIPLE_MAX = 2.0
_INSPECTED_MIN, _NOTHING_FOUND_MIN = 3, 0.8
_ANNOUNCED = {
    "strange",
    "unlearned",
}  # changes that the cars tell themselves: a new vehicle model, a firmware


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One model in the trial: counts of the trial's time, and how its cars stood at the end."""

    version: int
    car_weeks: float  # of driving that it judged
    crossings: tuple[int, ...]  # one for each of LEVELS
    alone: int = 0  # openings while the other model had no alert of the car open
    unwritten: int = 0  # openings without an alert record
    explained: int = 0  # alerts with a failure that was reported, in time or late
    explained_elsewhere: int = 0  # of these: of cars that are not on trial
    cars: int = 0
    learning: int = 0
    strange: int = 0

    @property
    def openings(self) -> int:
        """Alerts that it opened, or would have."""
        return self.crossings[AT_THRESHOLD]

    @property
    def unexplained(self) -> int:
        """Openings that no report explains (yet)."""
        return max(0, self.openings - self.explained)

    @property
    def apart(self) -> int:
        """Openings, less the explained ones, while the other model had no alert of the car open.

        At the beginning of a trial the challenger opens what the champion has open.
        """
        return max(0, self.alone - (self.explained - self.explained_elsewhere))

    @property
    def silent(self) -> int:
        """Cars that it does not judge."""
        return self.learning + self.strange


@dataclass(frozen=True, kw_only=True)
class Trial:
    """All that is known of a trial."""

    champion: Standing
    challenger: Standing
    share: float
    held: bool = False  # a person has said that only a person promotes
    began_ms: int = 0  # since 1970
    learning_times: float = 0.0  # how often a car on average has driven for the time that the models learn
    foreseen: int = 0  # reported failures that the champion foresaw while both models judged
    foreseen_too: int = 0  # of these, by the challenger
    drift: tuple[Drift, ...] = ()  # of the champion
    moved: int = 0  # cars with an alert of the champion by a signal that moved, since that may have begun
    found: int = 0  # of these: a workshop has reported a failure
    nothing_found: int = 0  # or an inspection without a finding

    def as_dict(self) -> dict[str, Any]:
        """The evidence for a decision in `models.log`."""
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int | float)}
        standings = {"champion": vars(self.champion), "challenger": vars(self.challenger)}
        return numbers | standings | {"drift": [each.reason for each in self.drift]}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a person has set."""

    budget: float  # false alarms a car-week
    car_weeks_min: float
    by_evidence: bool = True  # False: only a person promotes


@dataclass(frozen=True)
class Verdict:
    """What to do, and why."""

    action: Action
    reasons: tuple[str, ...]
    multiple: float = 1.0  # of its threshold, with which the challenger is promoted


def judge(trial: Trial, rules: Rules) -> Verdict:
    """The verdict on a trial."""
    if bad := tuple(_against(trial, rules)):
        return Verdict("withdraw", bad)
    if missing := tuple(_missing(trial, rules)):
        return Verdict("wait", missing)
    multiple = threshold_multiple(trial.challenger, rules.budget)
    good = tuple(_for(trial, rules, multiple))
    if trial.held or not rules.by_evidence:
        who = "it is held" if trial.held else "--promote by-hand"
        return Verdict("wait", (f"only a person promotes it: {who}", *good))
    if suspicion := _suspicion(trial):
        return Verdict("hold", suspicion)
    return Verdict("promote", good, multiple)


def surely_over(count: int, allowed: float) -> bool:
    """Whether a count is more than chance makes of `allowed` on average: P(N >= count) < 5 %, N Poisson.

    Fewer than five are never surely over.
    """
    if count < _OPENINGS_MIN or count <= allowed:
        return False
    if allowed <= 0:
        return True
    term = math.exp(count * math.log(allowed) - allowed - math.lgamma(count + 1))
    tail, above = 0.0, count
    while term > 1e-12 * (tail + 1e-300):
        tail += term
        above += 1
        term *= allowed / above
    return tail < _SURE


def surely_more(own: Standing, control: Standing) -> bool:
    """Whether a model has more openings apart from the control's than chance makes of the control's rate.

    They are counted of cars that both judge, so by chance half of them fall to each: McNemar's exact test.
    """
    count, every = own.apart, own.apart + control.apart
    if 2 * count <= every:
        return False
    choose = math.lgamma(every + 1) - math.lgamma(count + 1) - math.lgamma(every - count + 1)
    term = math.exp(choose - every * math.log(2))
    tail = 0.0
    for number in range(count, every + 1):
        tail += term
        term *= (every - number) / (number + 1)
    return tail < _SURE


def threshold_multiple(standing: Standing, budget: float) -> float:
    """The smallest level from 1 at which the crossings apart from the champion's are within the budget.

    Crossings do not tell which of them these are, so at each level their share counts as that at the
    threshold. What the champion has open, too, is a fault of the fleet sooner than a threshold that is too
    low. The level stays below the first with fewer crossings than explained alerts, where some are lost.
    """
    best, apart = AT_THRESHOLD, standing.apart / max(1, standing.openings)
    for number in range(AT_THRESHOLD, len(LEVELS)):
        crossings = standing.crossings[number]
        if LEVELS[number] > _MULTIPLE_MAX or crossings < min(standing.explained, standing.openings):
            break
        best = number
        if apart * crossings <= budget * standing.car_weeks:
            break
    return float(LEVELS[best])


def silent_tolerated(silent: int, cars: int, on_trial: int) -> float:
    """How many of the cars on trial a challenger may leave unjudged where the champion does so of all cars.

    As many in proportion and a few more, and what chance adds: three standard deviations of a draw without
    replacement, which is nothing where all cars are on trial.
    """
    drawn = min(1.0, on_trial / cars) if cars else 1.0
    expected = drawn * silent
    chance = math.sqrt(expected * (1 - drawn) * (1 - silent / max(1, silent, cars)))
    return expected + _CHANCE * chance + _SILENT_SHARE * on_trial


def _against(trial: Trial, rules: Rules) -> Iterator[str]:
    own, control = trial.challenger, trial.champion
    allowed = _OVER * rules.budget * own.car_weeks
    worse = surely_over(own.apart, allowed)
    control_too = surely_over(control.unexplained, _OVER * rules.budget * control.car_weeks)
    if worse and surely_over(own.unexplained, allowed) and not control_too:
        yield f"{_alerts(own)}, surely more than the {allowed:.1f} that are tolerated; {_alerts(control)}"
    known = own.strange <= silent_tolerated(control.strange, control.cars, own.cars)
    if trial.learning_times >= _STRANGE_AFTER and not known:
        yield (
            f"{own.strange} of {own.cars} cars on trial are of a kind that it does not know, "
            f"{control.strange} of {control.cars} to the champion"
        )


def _missing(trial: Trial, rules: Rules) -> Iterator[str]:
    own, control = trial.challenger, trial.champion
    if own.car_weeks < rules.car_weeks_min:
        yield f"{own.car_weeks:.3g} car-weeks judged, at least {rules.car_weeks_min:.3g} are needed"
    if not own.cars:
        yield "no scorer has counted for it yet"
    elif own.silent > silent_tolerated(control.silent, control.cars, own.cars):
        yield (
            f"{own.silent} of {own.cars} cars on trial are not judged by it yet, {control.silent} of "
            f"{control.cars} by the champion"
        )
    allowed = _OVER * rules.budget * own.car_weeks
    # Where the champion raises as many, it is the fleet: faults that are still to come, or a bad week.
    if surely_over(own.apart, allowed) and surely_more(own, control):
        yield (
            f"{own.apart} alerts of version {own.version} alone, surely more than the {allowed:.1f} that are "
            f"tolerated, and than the {control.apart} of version {control.version} alone"
        )
    if trial.foreseen - trial.foreseen_too > max(1, _MISSED_SHARE_MAX * trial.foreseen):
        yield f"of {trial.foreseen} failures that the champion foresaw it foresaw {trial.foreseen_too}"


def _for(trial: Trial, rules: Rules, multiple: float) -> Iterator[str]:
    own = trial.challenger
    yield f"{own.car_weeks:.3g} car-weeks judged"
    yield f"{_alerts(own)}, tolerated are {_OVER * rules.budget * own.car_weeks:.1f}"
    yield f"of {trial.foreseen} failures that the champion foresaw it foresaw {trial.foreseen_too}"
    if multiple > 1:
        yield f"its threshold is multiplied by {multiple:.2f}, to keep to the budget"


def _suspicion(trial: Trial) -> tuple[str, ...]:
    """Why the change may be one of many faults; empty where somebody has looked, or the cars tell it."""
    if all(drift.kind in _ANNOUNCED for drift in trial.drift):
        return ()
    looked = trial.found + trial.nothing_found
    if looked >= _INSPECTED_MIN and trial.nothing_found >= _NOTHING_FOUND_MIN * looked:
        return ()
    return (
        "the champion's cars have changed: " + "; ".join(drift.reason for drift in trial.drift),
        "an epidemic of one bad part looks the same, and the challenger takes it for normal",
        f"{looked} of {trial.moved} cars with an alert were looked at, {trial.nothing_found} without a "
        f"finding; {_INSPECTED_MIN} are needed, {_NOTHING_FOUND_MIN:.0%} of them without one",
    )


def _alerts(standing: Standing) -> str:
    rate = standing.unexplained / standing.car_weeks if standing.car_weeks else 0.0
    return (
        f"{standing.unexplained} alerts of version {standing.version} that no report explains "
        f"({rate:.3g} a car-week)"
    )
