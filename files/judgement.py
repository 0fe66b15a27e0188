"""A recording judged by a model: machines continue from their last state; results go into a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from files import folder, passage, plots, report
from files.errors import BadData
from files.folder import FileManifest, States
from files.passage import MachineStates
from files.recording import Recording
from files.scored import Scored, alarms
from files.table import Say, Table
from files.times import Times
from trainer.model.interpreter import Interpreter

RESULTS = frozenset(
    {folder.MANIFEST, folder.MODEL, folder.STATES, report.SUMMARY, report.SCORES_CSV, report.SCORES_PARQUET}
    | {plots.SCORES, plots.CONTRIBUTIONS, plots.HISTOGRAM}
)


def begin(recording: Recording, known: States | None, state_width: int) -> tuple[MachineStates, list[str]]:
    """(states of the recording's machines before its first row, notes about them).

    A machine continues from its last state if all its rows are later than that state; otherwise it counts as
    new. Raises BadData for states of another model.
    """
    states = MachineStates.new(len(recording.machines), state_width)
    if known is None:
        return states, []
    if known.state.shape[1] != state_width:
        raise BadData(
            f"{folder.STATES} has states of {known.state.shape[1]} columns, the model {state_width}"
        )
    index = {name: number for number, name in enumerate(known.machines)}
    old = np.array([index.get(name, -1) for name in recording.machines])
    first = (
        None
        if recording.seconds is None
        else recording.seconds[np.cumsum(recording.counts) - recording.counts]
    )
    earlier = np.zeros(len(old), bool) if first is None else (old >= 0) & ~(first > known.seconds[old])
    continues = (old >= 0) & ~earlier
    for name in ("state", "level", "is_open"):
        getattr(states, name)[continues] = getattr(known, name)[old[continues]]
    notes = [f"{continues.sum()} machines continue from the last row that the model has scored"]
    if count := int((old < 0).sum()):
        notes.append(f"{count} machines are new to the model and are watched before they are judged")
    if earlier.any():
        names = ", ".join(recording.machines[number] for number in np.flatnonzero(earlier)[:3])
        notes.append(
            f"{earlier.sum()} machines ({names}…) begin before their last scored row and are treated as new"
        )
    return states, notes


def after(recording: Recording, states: MachineStates, known: States | None) -> States:
    """The states of all machines now: those of the recording, and all others unchanged."""
    seconds = np.full(len(recording.machines), np.nan)
    if recording.seconds is not None:
        seconds[:] = recording.seconds[np.cumsum(recording.counts) - 1]
    now = States(recording.machines, states.state, states.level, states.is_open, seconds)
    if known is None:
        return now
    keep = np.array([name not in recording.machines for name in known.machines], bool)
    names = tuple(name for name, kept in zip(known.machines, keep, strict=True) if kept)
    columns = ("state", "level", "is_open", "seconds")
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(now, name), getattr(known, name)[keep]]) for name in columns
    }
    return States((*now.machines, *names), **joined)


def judge(
    recording: Recording,
    times: Times | None,
    training: NDArray[np.bool_],
    interpreter: Interpreter,
    states: MachineStates,
    *,
    manifest: FileManifest,
    say: Say,
) -> tuple[Scored, MachineStates]:
    """(all rows scored, the machines' states after their last rows)."""
    result = passage.pass_through(
        interpreter.run,
        recording.signals.astype(np.float32),
        recording.machine,
        states,
        threshold=manifest.threshold,
        rule=manifest.alert,
        learning_samples=manifest.learning_samples,
        progress=lambda rows: say(f"scored {rows} rows"),
    )
    total = result.contribution.sum(axis=1, keepdims=True)
    shares = (result.contribution / np.where(np.abs(total) > 0, total, 1)).astype(np.float32)
    scored = Scored(
        recording=recording,
        times=times,
        training=training,
        score=result.score,
        level=result.level,
        alarm=result.alarm,
        warm=result.warm,
        explained=result.explained,
        shares=shares,
        threshold=manifest.threshold,
    )
    return scored, result.states


def write(out: Path, scored: Scored, data: Table, *, time: str | None, facts: Mapping[str, object]) -> str:
    """Write scores, plots and summary into the folder; returns the tables. Raises BadData."""
    opened = alarms(scored)
    try:
        report.write_scores(scored, data, time, out)
        plots.draw(scored, opened, out)
        report.write_summary(report.summary(scored, opened, facts), out)
    except OSError as error:
        raise BadData(f"{out} cannot be written: {error.strerror}") from error
    return report.tables(scored, opened, facts)
