"""The scorecard: the figures of all fleets as one document, scorecard.json.

Recall and AUROC over all faults are means over the seeds; `spread` is their standard deviation between seeds.
Figures of one kind of fault, and recall during a change, are computed from the failures of all seeds
together, since one seed has few. Beside the latter stands the recall of the same failures without the change.
"""

import json
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quality import metrics
from quality.detectors import STATELESS
from quality.ground import Failure, Ground, severities
from quality.metrics import BUDGETS, CURVE
from quality.seed import Answers, Outcome
from quality.settings import CHANGES, PARTS, Settings

Card = Mapping[str, Any]


def document(settings: Settings, outcomes: Sequence[Outcome], argv: Sequence[str]) -> dict[str, Any]:
    """The document, ready for JSON. `argv` are the command's arguments."""
    grounds = [Ground(settings, outcome.seed, Path()) for outcome in outcomes]
    return {
        "command": shlex.join(["python", "-m", "quality", *argv]),
        "date": time.strftime("%Y-%m-%d"),
        "seeds": [outcome.seed for outcome in outcomes],
        "fleet": {
            "hours": settings.hours,
            "learning_h": settings.learning_h,
            "interval_s": settings.interval_s,
            "memory_h": settings.memory_h,
            "cars": {part: settings.cars(part) for part in PARTS},
        },
        "faults": _faults(outcomes),
        "failures_in_changes": {
            change: sum(len(outcome.failures_in[change]) for outcome in outcomes) for change in CHANGES
        },
        "severities": severities([ground.fleet("faulty").plan for ground in grounds]),
        "detectors": {name: _detector(outcomes, name) for name in outcomes[0].answers},
        "spoilt": {name: _spoilt(outcomes, name) for name in outcomes[0].spoilt},
    }


def write(card: Card, folder: Path) -> None:
    """Write scorecard.json into the folder."""
    text = json.dumps(_plain(card), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "scorecard.json").write_text(text + "\n", encoding="utf-8")


