"""A recording judged by a model: machines go on from where they were seen last; the results into a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from files import folder, passage, plots, report
from files.errors import BadData
from files.folder import FileManifest, States
from files.passage import Passage, Seen
from files.recording import Recording
from files.scored import Scored, alarms
from files.table import Say, Table
from files.times import Times
from trainer.model.interpreter import Interpreter

RESULTS = frozenset(
    {folder.MANIFEST, folder.MODEL, folder.STATES, report.SUMMARY, report.SCORES_CSV, report.SCORES_PARQUET}
    | {plots.SCORES, plots.CONTRIBUTIONS, plots.HISTOGRAM}
)


def begin(found: Recording, known: States | None, state_width: int) -> tuple[Seen, list[str]]:
    """What is known of the recording's machines before its first row, and what to tell of it.

    A machine goes on from its last state where all its rows are later than that. Else it is new: it cannot be
    two places in its life at once. Raises BadData for states of another model.
    """
    seen = Seen.new(len(found.machines), state_width)
    if known is None:
        return seen, []
    if known.state.shape[1] != state_width:
        raise BadData(
            f"{folder.STATES} has states of {known.state.shape[1]} columns, the model {state_width}"
        )
    place = {name: number for number, name in enumerate(known.machines)}
    old = np.array([place.get(name, -1) for name in found.machines])
    first = None if found.seconds is None else found.seconds[np.cumsum(found.counts) - found.counts]
    earlier = np.zeros(len(old), bool) if first is None else (old >= 0) & ~(first > known.seconds[old])
    goes_on = (old >= 0) & ~earlier
    for name in ("state", "level", "is_open"):
        getattr(seen, name)[goes_on] = getattr(known, name)[old[goes_on]]
    notes = [f"{goes_on.sum()} machines go on from where the model has seen them last"]
    if count := int((old < 0).sum()):
        notes.append(f"{count} machines are new to the model: they are watched before they are judged")
    if earlier.any():
        names = ", ".join(found.machines[number] for number in np.flatnonzero(earlier)[:3])
        notes.append(
            f"{earlier.sum()} machines ({names}…) begin before the model has seen them last: taken as new"
        )
    return seen, notes


def after(found: Recording, seen: Seen, known: States | None) -> States:
    """What is known of all machines now: those of the recording, and the others as they were."""
    seconds = np.full(len(found.machines), np.nan)
    if found.seconds is not None:
        seconds[:] = found.seconds[np.cumsum(found.counts) - 1]
    now = States(found.machines, seen.state, seen.level, seen.is_open, seconds)
    if known is None:
        return now
    keep = np.array([name not in found.machines for name in known.machines], bool)
    names = tuple(name for name, kept in zip(known.machines, keep, strict=True) if kept)
    columns = ("state", "level", "is_open", "seconds")
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(now, name), getattr(known, name)[keep]]) for name in columns
    }
    return States((*now.machines, *names), **joined)


def judge(
    found: Recording,
    times: Times | None,
    training: NDArray[np.bool_],
    interpreter: Interpreter,
    seen: Seen,
    *,
    manifest: FileManifest,
    say: Say,
) -> tuple[Scored, Seen]:
    """All rows through the graph; and the seen after the last."""
    went: Passage = passage.passed(
        interpreter.run,
        found.signals.astype(np.float32),
        found.machine,
        seen,
        threshold=manifest.threshold,
        rule=manifest.alert,
        learning_samples=manifest.learning_samples,
        progress=lambda rows: say(f"scored {rows} rows"),
    )
    total = went.contribution.sum(axis=1, keepdims=True)
    shares = (went.contribution / np.where(np.abs(total) > 0, total, 1)).astype(np.float32)
    scored = Scored(
        recording=found,
        times=times,
        training=training,
        score=went.score,
        level=went.level,
        alarm=went.alarm,
        warm=went.warm,
        places=went.places,
        shares=shares,
        threshold=manifest.threshold,
    )
    return scored, went.seen


def write(out: Path, scored: Scored, data: Table, *, time: str | None, facts: Mapping[str, object]) -> str:
    """Scores, plots and summary into the folder; returns the tables. Raises BadData."""
    found = alarms(scored)
    try:
        report.write_scores(scored, data, time, out)
        plots.draw(scored, found, out)
        report.write_summary(report.summary(scored, found, facts), out)
    except OSError as error:
        raise BadData(f"{out} cannot be written: {error.strerror}") from error
    return report.tables(scored, found, facts)
