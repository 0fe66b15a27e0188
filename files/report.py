"""The results of a run, for people and for programs: tables, summary.json, and the scores of all rows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from files.scored import Alarm, Scored, striking
from files.table import Table
from trainer.table import table

SUMMARY, SCORES_CSV, SCORES_PARQUET = "summary.json", "scores.csv", "scores.parquet"
SCORES, CONTRIBUTIONS, HISTOGRAM = "scores.png", "contributions.png", "histogram.png"
FILES = frozenset({SUMMARY, SCORES_CSV, SCORES_PARQUET, SCORES, CONTRIBUTIONS, HISTOGRAM})
_ALARMS_SHOWN, _MACHINES_SHOWN = 20, 12
_ALARMS_KEPT = 10_000


def write_scores(scored: Scored, data: Table, time: str | None, folder: Path) -> Path:
    """Write one row per scored row, by machine and time, in the input's format (CSV or Parquet).

    `alarm` and `level` are empty while a machine is being learned; without a time column `time` counts the
    file's rows from 1. Returns the file's path. Raises OSError.
    """
    recording, cold = scored.recording, ~scored.warm
    tops: list[str | None] = [None] * len(recording.row)
    for row in scored.explained.tolist():
        tops[row] = signals_in_words(scored.signals_of(row))
    columns = {
        "time": data.texts[time].take(pa.array(recording.row)) if time else pa.array(recording.row + 1),
        "group": pa.array(recording.machines, pa.string()).take(pa.array(recording.machine)),
        "score": pa.array(_rounded(scored.score)),
        "level": pa.array(_rounded(scored.level), mask=cold),
        "alarm": pa.array(scored.alarm.astype(np.int8), mask=cold),
        "top_signals": pa.array(tops, pa.string()),
    }
    rows = pa.table(columns)
    path = folder / (SCORES_PARQUET if data.is_parquet else SCORES_CSV)
    (parquet.write_table if data.is_parquet else csv.write_csv)(rows, path)
    return path


def _rounded(values: Any) -> Any:
    """Rounded to the digits that float32 holds."""
    return np.round(np.asarray(values, np.float64), 5)


def signals_in_words(signals: Sequence[tuple[str, float]]) -> str:
    """Signals and shares as text: `bearing_temp 71 %, vibration 22 %`."""
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in signals)


def write_summary(scored: Scored, alarms: Sequence[Alarm], facts: Mapping[str, object], folder: Path) -> None:
    """Write summary.json: everything that the tables show, and up to 10 000 alarms. Raises OSError."""
    recording = scored.recording
    document = {
        **facts,
        "rows": len(recording.row),
        "machines": len(recording.machines),
        "machine_weeks": float(len(recording.row) * recording.interval_s / 3600) / 168,
        "interval_s": recording.interval_s,
        "signals": list(recording.columns),
        "notes": list(recording.notes),
        "threshold": scored.threshold,
        "rows_learning": int((~scored.warm).sum()),
        "rows_in_alarm": int(scored.alarm.sum()),
        "alarms_total": len(alarms),
        "alarms": [_alarm(scored, alarm) for alarm in alarms[:_ALARMS_KEPT]],
    }
    (folder / SUMMARY).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _alarm(scored: Scored, alarm: Alarm) -> dict[str, Any]:
    return {
        "machine": alarm.machine,
        "opened": scored.when(alarm.opened),
        "closed": None if alarm.still_open else scored.when(alarm.closed),
        "rows": alarm.closed - alarm.opened + 1,
        "peak": float(scored.level[alarm.peak]),
        "peak_over_threshold": float(scored.level[alarm.peak]) / scored.threshold,
        "signals": [{"name": name, "share": share} for name, share in scored.signals_of(alarm.peak)],
    }


def tables(scored: Scored, alarms: Sequence[Alarm], facts: Mapping[str, object]) -> str:
    """Facts and notes about the data, the machines with the highest levels, the first alarms."""
    lines = [(name.replace("_", " "), _fact(value)) for name, value in facts.items()]
    lines += [("note", note) for note in scored.recording.notes]
    shown = [table(("what", "value"), lines)]
    rows = [_machine(scored, alarms, machine) for machine in striking(scored, _MACHINES_SHOWN)]
    left = len(scored.recording.machines) - len(rows)
    header = ("machine", "rows", "learning", "highest level / threshold", "alarms")
    shown.append(table(header, rows) + (f"\nand {left} machines with lower levels" if left > 0 else ""))
    if not alarms:
        return "\n\n".join([*shown, "no alarms"])
    first = [
        (
            alarm.machine,
            scored.when(alarm.opened),
            "still open" if alarm.still_open else scored.when(alarm.closed),
            float(scored.level[alarm.peak]) / scored.threshold,
            signals_in_words(scored.signals_of(alarm.peak)),
        )
        for alarm in alarms[:_ALARMS_SHOWN]
    ]
    left = len(alarms) - len(first)
    shown.append(
        table(("machine", "alarm opened", "closed", "peak / threshold", "signals at the peak"), first)
        + (f"\nand {left} more in {SUMMARY}" if left > 0 else "")
    )
    return "\n\n".join(shown)


def _fact(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def _machine(scored: Scored, alarms: Sequence[Alarm], machine: int) -> tuple[object, ...]:
    rows = np.flatnonzero(scored.recording.machine == machine)
    warm = scored.warm[rows]
    peak = float(scored.level[rows][warm].max()) / scored.threshold if warm.any() else None
    name = scored.recording.machines[machine]
    return name, len(rows), int((~warm).sum()), peak, sum(alarm.machine == name for alarm in alarms)
