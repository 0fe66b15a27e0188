"""The evidence of a trial, gathered from what was read."""

from datetime import UTC, datetime

from contract.foresight import JudgedAlert, ReportedFailure, kind
from contract.manifest import Manifest
from trainer.watch.looks import recent
from trainer.watch.reader import Facts
from trainer.watch.settings import Settings
from trainer.watch.verdict import Trial

_EXPLAINED = ("confirmed", "late")
_Failure = tuple[str, str, int]  # (car, component, ms since 1970)


def trial_of(facts: Facts, settings: Settings, now_s: float) -> Trial | None:
    """The evidence at `now_s`; None where no trial goes on beside a champion."""
    champion, challenger = facts.models.champion, facts.models.challenger
    if champion is None or challenger is None or challenger.decision.share is None:
        return None
    counts, began_s = facts.counts, facts.models.began_ms / 1000
    verdicts, verdicts_too = facts.verdicts[champion.version], facts.verdicts[challenger.version]
    alerts, alerts_too = verdicts.alerts(now_s), verdicts_too.alerts(now_s)
    moved_s = _drift_began_s(challenger) or began_s - settings.cool_down_s
    drift = recent(facts.looks.over())
    signals = {each.signal for each in drift if each.signal}  # an alert of another signal has another cause
    moved = [each for each in alerts if each.told_s >= moved_s and (not signals or each.signal in signals)]
    found = {alert.car_id for alert in moved if alert.verdict in _EXPLAINED}
    nothing_found = {alert.car_id for alert in moved if alert.inspected} - found
    on_trial = [alert for alert in alerts if facts.models.on_trial(alert.car_id)]
    explained = _explained(alerts, began_s)
    standing = counts.champion.standing(
        champion.version, interval_s(champion), explained, explained - _explained(on_trial, began_s)
    )
    foreseen = _foreseen(on_trial, counts.both_judge_since_ms)
    return Trial(
        champion=standing,
        challenger=counts.challenger.standing(
            challenger.version, interval_s(challenger), _explained(alerts_too, began_s)
        ),
        share=challenger.decision.share,
        held=challenger.decision.held,
        began_ms=facts.models.began_ms,
        learning_times=_learning_times(facts, champion, standing.cars),
        foreseen=len(foreseen),
        foreseen_too=len(
            foreseen & {_key(each) for each in verdicts_too.failures(0) if each.lead_s is not None}
        ),
        drift=drift,
        moved=len({alert.car_id for alert in moved}),
        found=len(found),
        nothing_found=len(nothing_found),
    )


def interval_s(manifest: Manifest) -> float:
    """The time between two samples of a car; 0 for a graph without state, which no evidence is counted of."""
    return manifest.state.sample_interval_s if manifest.state else 0.0


def _drift_began_s(challenger: Manifest) -> float:
    """From when on the challenger learned, which is when the drift began for which it was trained, or 0.

    Without it a drift that had lasted for longer than the cool-down would have started a training before.
    """
    try:
        began = datetime.fromisoformat(challenger.metrics.get("training", {}).get("from", ""))
        return (began if began.tzinfo else began.replace(tzinfo=UTC)).timestamp()
    except ValueError:  # none, or offsets that a person gave
        return 0.0


def _explained(alerts: list[JudgedAlert], began_s: float) -> int:
    return sum(alert.verdict in _EXPLAINED and alert.told_s >= began_s for alert in alerts)


def _foreseen(alerts: list[JudgedAlert], since_ms: int | None) -> set[_Failure]:
    """The failures that the champion foresaw by an alert from when both models judged the cars.

    Only where the alert named what failed: of a champion that alarms on many cars some fail by chance.
    """
    return {
        (each.car_id, each.failed, round(1000 * (each.told_s + each.lead_s)))
        for each in alerts
        if since_ms is not None and each.lead_s is not None and each.verdict == "confirmed"
        if each.told_s >= since_ms / 1000 and kind(each.component) == kind(each.failed)
    }


def _key(failure: ReportedFailure) -> _Failure:
    return (failure.car_id, failure.component, round(1000 * failure.failed_s))


def _learning_times(facts: Facts, champion: Manifest, cars: int) -> float:
    """How often a car has driven for the time that the models learn, on average since the trial began."""
    state = champion.state
    return facts.counts.champion.judged / (cars * state.learning_samples) if state and cars else 0.0
