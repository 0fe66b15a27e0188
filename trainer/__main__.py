"""python -m trainer: train (the default), the decisions of a trial, what was decided, and the tools."""

import importlib.util
import os
import re
import sys
from collections.abc import Sequence

from contract.manifest import Manifest
from plumbing import life, log
from plumbing.settings import SettingsError, load
from trainer import trial
from trainer.model.domain import fleet_domain
from trainer.model.state import state_columns
from trainer.publication import Entry, NotPublishable, Publication, newest
from trainer.settings import Settings
from trainer.table import table

USAGE = """\
usage: python -m trainer [COMMAND] [settings]

  train             train on the replicated log and publish what passes the gate (the default); with --share
                    it goes on trial beside the champion
  promote VERSION   make a version the champion or, with --share, the challenger that is on trial
  hold VERSION      only a person promotes the challenger from now on
  withdraw VERSION  end the trial, the champion stays
  rollback VERSION  make an earlier champion the champion again
  trial             the evidence about the challenger as a table, and what it would lead to (trial --help)
  watch             decide on evidence, and train when the fleet has changed, until stopped (watch --help)
  list              every version, what was decided about it, which one is the champion or on trial
  show VERSION      the manifest of a version
  rebuild VERSION   learn a version again from its manifest, and say whether it is the same
  rescore           replay a range of the log through some versions, and compare their alerts with the reports
  track             show every decision as a run in MLflow (extra `track`)
  launch            start the training Job in a Kubernetes cluster and follow it (launch --help)

Detectors from a plain CSV or Parquet file, without Kafka: `python -m files --help`.

Exit codes: 0 done, 1 the world is down, 2 bad settings or no such version, 3 refused by the gate,
143 stopped. `python -m trainer train --help` explains the settings.
"""
_STOPPED = 143  # as train.EXIT_STOPPED
_MOVED = ("fit", "score", "example")  # to files/
_DECISIONS = ("promote", "hold", "withdraw", "rollback")
_VERSIONED = ("show", "rebuild", *_DECISIONS)
_COMMANDS = ("train", "list", "rescore", "track", "launch", "trial", "watch", *_VERSIONED)


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int:
    if sys.argv[1:2] in (["--help"], ["-h"], ["help"]):
        print(USAGE)
        return 0
    if sys.argv[1:2] and sys.argv[1] in _MOVED:
        become_files(sys.argv[1:])
    command, version, flags = split_command(sys.argv[1:])
    if command == "launch":
        from trainer.launch import command as launch

        return launch.main(flags)
    if command in ("trial", "watch"):
        from trainer.watch import command as watcher

        return watcher.show_trial(flags) if command == "trial" else watcher.watch(flags)
    settings = load(Settings, prefix="TRAINER", argv=flags, description=USAGE)
    log.configure("trainer", settings.log_format)
    stop = life.Stop().install(starting=True, status=_STOPPED)
    publication = Publication(settings.kafka_bootstrap, settings.kafka_properties, settings.model_name)
    try:
        return _command(command, version, settings, publication, stop)
    except NotPublishable as error:
        raise SettingsError(str(error)) from error


def _command(
    command: str, version: int, settings: Settings, publication: Publication, stop: life.Stop
) -> int:
    """Run any command but launch. Returns the exit code. Raises NotPublishable, SettingsError, WorldDown."""
    if command == "train":
        from trainer import train

        check_signals()
        return train.run(settings, publication, stop)
    if command == "rebuild":
        from trainer.history import rebuild

        entry = newest(publication.history(), version)
        stop.started()
        return rebuild.run(settings, entry, stop)
    if command == "track":
        from trainer.history import track

        history = publication.history()
        stop.started()
        return track.run(settings, history, stop)
    if command == "rescore":
        from trainer.history import rescore

        history = publication.history()
        stop.started()
        return rescore.run(settings, history, stop)
    if command == "list":
        print(listing(publication.history(), publication.champion(), publication.challenger()))
    elif command == "show":
        print(pretty(newest(publication.history(), version).manifest))
    else:
        print(_decide(command, version, settings, publication))
    return 0


def _decide(command: str, version: int, settings: Settings, publication: Publication) -> str:
    """Take a decision about a version; returns a sentence. Raises NotPublishable, WorldDown."""
    by_hand = ("by hand",)
    if command == "promote":
        manifest = trial.promote(publication, version, by_hand, share=settings.share)
    elif command == "hold":
        manifest = trial.hold(publication, version, by_hand)
    elif command == "withdraw":
        manifest = trial.withdraw(publication, version, by_hand)
    else:
        manifest = publication.roll_back(version)
    now = trial.verdict(manifest.decision).replace("published", "the champion")
    reasons = "; ".join(manifest.decision.reasons).removeprefix(trial.WITHDRAWN)
    return f"version {version} is {now}: {reasons}"


def check_signals() -> None:
    """Raises SettingsError if signals.toml is malformed or has more signals than a car's state holds."""
    try:
        state_columns(fleet_domain())
    except ValueError as error:
        raise SettingsError(str(error)) from error


def become_files(arguments: Sequence[str]) -> None:
    """Replace this process by `python -m files`. Raises SettingsError where that is not installed."""
    moved = f"`python -m trainer {arguments[0]}` is now `python -m files {arguments[0]}`"
    if importlib.util.find_spec("files") is None:
        raise SettingsError(f"{moved}, which is not installed here")
    print(moved, file=sys.stderr)
    os.execv(sys.executable, [sys.executable, "-m", "files", *arguments])


def split_command(arguments: Sequence[str]) -> tuple[str, int, Sequence[str]]:
    """(command, version or 0, flags). Raises SettingsError for an unknown command or a missing version."""
    if not arguments or arguments[0].startswith("-"):
        return "train", 0, arguments
    command, flags = arguments[0], arguments[1:]
    if command not in _COMMANDS:
        raise SettingsError(f"{command!r} is none of {', '.join(_COMMANDS)}")
    if command not in _VERSIONED or flags[:1] in (["--help"], ["-h"]):
        return command, 0, flags
    if not flags or not flags[0].isdigit():
        raise SettingsError(f"{command} needs a version: python -m trainer {command} VERSION")
    return command, int(flags[0]), flags[1:]


def pretty(manifest: Manifest) -> str:
    """The manifest as JSON, each row of numbers on one line."""
    text = manifest.to_json(indent=2)
    return re.sub(r"\[[^\[\]{}]*\]", lambda row: " ".join(row[0].split()), text)


def listing(history: Sequence[Entry], champion: Entry | None, challenger: Entry | None = None) -> str:
    """A line for each decision, oldest first; champion (*) and challenger (+) are marked on their last."""
    last_line = {entry.manifest.version: line for line, entry in enumerate(history)}
    marks = {
        last_line.get(each.manifest.version): m for each, m in ((challenger, "+"), (champion, "*")) if each
    }
    rows: list[list[object]] = []
    for line, manifest in enumerate(entry.manifest for entry in history):
        candidate = manifest.metrics.get("candidate", {})
        measured = [candidate.get(name) for name in ("recall", "auroc", "false_alarms_per_car_week")]
        reasons = "; ".join(manifest.decision.reasons)
        about = [manifest.version, manifest.created_at, trial.verdict(manifest.decision), *measured]
        rows.append([marks.get(line, ""), *about, manifest.threshold, reasons])
    header = ["", "version", "created", "decision", "recall", "auroc", "false alarms", "threshold", "reasons"]
    return table(header, rows)


if __name__ == "__main__":
    main()
