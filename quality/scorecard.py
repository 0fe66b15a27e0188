"""The scorecard: the figures of all fleets in one document, as they stand in scorecard.json.

Recall and AUROC over all faults are means over the seeds, `spread` their standard deviation between seeds.
Figures of a single kind of fault are of the failures of all seeds together: one seed has few of each.
"""

import json
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quality import hypotheses, metrics
from quality.detectors import STATELESS
from quality.ground import Ground
from quality.metrics import BUDGETS, CURVE
from quality.seed import Answers, Outcome
from quality.settings import CHANGES, PARTS, Settings
from quality.truth import Failure
from simulator.faults import severities

Card = Mapping[str, Any]


def drawn_up(told: Settings, outcomes: Sequence[Outcome], argv: Sequence[str]) -> dict[str, Any]:
    """The document. `argv`: what the command was told."""
    return {
        "command": shlex.join(["python", "-m", "quality", *argv]),
        "date": time.strftime("%Y-%m-%d"),
        "seeds": [outcome.seed for outcome in outcomes],
        "fleet": {
            "hours": told.hours,
            "learning_h": told.learning_h,
            "interval_s": told.interval_s,
            "memory_h": told.memory_h,
            "cars": {part: told.cars(part) for part in PARTS},
        },
        "faults": _faults(outcomes),
        "severities": _severities(told, outcomes),
        "detectors": {name: _detector(outcomes, name) for name in outcomes[0].answers},
        "spoilt": {name: _spoilt(outcomes, name) for name in outcomes[0].spoilt},
    }


def write(card: Card, folder: Path) -> None:
    """Into scorecard.json."""
    text = json.dumps(_plain(card), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "scorecard.json").write_text(text + "\n", encoding="utf-8")


def _faults(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What failed, and how fast: hours from onset to failure."""
    found = {}
    for kind in _kinds(outcomes):
        hours = [f.growth_h for outcome in outcomes for f in outcome.failures if f.kind == kind]
        low, median, high = np.quantile(hours, [0.1, 0.5, 0.9])
        found[kind] = {"failures": len(hours), "growth_h": {"p10": low, "median": median, "p90": high}}
    return found


def _severities(told: Settings, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """How large and how fast the faults of all test cars are, also those that nobody is asked about."""
    grounds = [Ground(told, outcome.seed, Path()) for outcome in outcomes]
    return severities([ground.fleet("faulty").plan for ground in grounds])


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
    for budget in BUDGETS:
        seeds[f"false_alarms_at_{budget:g}"] = _false_alarms(answers, budget, "healthy")
    return {
        **{key: _mean(values) for key, values in seeds.items()},
        "spread": {key: _spread(values) for key, values in seeds.items()},
        "of_seeds": seeds,
        "component_named": _named(outcomes, name),
        "named": hypotheses.confusion(_said(outcomes, name)),
        "per_fault": {kind: _per_fault(outcomes, name, kind) for kind in _kinds(outcomes)},
        "recall_over_budget": {f"{budget:g}": _mean(_recalls(answers, budget)) for budget in CURVE},
        "during_changes": {
            change: {f"false_alarms_at_{b:g}": _mean(_false_alarms(answers, b, change)) for b in BUDGETS}
            for change in CHANGES
        },
        "seconds": _mean([answer.seconds for answer in answers]),
    }


def _spoilt(outcomes: Sequence[Outcome], name: str) -> dict[str, Any]:
    """What becomes of a detector that learns from faulty cars as well, beside what it was without them."""
    answers = [outcome.spoilt[name] for outcome in outcomes]
    row = {f"recall_at_{budget:g}": _mean(_recalls(answers, budget)) for budget in BUDGETS}
    return row | {f"false_alarms_at_{b:g}": _mean(_false_alarms(answers, b, "healthy")) for b in BUDGETS}


def _false_alarms(answers: Iterable[Answers], budget: float, part: str) -> list[float | None]:
    return [answer.at(budget).false_alarms_per_car_week[part] for answer in answers]


def _recalls(answers: Iterable[Answers], budget: float) -> list[float | None]:
    return [metrics.summary(answer.at(budget).lead_h)["recall"] for answer in answers]


def _per_fault(outcomes: Sequence[Outcome], name: str, kind: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for budget in BUDGETS:
        by_seed = [
            outcome.answers[name].at(budget).lead_h[[f.kind == kind for f in outcome.failures]]
            for outcome in outcomes
        ]
        found = metrics.summary(np.concatenate(by_seed))
        row[f"recall_at_{budget:g}"] = found["recall"]
        if budget == BUDGETS[0]:
            row |= {key: found[key] for key in ("median_lead_h", "p10_lead_h")}
            row["spread"] = _spread([metrics.summary(leads)["recall"] for leads in by_seed])
    aurocs = [outcome.answers[name].auroc_per_fault.get(kind) for outcome in outcomes]
    return row | {"auroc": _mean(aurocs), "component_named": _named(outcomes, name, kind)}


def _named(outcomes: Sequence[Outcome], name: str, kind: str | None = None) -> float | None:
    """The share of the foreseen failures whose alert named the component that then failed."""
    said = [(failure, named) for failure, named in _said(outcomes, name) if kind in (None, failure.kind)]
    return _mean([float(named == failure.component) for failure, named in said if named is not None])


def _said(outcomes: Sequence[Outcome], name: str) -> list[tuple[Failure, str | None]]:
    """All failures, with what the alert that foresaw one named."""
    found: list[tuple[Failure, str | None]] = []
    for outcome in outcomes:
        found += zip(outcome.failures, outcome.answers[name].named or (), strict=False)
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(there)) if there else None


def _spread(values: Iterable[float | None]) -> float | None:
    """Standard deviation between seeds; None with fewer than two."""
    there = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.std(there, ddof=1)) if len(there) > 1 else None


def _plain(value: Any) -> Any:
    """For JSON, figures rounded to what they are worth."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return value