def _faults(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Number of failures of each kind, and hours from onset to failure."""
    faults = {}
    for kind in _kinds(outcomes):
        hours = [f.growth_h for outcome in outcomes for f in outcome.failures if f.kind == kind]
        low, median, high = np.quantile(hours, [0.1, 0.5, 0.9])
        faults[kind] = {"failures": len(hours), "growth_h": {"p10": low, "median": median, "p90": high}}
    return faults


def _kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return sorted({failure.kind for outcome in outcomes for failure in outcome.failures})


def _detector(outcomes: Sequence[Outcome], name: str) -> dict[str, Any]:
    answers = [outcome.answers[name] for outcome in outcomes]
    seeds = {f"recall_at_{budget:g}": _recalls(answers, budget) for budget in BUDGETS}
    rule = "smoothed" if name in STATELESS else "single"
    seeds[f"recall_at_0.1_by_{rule}_scores"] = [
        metrics.summary(a.otherwise.lead_h)["recall"] for a in answers
    ]
    seeds["auroc"] = [answer.auroc for answer in answers]
    seeds["median_lead_h"] = [metrics.summary(a.at(BUDGETS[0]).lead_h)["median_lead_h"] for a in answers]
    seeds |= _false_alarms(answers, "healthy")
    return {
        **{key: _mean(values) for key, values in seeds.items()},
        "spread": {key: _spread(values) for key, values in seeds.items()},
        "of_seeds": seeds,
        "component_named": _named(outcomes, name),
        "named": metrics.confusion(_components(outcomes, name)),
        "per_fault": {kind: _per_fault(outcomes, name, kind) for kind in _kinds(outcomes)},
        "recall_over_budget": {f"{budget:g}": _mean(_recalls(answers, budget)) for budget in CURVE},
        "during_changes": {
            change: {key: _mean(values) for key, values in _false_alarms(answers, change).items()}
            | _recalls_in(outcomes, name, change)
            for change in CHANGES
        },
        "seconds": _mean([answer.seconds for answer in answers]),
    }


def _spoilt(outcomes: Sequence[Outcome], name: str) -> dict[str, Any]:
    """The figures of a detector that also learned from faulty cars."""
    answers = [outcome.spoilt[name] for outcome in outcomes]
    seeds = {f"recall_at_{budget:g}": _recalls(answers, budget) for budget in BUDGETS}
    return {key: _mean(values) for key, values in (seeds | _false_alarms(answers, "healthy")).items()}


def _false_alarms(answers: Sequence[Answers], part: str) -> dict[str, list[float | None]]:
    """At each budget those of all seeds."""
    return {
        f"false_alarms_at_{budget:g}": [
            answer.at(budget).false_alarms_per_car_week[part] for answer in answers
        ]
        for budget in BUDGETS
    }


def _recalls(answers: Iterable[Answers], budget: float) -> list[float | None]:
    return [metrics.summary(answer.at(budget).lead_h)["recall"] for answer in answers]


def _recalls_in(outcomes: Sequence[Outcome], name: str, change: str) -> dict[str, float | None]:
    """Recall of the failures during or after a change, and of the same failures without it."""
    recalls = {}
    for budget in BUDGETS:
        foresights = [(outcome.answers[name].at(budget), outcome.failures_in[change]) for outcome in outcomes]
        during = np.concatenate([foresight.lead_h_in[change] for foresight, _ in foresights])
        without = np.concatenate([foresight.lead_h[chosen] for foresight, chosen in foresights])
        recalls[f"recall_at_{budget:g}"] = metrics.summary(during)["recall"]
        recalls[f"recall_without_at_{budget:g}"] = metrics.summary(without)["recall"]
    return recalls


def _per_fault(outcomes: Sequence[Outcome], name: str, kind: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for budget in BUDGETS:
        by_seed = leads_of_kind(outcomes, name, budget, kind)
        summary = metrics.summary(np.concatenate(by_seed))
        row[f"recall_at_{budget:g}"] = summary["recall"]
        if budget == BUDGETS[0]:
            row |= {key: summary[key] for key in ("median_lead_h", "p10_lead_h")}
            row["spread"] = _spread([metrics.summary(leads)["recall"] for leads in by_seed])
    aurocs = [outcome.answers[name].auroc_per_fault.get(kind) for outcome in outcomes]
    return row | {"auroc": _mean(aurocs), "component_named": _named(outcomes, name, kind)}


def leads_of_kind(
    outcomes: Sequence[Outcome], name: str, budget: float, kind: str
) -> list[NDArray[np.float64]]:
    """For each seed, the lead times in hours of a detector before the failures of one kind."""
    return [o.answers[name].at(budget).lead_h[[f.kind == kind for f in o.failures]] for o in outcomes]


def _named(outcomes: Sequence[Outcome], name: str, kind: str | None = None) -> float | None:
    """The share of the foreseen failures whose alert named the component that then failed."""
    pairs = [pair for pair in _components(outcomes, name) if kind in (None, pair[0].kind)]
    return _mean([float(named == failure.component) for failure, named in pairs if named is not None])


def _components(outcomes: Sequence[Outcome], name: str) -> list[tuple[Failure, str | None]]:
    """All failures, each with the component that its first alert named."""
    pairs: list[tuple[Failure, str | None]] = []
    for outcome in outcomes:
        pairs += zip(outcome.failures, outcome.answers[name].named, strict=True)
    return pairs


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and np.isfinite(value)]


def _mean(values: Iterable[float | None]) -> float | None:
    finite = _finite(values)
    return float(np.mean(finite)) if finite else None


def _spread(values: Iterable[float | None]) -> float | None:
    """Standard deviation between seeds; None with fewer than two."""
    finite = _finite(values)
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else None


def _plain(value: Any) -> Any:
    """The document for JSON: figures rounded to four digits, null for what is not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return value
