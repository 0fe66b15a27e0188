"""Plots: the machines with the highest levels over time, the signals of alarms, all scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from files.report import CONTRIBUTIONS, HISTOGRAM, SCORES
from files.scored import Alarm, Scored, striking

mpl.use("Agg")
_MACHINES_SHOWN, _ALARMS_SHOWN = 6, 12
_POINTS = 2_000  # per line: more would share pixels
_BINS = 80


def draw(scored: Scored, alarms: Sequence[Alarm], folder: Path) -> None:
    """Write the PNGs. Raises OSError."""
    figures = {SCORES: _scores(scored, alarms), HISTOGRAM: _histogram(scored)}
    if alarms:
        figures[CONTRIBUTIONS] = _contributions(scored, alarms)
    for name, figure in figures.items():
        figure.tight_layout()
        figure.savefig(folder / name, dpi=110)
        plt.close(figure)


def _scores(scored: Scored, alarms: Sequence[Alarm]) -> Any:
    shown = striking(scored, _MACHINES_SHOWN)
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(13, 1 + 2.2 * len(shown)), sharex=True, sharey=True, squeeze=False
    )
    for axis, machine in zip(axes[:, 0], shown, strict=True):
        rows = np.flatnonzero(scored.recording.machine == machine)
        at = _axis(scored, rows)
        warm = scored.warm[rows]
        axis.plot(
            *_thinned(at[warm], scored.level[rows][warm]), color="tab:blue", linewidth=0.8, label="level"
        )
        if (cold := rows[~warm]).size:
            axis.axvspan(*_axis(scored, cold[[0, -1]]), color="lightgrey", alpha=0.5, label="being learned")
        axis.axhline(scored.threshold, color="tab:red", linestyle="--", linewidth=0.8, label="threshold")
        name = scored.recording.machines[machine]
        for alarm in alarms:
            if alarm.machine == name:
                begin, end = _axis(scored, np.array([alarm.opened, alarm.closed]))
                axis.axvspan(begin, end, color="tab:red", alpha=0.15)
        learned = rows[scored.training[rows]]
        if 0 < len(learned) < len(rows):
            axis.axvline(
                _axis(scored, learned[-1:])[0], color="black", linestyle=":", label="end of training"
            )
        axis.set_title(name, fontsize=9, loc="left")
        axis.grid(visible=True, alpha=0.3)
    axes[0, 0].legend(loc="upper left", fontsize=8)
    axes[0, 0].set_yscale("symlog", linthresh=scored.threshold)
    axes[0, 0].set_ylim(bottom=0)
    if _is_calendar(scored):
        figure.autofmt_xdate()
    else:
        axes[-1, 0].set_xlabel("hours")
    return figure


def _contributions(scored: Scored, alarms: Sequence[Alarm]) -> Any:
    """The signals' shares at the peaks of the highest alarms."""
    highest = sorted(alarms, key=lambda alarm: -float(scored.level[alarm.peak]))[:_ALARMS_SHOWN]
    figure, axis = plt.subplots(figsize=(11, 1.5 + 0.45 * len(highest)))
    colors = plt.get_cmap("tab20")
    left = np.zeros(len(highest))
    share = np.stack([scored.shares[np.searchsorted(scored.explained, alarm.peak)] for alarm in highest])
    share = np.maximum(share, 0)
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-9)
    for signal, name in enumerate(scored.recording.columns):
        if share[:, signal].max() >= 0.01:
            axis.barh(range(len(highest)), share[:, signal], left=left, color=colors(signal % 20), label=name)
            left += share[:, signal]
    axis.set_yticks(
        range(len(highest)), [f"{a.machine}, {scored.when(a.opened)}" for a in highest], fontsize=8
    )
    axis.invert_yaxis()
    axis.set(xlabel="share of the score at the alarm's peak", xlim=(0, 1))
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8)
    return figure


def _histogram(scored: Scored) -> Any:
    figure, axis = plt.subplots(figsize=(9, 4))
    level = np.nan_to_num(scored.level, nan=0.0)
    reach = float(max(level[scored.warm].max(initial=0.0), 1.2 * scored.threshold))
    bins = np.geomspace(scored.threshold / 50, 1.05 * reach, _BINS)
    for chosen, label in ((scored.training, "training"), (~scored.training, "after")):
        values = level[chosen & scored.warm]
        if len(values):
            axis.hist(
                np.maximum(values, bins[0]), bins.tolist(), alpha=0.5, label=f"{label}: {len(values)} rows"
            )
    axis.axvline(scored.threshold, color="tab:red", linestyle="--", label=f"threshold {scored.threshold:.3g}")
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="smoothed score (machines past their learning period)",
        ylabel="rows",
    )
    axis.legend(fontsize=8)
    return figure


def _is_calendar(scored: Scored) -> bool:
    times = scored.recording.times
    return times is not None and times.kind != "plain seconds"


def _axis(scored: Scored, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Calendar times where the file has them, else hours since the first row."""
    recording, seconds = scored.recording, scored.recording.seconds
    if seconds is None:
        return np.asarray(recording.number[rows] * recording.interval_s / 3600)
    if _is_calendar(scored):
        return (seconds[rows] * 1e6).astype("datetime64[us]")
    return np.asarray((seconds[rows] - seconds.min()) / 3600)


def _thinned(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most _POINTS points, each the highest of its stretch, so that no peak is lost."""
    if len(x) <= _POINTS:
        return x, y
    size = -(-len(x) // _POINTS)
    whole = len(x) // size * size
    best = y[:whole].reshape(-1, size).argmax(axis=1) + np.arange(0, whole, size)
    return x[best], y[best]
