"""What the watcher shows: metrics, and the table of `trainer trial`."""

from collections.abc import Sequence

from contract.foresight import ALL, ForesightTally
from trainer.table import table
from trainer.watch import metrics
from trainer.watch.looks import PastLook
from trainer.watch.reader import Facts
from trainer.watch.verdict import Standing, Trial, Verdict

_VERDICTS = ("confirmed", "late", "false", "pending")


def measure(
    facts: Facts, looks: Sequence[PastLook], trial: Trial | None, verdict: Verdict | None, now_s: float
) -> None:
    """Set all gauges."""
    champion, challenger = facts.models.versions
    metrics.champion_version.set(champion or 0)
    metrics.challenger_version.set(challenger or 0)
    metrics.log_records.set(facts.models.decisions)
    metrics.trial_waits.set(bool(verdict and verdict.action == "hold"))
    if not looks and champion:
        metrics.evidence_age.set(max(0.0, now_s - facts.models.decided_ms / 1000))
    _measure_look(looks, now_s)
    for gauge in (metrics.trial_car_weeks, metrics.trial_openings, metrics.trial_unexplained):
        gauge.clear()
    for standing in (trial.champion, trial.challenger) if trial else ():
        metrics.trial_car_weeks.labels(standing.version).set(standing.car_weeks)
        metrics.trial_openings.labels(standing.version).set(standing.openings)
        metrics.trial_unexplained.labels(standing.version).set(standing.unexplained)
    for gauge in (metrics.precision, metrics.recall, metrics.lead, metrics.alerts):
        gauge.clear()
    for version, tally in tallies(facts, now_s).items():
        shares = ((metrics.precision, tally.precision), (metrics.recall, tally.recall))
        for gauge, value in (*shares, (metrics.lead, tally.median_lead_s)):
            if value is not None:
                gauge.labels(version).set(value)
        for name in _VERDICTS:
            metrics.alerts.labels(version, name).set(getattr(tally, name))


def tallies(facts: Facts, now_s: float) -> dict[int, ForesightTally]:
    """What the alerts of each model foresaw of the failures since it came, by version."""
    since_s = facts.models.since_s
    return {
        version: verdicts.tallies(now_s, since_s.get(version, 0.0))[ALL]
        for version, verdicts in facts.verdicts.items()
    }


def text(facts: Facts, trial: Trial, verdict: Verdict, budget: float, now_s: float) -> str:
    """The evidence of a trial as a table, and what would be decided, with its reasons."""
    judged = tallies(facts, now_s)
    rows = [
        _row(name, each, judged[each.version])
        for name, each in (("champion", trial.champion), ("challenger", trial.challenger))
    ]
    header = [
        "", "version", "car-weeks", "openings", "a car-week", "budget", "alone", "unwritten", "confirmed",
        "late", "false", "pending", "recall", "precision", "lead h", "cars", "learning", "strange",
    ]  # fmt: skip
    for row in rows:
        row.insert(5, budget)
    return "\n".join(
        [
            f"version {trial.challenger.version} is on trial, share {trial.share:g}"
            + (", held" if trial.held else ""),
            table(header, rows),
            *[f"drift: {drift.reason}" for drift in trial.drift],
            f"{verdict.action}:",
            *[f"  - {reason}" for reason in verdict.reasons],
        ]
    )


def _row(name: str, standing: Standing, tally: ForesightTally) -> list[object]:
    lead_h = None if tally.median_lead_s is None else tally.median_lead_s / 3600
    rate = standing.openings / standing.car_weeks if standing.car_weeks else None
    verdicts = [getattr(tally, each) for each in _VERDICTS]
    return [
        name, standing.version, standing.car_weeks, standing.openings, rate, standing.alone,
        standing.unwritten, *verdicts, tally.recall, tally.precision, lead_h, standing.cars,
        standing.learning, standing.strange,
    ]  # fmt: skip


def _measure_look(looks: Sequence[PastLook], now_s: float) -> None:
    if not looks:
        return
    last = looks[-1]
    look, judged = last.look, max(1, last.look.learned - last.look.strange)
    metrics.cars.set(look.cars)
    metrics.cars_learning.set(look.learning)
    metrics.cars_strange.set(look.strange)
    metrics.broken_share.set(look.broken)
    metrics.evidence_age.set(max(0.0, now_s - last.ended_ms / 1000))
    metrics.drifting.set(bool(last.drifts))
    for signal in look.signals:
        metrics.drift_share.labels(signal.name, "less").set(signal.far_below / judged)
        metrics.drift_share.labels(signal.name, "more").set(signal.far_above / judged)
