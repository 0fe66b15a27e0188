"""`python -m files score`: another file, by a model that `fit` made. Nothing here needs TensorFlow."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from files import folder, judgement, recording, table
from files.errors import BadData
from files.table import Say
from plumbing.settings import setting
from trainer.model.interpreter import Interpreter

_INTERVAL_RATIO = 1.5  # beyond it, it is said that the file's interval is another one


@dataclass(frozen=True)
class Settings:
    """Flags, environment (SCORE_…) or these defaults."""

    model: Path = setting("folder that `fit` wrote, or an earlier `score`")
    data: Path = setting("CSV or Parquet file with the model's columns")
    out: Path | None = setting(
        "folder for scores, plots and summary, made anew; none: <model>-<name of the file>", default=None
    )
    states: Literal["model", "none"] = setting(
        "where machines go on from: model: from where the model's folder has seen them last; none: all are "
        "new, and are watched before they are judged",
        default="model",
    )
    rows_max: int = setting("the largest file that is taken, in rows", default=5_000_000)

    def __post_init__(self) -> None:
        if self.rows_max < 1:
            raise ValueError("--rows-max must be positive")


def run(told: Settings, say: Say) -> int:
    """Read, score, write, tell. Returns the exit code. Raises BadData."""
    manifest, tflite = folder.load(told.model)
    known = folder.load_states(told.model / folder.STATES) if told.states == "model" else None
    out = told.out or told.model.with_name(f"{told.model.name}-{told.data.stem}")
    if out.resolve() == told.model.resolve():
        raise BadData(f"--out {out} is the model's own folder: give another one")
    folder.make(out, results=judgement.RESULTS)
    say(f"reading {told.data}")
    texts = [name for name in (manifest.group, manifest.time) if name]
    data = table.read(told.data, manifest.signals, texts, rows_max=told.rows_max, say=say)
    found, when = recording.recording(
        data, manifest.signals, group=manifest.group, time=manifest.time, interval_s=manifest.interval_s
    )
    say(f"scoring {len(found.row)} rows of {len(found.machines)} machines")
    interpreter = Interpreter(tflite, len(manifest.signals))
    seen, notes = judgement.begin(found, known, interpreter.state_width)
    if not 1 / _INTERVAL_RATIO < found.interval_s / manifest.interval_s < _INTERVAL_RATIO:
        notes.append(
            f"rows come {found.interval_s:g} s apart, the model learned from {manifest.interval_s:g} s: it "
            "counts rows, and its memory is shorter or longer by as much"
        )
    found = replace(found, notes=(*found.notes, *notes))
    learned = np.zeros(len(found.row), bool)
    scored, seen = judgement.judge(found, when, learned, interpreter, seen, manifest=manifest, say=say)
    facts = {
        "data": str(told.data),
        "rows": len(found.row),
        "machines": len(found.machines),
        "model": f"{told.model}, learned from {manifest.data}",
        "threshold": manifest.threshold,
    }
    say(f"writing {out}")
    tables = judgement.write(out, scored, data, time=manifest.time, facts=facts)
    folder.save(out, manifest, tflite, judgement.after(found, seen, known))
    say(f"done: {out}")
    print(tables)
    return 0
