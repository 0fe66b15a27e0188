"""Whether poisoned slices of the log are refused, and sound ones published.

A champion is trained on a fleet's first hours. Then the trainer's own job is given slices of the following
hours, most of them spoilt by a gateway, a clock or a person. What it would have published is judged on cars
that no slice has, with the threshold in its manifest.
"""

import contextlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contract.manifest import Manifest
from plumbing.life import Stop, WorldDown
from quality.life.bars import Bar, Figures
from quality.life.replayed import INTERVAL_S
from quality.life.slices import POISONED, SOUND, Make, World
from trainer import train
from trainer.judge import evaluate
from trainer.judge.baselines import model_contender
from trainer.judge.evaluate import Judgement
from trainer.judge.exam import Exam
from trainer.judge.gate import ALARM_TOLERANCE_EXTRAPOLATED, EXAM_TOLERANCE
from trainer.publication import Entry, Publication
from trainer.settings import Settings

LEARNING_S = 28_800.0  # the trainer's default
STEPS_MAX = 400
# A car-week on the sound cars, whose few weeks the gate judges with this tolerance, too.
_FALSE_ALARMS_MAX = ALARM_TOLERANCE_EXTRAPOLATED * Settings.false_alarms_per_car_week


class Shelf(Publication):
    """The topics of the models in memory."""

    def __init__(self, champion: Entry | None = None, exam: bytes = b"") -> None:
        """With this champion and its exam, if there is one already."""
        super().__init__("", None, "failure-detector")
        self.entries = [champion] if champion else []
        self._exam = exam

    def history(self) -> list[Entry]:
        """Every decision, oldest first."""
        return self.entries

    def champion(self) -> Entry | None:
        """The last that was published."""
        published = [entry for entry in self.entries if entry.manifest.decision.published]
        return published[-1] if published else None

    def exam(self, version: int) -> bytes:
        """That of the champion."""
        return self._exam

    def open(self) -> None:
        """Nobody else publishes here."""

    def write(self, manifest: Manifest, tflite: bytes, exam: bytes = b"") -> None:
        """Keep the decision."""
        self.entries.append(Entry(manifest, tflite))
        self._exam = exam or self._exam


def run(
    seed: int, slices: Sequence[Make] = (*POISONED, *SOUND), say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """A row for the champion and for each slice: published, why, and what the model does on sound cars."""
    world, shelf = World(seed), Shelf()
    sound = world.sound_cars()
    champion, _ = _trained(lambda world: world.first(), world, shelf)
    if champion is None or not champion.manifest.decision.published:
        raise WorldDown(f"no champion: {champion.manifest.decision.reasons if champion else ''}")
    own = _on_sound(champion, sound)
    rows = [_row("the champion's own", champion, own.recall, own, poisoned=False)]
    for make in slices:
        began_s = time.process_time()
        entry, refusal = _trained(make, world, Shelf(champion, shelf.exam(1)))
        judged = _on_sound(entry, sound) if entry else None
        row = _row(make.__name__, entry, own.recall, judged, poisoned=make in POISONED)
        rows.append(row | ({} if entry else {"reason": refusal}))
        say(f"{make.__name__}: {time.process_time() - began_s:.0f} s of CPU; {rows[-1]}")
    return rows


def measure(seed: int, _folder: Path) -> Figures:
    """All slices of one fleet, as `run` gives them."""
    started = time.monotonic()
    slices = run(seed, say=lambda _: None)
    return {"slices": slices, "seconds": time.monotonic() - started}


def summary(figures: list[Figures], _reached: Mapping[str, float]) -> dict[str, Any]:
    """The part of summary.json: a row for each slice."""
    rows = [{"seed": seed, **row} for seed, each in enumerate(figures, 1) for row in each["slices"]]
    return {"poisoned": rows}


def bars(figures: list[Figures]) -> list[Bar]:
    """The bars over all seeds."""
    rows = [row for seed in figures for row in seed["slices"]]
    worse = sum(row["worse_published"] for row in rows)
    refused = sum(row["good_refused"] for row in rows)
    return [
        Bar("worse_published", "models published that are worse on sound cars than the champion", worse, 0),
        Bar("good_refused", "models of sound slices refused that are as good on sound cars", refused, 0),
    ]


def _trained(make: Make, world: World, shelf: Shelf) -> tuple[Entry | None, str]:
    """The decision about a slice; None and why where the trainer cannot learn from it at all."""
    settings = Settings(
        kafka_bootstrap="localhost:9092", learning_s=LEARNING_S, steps_max=STEPS_MAX, git_revision="unknown"
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            train.train(make(world), settings, shelf, Stop())
    except WorldDown as error:
        return None, str(error)
    return shelf.history()[-1], ""


def _row(
    name: str, entry: Entry | None, champion_recall: float, judged: Judgement | None, *, poisoned: bool
) -> dict[str, Any]:
    published = entry is not None and entry.manifest.decision.published
    worse = judged is not None and not judged.recall >= champion_recall - EXAM_TOLERANCE
    # A model of a few winter hours is worse in spring, and the threshold of some slices is too low by chance.
    good = judged is not None and not worse and judged.false_alarms_per_car_week <= _FALSE_ALARMS_MAX
    return {
        "slice": name,
        "poisoned": poisoned,
        "published": published,
        "worse_published": published and worse,
        "good_refused": good and not poisoned and not published,
        "reason": "; ".join(entry.manifest.decision.reasons) if entry else "",
        "recall_on_sound": judged.recall if judged else None,
        "false_alarms_on_sound": judged.false_alarms_per_car_week if judged else None,
    }


def _on_sound(entry: Entry, sound: Exam) -> Judgement:
    """What a model does on sound cars with the threshold in its manifest."""
    manifest = entry.manifest
    data = sound.held_out(round(LEARNING_S / INTERVAL_S))
    if data is None:
        raise WorldDown("the sound cars have too few rows")
    model = model_contender("model", entry.tflite, manifest.alert, manifest.signals, given=sound.signals)
    return evaluate.judge_at(model, data, manifest.threshold)
