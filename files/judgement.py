"""A recording judged by a model: machines continue from their last state; results go into a folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract import alert_rule
from contract.alert_rule import AlertRule
from contract.golden import Step
from contract.state_layout import SEEN
from files import BadData, folder, report
from files.folder import FileManifest, States
from files.recording import Recording
from files.scored import Scored, alarms
from files.table import Say, Table
from plumbing.tflite import Interpreter
from trainer.model.replay import in_step

RESULTS = frozenset({folder.MANIFEST, folder.MODEL, folder.STATES}) | report.FILES
_INTERVAL_RATIO = 1.5  # beyond this ratio a note says that the file's interval differs
_PROGRESS_ROWS = 500_000


def run(
    data: Table,
    recording: Recording,
    training: NDArray[np.bool_],
    model: tuple[FileManifest, bytes],
    known: States | None,
    *,
    out: Path,
    facts: Mapping[str, object],
    say: Say,
) -> int:
    """Score all rows, write the results and the model into the folder `out`, and print the tables.

    `training` (N,): whether a row is a training row. `known`: states from which machines continue. Returns
    the exit code. Raises BadData.
    """
    from files import plots

    manifest, tflite = model
    say(f"scoring {len(recording.row)} rows of {len(recording.machines)} machines")
    interpreter = Interpreter(tflite, len(manifest.signals))
    states, notes = begin(recording, known, interpreter.state_width)
    if not 1 / _INTERVAL_RATIO < recording.interval_s / manifest.interval_s < _INTERVAL_RATIO:
        notes.append(
            f"the rows are {recording.interval_s:g} s apart, those that the model learned from "
            f"{manifest.interval_s:g} s: it counts rows, so its averaging time differs by the same ratio"
        )
    scored = judge(
        interpreter.run,
        replace(recording, notes=(*recording.notes, *notes)),
        training,
        states,
        threshold=manifest.threshold,
        rule=manifest.alert,
        learning_samples=manifest.learning_samples,
        say=say,
    )
    say(f"writing {out}")
    opened = alarms(scored)
    try:
        report.write_scores(scored, data, manifest.time, out)
        plots.draw(scored, opened, out)
        report.write_summary(scored, opened, facts, out)
        folder.save(out, manifest, tflite, states if known is None else states.joined(known))
    except OSError as error:
        raise BadData(f"{out} cannot be written: {error.strerror}") from error
    say(f"done: {out}")
    print(report.tables(scored, opened, facts))
    return 0


def begin(recording: Recording, known: States | None, state_width: int) -> tuple[States, list[str]]:
    """(states of the recording's machines before its first row, notes about them).

    A machine continues from its last state if all its rows are later than that state; otherwise it counts as
    new. The states have the times of the machines' last rows. Raises BadData for states of another model.
    """
    count, seconds = len(recording.machines), recording.seconds
    ends = np.cumsum(recording.counts)
    last_s = np.full(count, np.nan) if seconds is None else seconds[ends - 1]
    shape = (count, state_width)
    states = States(
        recording.machines, np.zeros(shape, np.float32), np.zeros(count), np.zeros(count, bool), last_s
    )
    if known is None:
        return states, []
    if known.state.shape[1] != state_width:
        raise BadData(
            f"{folder.STATES} has states of {known.state.shape[1]} columns, the model {state_width}"
        )
    index = {name: number for number, name in enumerate(known.machines)}
    old = np.array([index.get(name, -1) for name in recording.machines])
    earlier = np.zeros(count, bool)
    if seconds is not None:
        earlier = (old >= 0) & ~(seconds[ends - recording.counts] > known.seconds[old])
    continues = (old >= 0) & ~earlier
    for name in ("state", "level", "is_open"):
        getattr(states, name)[continues] = getattr(known, name)[old[continues]]
    notes = [f"{continues.sum()} machines continue from the last row that the model has scored"]
    if new := int((old < 0).sum()):
        notes.append(f"{new} machines are new to the model and are watched before they are judged")
    if earlier.any():
        names = ", ".join(recording.machines[number] for number in np.flatnonzero(earlier)[:3])
        notes.append(
            f"{earlier.sum()} machines ({names}…) begin before their last scored row and are treated as new"
        )
    return states, notes


def judge(
    step: Step,
    recording: Recording,
    training: NDArray[np.bool_],
    states: States,
    *,
    threshold: float,
    rule: AlertRule,
    learning_samples: int,
    say: Say,
) -> Scored:
    """All rows passed through `step`, a call of the graph, machines in step, by the scorers' alert rule.

    A machine is judged once it has been seen `learning_samples` times; its level is 0 until then. `states` is
    changed to the states after the machines' last rows.
    """
    signals, machine = recording.signals.astype(np.float32), recording.machine
    count, done, reported = len(machine), 0, 0
    score, level = np.zeros(count, np.float32), np.zeros(count)
    alarm, warm = np.zeros(count, bool), np.zeros(count, bool)
    explained, contributions = [np.empty(0, np.intp)], [np.empty((0, signals.shape[1]), np.float32)]
    for rows, _ in in_step(machine):
        machines = machine[rows]
        score[rows], contribution, states.state[machines] = step(signals[rows], states.state[machines])
        warm[rows] = is_warm = states.state[machines, SEEN] >= learning_samples
        rows_judged, judged = rows[is_warm], machines[is_warm]
        states.level[judged], states.is_open[judged], _, _ = alert_rule.advance(
            states.level[judged],
            states.is_open[judged],
            score[rows_judged].astype(np.float64),
            threshold=threshold,
            rule=rule,
        )
        level[rows_judged], alarm[rows_judged] = states.level[judged], states.is_open[judged]
        if (kept := alarm[rows_judged] | ~(score[rows_judged] <= threshold)).any():
            explained.append(rows_judged[kept])
            contributions.append(contribution[is_warm][kept])
        done += len(rows)
        if done - reported >= _PROGRESS_ROWS:
            say(f"scored {done} rows")
            reported = done
    explained_rows, contribution = np.concatenate(explained), np.concatenate(contributions)
    order = np.argsort(explained_rows)
    total = contribution.sum(axis=1, keepdims=True)
    shares = (contribution / np.where(np.abs(total) > 0, total, 1)).astype(np.float32)[order]
    explained_rows = explained_rows[order]
    return Scored(recording, training, score, level, alarm, warm, explained_rows, shares, threshold=threshold)
