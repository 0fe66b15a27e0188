"""`python -m files fit`: a detector from a plain file, and what it says of the same file. Read `run`."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from contract.alert_rule import AlertRule
from contract.manifest import sha256
from files import folder, judgement, material, recording, table
from files.folder import FileManifest
from files.material import Rows
from files.recording import Recording
from files.table import Say
from plumbing.settings import setting
from trainer.judge import alarms
from trainer.judge.comparison import RULE
from trainer.judge.decision import git_revision
from trainer.model import learning
from trainer.model.interpreter import Interpreter
from trainer.model.replay import replay


@dataclass(frozen=True)
class Settings:
    """Flags, environment (FIT_…) or these defaults."""

    data: Path = setting("CSV (UTF-8, with a header) or Parquet file")
    signals: tuple[str, ...] = setting("columns that are judged: a,b,c")
    out: Path = setting("folder for model, scores, plots and summary; made anew")
    conditions: tuple[str, ...] = setting(
        "columns of the operating point (load, speed, weather), from which the signals are expected; they "
        "are judged only if they are among --signals as well",
        default=(),
    )
    group: str | None = setting(
        "column that says whose row it is; none: the file is one machine", default=None
    )
    time: str | None = setting(
        "column of times: ISO 8601, or numbers: s, ms, µs or ns since 1970, else seconds of a clock of its "
        "own; none: rows come in order, --interval-s apart",
        default=None,
    )
    interval_s: float = setting(
        "seconds between two rows of a machine, where there is no --time", default=1.0
    )
    train_until: str = setting(
        "learn from rows up to this time, written as in the file, or from this share of each machine's rows; "
        "they should be healthy",
        default="0.6",
    )
    learning_s: float | None = setting(
        "how long a machine is watched before it is judged; none: a fifth of its rows to learn from",
        default=None,
    )
    memory_s: float | None = setting(
        "how far back deviations are averaged: longer finds smaller ones, and later; none: a quarter of "
        "--learning-s",
        default=None,
    )
    false_alarms_per_car_week: float = setting(
        "budget: alarms that healthy machines may raise in 168 h of their telemetry", default=0.1
    )
    rows_max: int = setting("the largest file that is taken, in rows", default=5_000_000)
    seed: int = setting("of all that is drawn in the training", default=1)

    def __post_init__(self) -> None:
        for name in ("interval_s", "learning_s", "memory_s", "false_alarms_per_car_week", "rows_max"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be positive")
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


def run(told: Settings, say: Say) -> int:
    """Read, learn, set the threshold, score, write, tell. Returns the exit code. Raises BadData."""
    folder.make(told.out, results=judgement.RESULTS)
    say(f"reading {told.data}")
    columns = (*told.signals, *[name for name in told.conditions if name not in told.signals])
    texts = [name for name in (told.group, told.time) if name]
    data = table.read(told.data, columns, texts, rows_max=told.rows_max, say=say)
    found, when = recording.recording(
        data, columns, group=told.group, time=told.time, interval_s=told.interval_s
    )
    training = recording.until(found, told.train_until, when)
    found, left_out = material.useful(found, training, told.signals)
    domain = material.domain(found, training, told.signals, told.conditions)
    memory = material.lengths(found, training, told.learning_s, told.memory_s)
    early, late = material.parts(found, training, memory)
    say(f"learning from {int(early.sum())} rows of {len(found.machines)} machines; TensorFlow loads first")
    signals = found.signals.astype(np.float32)
    graph, learned = learning.learn(domain, signals[early], found.machine[early], memory, seed=told.seed)
    tflite = graph.convert()
    say(f"setting the threshold on {int(late.sum())} rows that were not learned from")
    budget = told.false_alarms_per_car_week
    calibration = calibrate(tflite, found, training, late, rule=RULE, budget=budget)
    manifest = FileManifest(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git_revision=git_revision(),
        data=told.data.name,
        signals=domain.signals,
        conditions=tuple(name for name in told.conditions if name in domain.signals),
        left_out=tuple(left_out),
        group=told.group,
        time=told.time,
        interval_s=found.interval_s,
        learning_samples=memory.learning_samples,
        memory_samples=memory.memory_samples,
        train_until=told.train_until,
        training_rows=int(training.sum()),
        machines=len(found.machines),
        threshold=calibration.threshold,
        alert=RULE,
        false_alarms_per_machine_week=budget,
        seed=told.seed,
        metrics={"learning": learned.metrics, "calibration": asdict(calibration)},
        tflite_sha256=sha256(tflite),
        tflite_bytes=len(tflite),
    )
    say(f"scoring {len(found.row)} rows")
    interpreter = Interpreter(tflite, domain.count)
    seen, _ = judgement.begin(found, None, interpreter.state_width)
    scored, seen = judgement.judge(found, when, training, interpreter, seen, manifest=manifest, say=say)
    say(f"writing {told.out}")
    tables = judgement.write(told.out, scored, data, time=told.time, facts=facts(manifest, calibration))
    folder.save(told.out, manifest, tflite, judgement.after(found, seen, None))
    say(f"done: {told.out}")
    print(tables)
    return 0


@dataclass(frozen=True)
class Calibration:
    """The threshold, and how much it was set on: rows, machine-weeks, alarms that these raise."""

    threshold: float
    rows: int
    machine_weeks: float
    alarms: int


def calibrate(
    tflite: bytes,
    found: Recording,
    training: Rows,
    late: Rows,
    *,
    rule: AlertRule,
    budget: float,
) -> Calibration:
    """The threshold at which the rows `late` raise `budget` alarms a machine-week."""
    car = found.machine[training]
    score = replay(tflite, found.signals[training].astype(np.float32), car).score
    level = alarms.levels(score, car, rule)[late[training]]
    car = car[late[training]]
    threshold = float(alarms.healthy_alerts(level, car, rule, found.interval_s).thresholds(budget)[0])
    opened = len(alarms.openings(level, car, threshold, rule))
    return Calibration(threshold, len(level), alarms.car_weeks(len(level), found.interval_s), opened)


def facts(manifest: FileManifest, calibration: Calibration) -> dict[str, object]:
    """For the table and the summary."""
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
        "threshold_set_on_machine_weeks": calibration.machine_weeks,
        "alarms_in_these": calibration.alarms,
        "budget_per_machine_week": manifest.false_alarms_per_machine_week,
    }
