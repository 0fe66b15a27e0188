"""The scorecard as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from quality.metrics import BUDGETS
from quality.scorecard import Card, leads_of_kind
from quality.seed import Outcome

mpl.use("Agg")


def draw(outcomes: Sequence[Outcome], card: Card, folder: Path) -> None:
    """Write recall.png, leads.png and budgets.png."""
    figures = {"recall": _recall(card), "leads": _leads(outcomes, card), "budgets": _budgets(card)}
    for name, figure in figures.items():
        figure.tight_layout()
        figure.savefig(folder / f"{name}.png", dpi=110)
        plt.close(figure)


def _recall(card: Card) -> Any:
    """Recall per fault and detector; one row of axes per budget."""
    kinds, names = list(card["faults"]), list(card["detectors"])
    figure, rows = plt.subplots(len(BUDGETS), 1, figsize=(13, 8), sharex=True)
    width = 0.8 / len(names)
    for axes, budget in zip(rows, BUDGETS, strict=True):
        for i, name in enumerate(names):
            faults = card["detectors"][name]["per_fault"]
            heights = [faults[kind][f"recall_at_{budget:g}"] or 0 for kind in kinds]
            axes.bar(np.arange(len(kinds)) + i * width, heights, width, label=name)
        axes.set(
            ylabel="share of failures foreseen", ylim=(0, 1), title=f"{budget:g} false alarms per car-week"
        )
        axes.grid(visible=True, axis="y", alpha=0.3)
    rows[0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    rows[-1].set_xticks(np.arange(len(kinds)) + 0.4, kinds, rotation=20)
    return figure


def _leads(outcomes: Sequence[Outcome], card: Card) -> Any:
    """Lead times of the last detector in hours, per fault."""
    name, kinds = list(card["detectors"])[-1], list(card["faults"])
    figure, axes = plt.subplots(figsize=(11, 5))
    leads = [np.concatenate(leads_of_kind(outcomes, name, BUDGETS[0], kind)) for kind in kinds]
    axes.boxplot([lead[~np.isnan(lead)] for lead in leads], whis=(10, 90), showfliers=False)
    axes.set_xticks(np.arange(len(kinds)) + 1, kinds, rotation=20)
    axes.set(
        ylabel="hours of driving",
        title=f"{name}: from the alert to the failure (box: quartiles, whiskers: 10 to 90 %)",
    )
    axes.grid(visible=True, axis="y", alpha=0.3)
    return figure


def _budgets(card: Card) -> Any:
    """Recall over the budget of false alarms."""
    figure, axes = plt.subplots(figsize=(9, 6))
    for name, row in card["detectors"].items():
        curve = row["recall_over_budget"]
        axes.plot([float(budget) for budget in curve], list(curve.values()), marker="o", label=name)
    axes.set(
        xscale="log", xlabel="false alarms per car-week", ylabel="share of failures foreseen", ylim=(0, 1)
    )
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    return figure
