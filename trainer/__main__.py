"""python -m trainer: train (the default), list, show, rollback, rebuild, rescore, track, launch."""

import importlib.util
import os
import re
import sys
from collections.abc import Sequence

from contract.manifest import Manifest
from plumbing import life, log
from plumbing.settings import SettingsError, load
from trainer.model.domain import fleet_domain
from trainer.model.state import state_columns
from trainer.publication import Entry, NotPublishable, Publication, newest
from trainer.settings import Settings
from trainer.table import table

USAGE = """\
usage: python -m trainer [COMMAND] [settings]

  train             train on the replicated log and publish what passes the gate (the default)
  list              every version, what was decided about it, and which one is the champion
  show VERSION      the manifest of a version
  rollback VERSION  publish an earlier version again
  rebuild VERSION   learn a version again from its manifest, and say whether it is the same
  rescore           replay a range of the log through some versions, and compare their alerts with the reports
  track             show every decision as a run in MLflow (extra `track`)
  launch            start the training Job in a Kubernetes cluster and follow it (launch --help)

Detectors from a plain CSV or Parquet file, without Kafka: `python -m files --help`.

Exit codes: 0 done, 1 the world is down, 2 bad settings or no such version, 3 refused by the gate,
143 stopped. `python -m trainer train --help` explains the settings.
"""
_MOVED = ("fit", "score", "example")  # to files/
_VERSIONED = ("show", "rollback", "rebuild")
_COMMANDS = ("train", "list", "rescore", "track", "launch", *_VERSIONED)


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
    settings = load(Settings, prefix="TRAINER", argv=flags, description=USAGE)
    log.configure("trainer", settings.log_format)
    publication = Publication(settings.kafka_bootstrap, settings.kafka_properties, settings.model_name)
    try:
        return _command(command, version, settings, publication)
    except NotPublishable as error:
        raise SettingsError(str(error)) from error


def _command(command: str, version: int, settings: Settings, publication: Publication) -> int:
    """Run any command but launch. Returns the exit code. Raises NotPublishable, SettingsError, WorldDown."""
    if command == "train":
        from trainer import train

        check_signals()
        return train.run(settings, publication, life.Stop().install())
    if command == "rebuild":
        from trainer.history import rebuild

        return rebuild.run(settings, newest(publication.history(), version), life.Stop().install())
    if command == "track":
        from trainer.history import track

        return track.run(settings, publication.history(), life.Stop().install())
    if command == "rescore":
        from trainer.history import rescore

        return rescore.run(settings, publication.history(), life.Stop().install())
    if command == "list":
        print(listing(publication.history(), publication.champion()))
    elif command == "show":
        print(pretty(newest(publication.history(), version).manifest))
    else:
        manifest = publication.roll_back(version)
        print(f"version {version} is the champion again: {'; '.join(manifest.decision.reasons)}")
    return 0


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


def listing(history: Sequence[Entry], champion: Entry | None) -> str:
    """A line for each decision, oldest first; the champion's last line is marked."""
    last_line = {entry.manifest.version: line for line, entry in enumerate(history)}
    marked = last_line.get(champion.manifest.version) if champion else None
    rows: list[list[object]] = []
    for line, manifest in enumerate(entry.manifest for entry in history):
        verdict = "published" if manifest.decision.published else "refused"
        candidate = manifest.metrics.get("candidate", {})
        measured = [candidate.get(name) for name in ("recall", "auroc", "false_alarms_per_car_week")]
        reasons = "; ".join(manifest.decision.reasons)
        about = [manifest.version, manifest.created_at, verdict, *measured, manifest.threshold, reasons]
        rows.append(["*" if line == marked else "", *about])
    header = ["", "version", "created", "decision", "recall", "auroc", "false alarms", "threshold", "reasons"]
    return table(header, rows)


if __name__ == "__main__":
    main()
