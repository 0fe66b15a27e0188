"""`python -m files fit`: train a detector on a plain file and score the same file. Read `run`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from contract.alert_rule import SMOOTHED
from contract.manifest import sha256
from files import folder, judgement, material, table
from files.folder import FileManifest
from files.material import Rows
from files.recording import Recording, from_table, until
from files.table import Say
from plumbing.settings import setting
from trainer.judge import alarms
from trainer.model import learning
from trainer.model.replay import replay
from trainer.settings import git_revision


@dataclass(frozen=True)
class Settings:
    """Flags, environment (FIT_…) or these defaults."""

    data: Path = setting("CSV (UTF-8, with a header) or Parquet file")
    signals: tuple[str, ...] = setting("columns to judge: a,b,c")
    out: Path = setting(
        "folder for the model, scores, plots and summary; emptied first if an earlier run made it"
    )
    conditions: tuple[str, ...] = setting(
        "columns of the operating point (load, speed, weather), from which the signals are expected; they "
        "are judged only if they are among --signals as well",
        default=(),
    )
    group: str | None = setting(
        "column with the name of the machine; none: all rows are of one machine", default=None
    )
    time: str | None = setting(
        "column of times: ISO 8601, or numbers (s, ms, µs or ns since 1970, or else seconds from any start); "
        "none: the rows are in order, --interval-s apart",
        default=None,
    )
    interval_s: float = setting(
        "seconds between two rows of a machine, where there is no --time", default=1.0, above=0
    )
    train_until: str = setting(
        "train on the rows up to this time (written as in the file), or on this share of each machine's "
        "rows; they should be healthy",
        default="0.6",
    )
    learning_s: float | None = setting(
        "how long a machine is watched before it is judged; none: a fifth of its training rows",
        default=None,
        above=0,
    )
    memory_s: float | None = setting(
        "time over which deviations are averaged: a longer one finds smaller deviations, but later; none: a "
        "quarter of --learning-s",
        default=None,
        above=0,
    )
    false_alarms_per_car_week: float = setting(
        "budget: alarms that healthy machines may raise in 168 h of their telemetry", default=0.1, above=0
    )
    rows_max: int = setting("refuse a file with more rows than this", default=5_000_000, least=1)
    seed: int = setting("seed of all random numbers in the training", default=1)

    def __post_init__(self) -> None:
        named = [*self.signals, *self.conditions]
        if not self.signals:
            raise ValueError("--signals must name at least one column")
        for columns, flag in ((self.signals, "--signals"), (self.conditions, "--conditions")):
            if twice := sorted({name for name in columns if columns.count(name) > 1}):
                raise ValueError(f"{flag} names {', '.join(twice)} twice")
        for column, flag in ((self.group, "--group"), (self.time, "--time")):
            if column is not None and column in named:
                raise ValueError(f"{flag} {column} cannot be a signal or a condition as well")
        if self.group is not None and self.group == self.time:
            raise ValueError("--group and --time must be different columns")


def run(settings: Settings, say: Say) -> int:
    """Read, learn, set the threshold, score, write, print. Returns the exit code. Raises BadData."""
    folder.make(settings.out, results=judgement.RESULTS)
    say(f"reading {settings.data}")
    columns = (*settings.signals, *[name for name in settings.conditions if name not in settings.signals])
    texts = [name for name in (settings.group, settings.time) if name]
    data = table.read(settings.data, columns, texts, rows_max=settings.rows_max, say=say)
    recording = from_table(
        data, columns, group=settings.group, time=settings.time, interval_s=settings.interval_s
    )
    training = until(recording, settings.train_until)
    recording, left_out = material.useful(recording, training, settings.signals)
    domain = material.domain(recording, training, settings.signals, settings.conditions)
    window = material.lengths(recording, training, settings.learning_s, settings.memory_s)
    early, late = material.parts(recording, training, window)
    say(
        f"learning from {int(early.sum())} rows of {len(recording.machines)} machines; TensorFlow loads first"
    )
    signals = recording.signals.astype(np.float32)
    graph, learned = learning.learn(
        domain, signals[early], recording.machine[early], window, seed=settings.seed
    )
    tflite = graph.convert()
    say(f"setting the threshold on {int(late.sum())} rows that were not learned from")
    budget = settings.false_alarms_per_car_week
    calibration = calibrate(tflite, recording, training, late, budget)
    manifest = FileManifest(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git_revision=git_revision(),
        data=settings.data.name,
        signals=domain.signals,
        conditions=tuple(name for name in settings.conditions if name in domain.signals),
        left_out=tuple(left_out),
        group=settings.group,
        time=settings.time,
        interval_s=recording.interval_s,
        learning_samples=window.learning_samples,
        memory_samples=window.memory_samples,
        train_until=settings.train_until,
        training_rows=int(training.sum()),
        machines=len(recording.machines),
        threshold=calibration["threshold"],
        alert=SMOOTHED,
        false_alarms_per_machine_week=budget,
        seed=settings.seed,
        metrics={"learning": learned.metrics, "calibration": calibration},
        tflite_sha256=sha256(tflite),
        tflite_bytes=len(tflite),
    )
    model, facts = (manifest, tflite), shown(manifest, calibration)
    return judgement.run(data, recording, training, model, None, out=settings.out, facts=facts, say=say)


def calibrate(
    tflite: bytes, recording: Recording, training: Rows, late: Rows, budget: float
) -> dict[str, float]:
    """The threshold at which the rows `late` (N,) raise `budget` alarms per machine-week, and its data."""
    car = recording.machine[training]
    score = replay(tflite, recording.signals[training].astype(np.float32), car).score
    level = alarms.levels(score, car, SMOOTHED)[late[training]]
    car = car[late[training]]
    alerts = alarms.healthy_alerts(level, car, SMOOTHED, recording.interval_s)
    threshold = float(alerts.thresholds(budget)[0])
    return {
        "threshold": threshold,
        "rows": len(level),
        "machine_weeks": alarms.car_weeks(len(level), recording.interval_s),
        "alarms": len(alarms.openings(level, car, threshold, SMOOTHED)),
    }


def shown(manifest: FileManifest, calibration: dict[str, float]) -> dict[str, object]:
    """Figures for the table and the summary."""
    hours = manifest.interval_s / 3600
    judged = [name for name in manifest.signals if name not in manifest.conditions]
    return {
        "data": manifest.data,
        "machines": manifest.machines,
        "interval_s": manifest.interval_s,
        "judged": judged,
        "conditions": list(manifest.conditions),
        "training_rows": manifest.training_rows,
        "watched_first_h": manifest.learning_samples * hours,
        "memory_h": manifest.memory_samples * hours,
        "threshold": manifest.threshold,
        "threshold_set_on_machine_weeks": calibration["machine_weeks"],
        "alarms_in_these": calibration["alarms"],
        "budget_per_machine_week": manifest.false_alarms_per_machine_week,
    }
