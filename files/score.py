"""`python -m files score`: score another file with a model that `fit` made. Nothing here needs TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from files import BadData, folder, judgement, table
from files.recording import from_table
from files.table import Say
from plumbing.settings import setting


@dataclass(frozen=True)
class Settings:
    """Flags, environment (SCORE_…) or these defaults."""

    model: Path = setting("folder that `fit` or an earlier `score` wrote")
    data: Path = setting("CSV or Parquet file with the model's columns")
    out: Path | None = setting(
        "folder for scores, plots and summary, emptied first if an earlier run made it; none: "
        "<model>-<name of the file>",
        default=None,
    )
    states: Literal["model", "none"] = setting(
        "model: machines continue from the last row that the model's folder has scored; none: all machines "
        "are new and are watched before they are judged",
        default="model",
    )
    rows_max: int = setting("refuse a file with more rows than this", default=5_000_000, least=1)


def run(settings: Settings, say: Say) -> int:
    """Read, score, write, print. Returns the exit code. Raises BadData."""
    manifest, tflite = folder.load(settings.model)
    known = folder.load_states(settings.model / folder.STATES) if settings.states == "model" else None
    out = settings.out or settings.model.with_name(f"{settings.model.name}-{settings.data.stem}")
    if out.resolve() == settings.model.resolve():
        raise BadData(f"--out {out} is the model's own folder: give another one")
    folder.make(out, results=judgement.RESULTS)
    say(f"reading {settings.data}")
    texts = [name for name in (manifest.group, manifest.time) if name]
    data = table.read(settings.data, manifest.signals, texts, rows_max=settings.rows_max, say=say)
    recording = from_table(
        data, manifest.signals, group=manifest.group, time=manifest.time, interval_s=manifest.interval_s
    )
    facts = {
        "data": str(settings.data),
        "rows": len(recording.row),
        "machines": len(recording.machines),
        "model": f"{settings.model}, learned from {manifest.data}",
        "threshold": manifest.threshold,
    }
    training, model = np.zeros(len(recording.row), bool), (manifest, tflite)
    return judgement.run(data, recording, training, model, known, out=out, facts=facts, say=say)
