"""python -m trainer: train (the default), list, show, rollback, rebuild, launch."""

import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from contract.manifest import Manifest
from plumbing import life, log, settings
from plumbing.settings import SettingsError
from trainer.model.domain import fleet_domain
from trainer.model.state import state_columns
from trainer.publication import Entry, NotPublishable, Publication, earlier
from trainer.settings import Settings
from trainer.table import table

USAGE = """\
usage: python -m trainer [COMMAND] [settings]

  train             train on the replicated log and publish what passes the gate (the default)
  list              every version, what was decided about it, and which one is the champion
  show VERSION      the manifest of a version
  rollback VERSION  publish an earlier version again
  rebuild VERSION   learn a version again from its manifest, and say whether it is the same
  launch            start the training Job in a Kubernetes cluster and follow it (launch --help)

Detectors from a plain CSV or Parquet file, without Kafka: `python -m files --help`.

Exit codes: 0 done, 1 the world is down, 2 bad settings or no such version, 3 refused by the gate,
143 stopped. `python -m trainer train --help` explains the settings.
"""
_EXIT_NO_SUCH_VERSION = 2
_MOVED = ("fit", "score", "example")
_VERSIONED = ("show", "rollback", "rebuild")
_COMMANDS = ("train", "list", "launch", *_VERSIONED)


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] in (["--help"], ["-h"], ["help"]):
        print(USAGE)
        return 0
    if arguments[:1] == ["launch"]:
        from trainer.launch import command as launch

        return launch.main(arguments)
    if arguments[:1] in ([name] for name in _MOVED):
        _run_files(arguments)
    command, version, flags = split_command(arguments)
    told = settings.load(Settings, prefix="TRAINER", argv=flags, environ=os.environ, description=USAGE)
    log.configure("trainer", told.log_format)
    publication = Publication(told.kafka_bootstrap, told.kafka_properties, told.model_name)
    if command == "train":
        from trainer import train

        check_signals()
        return train.run(told, publication, life.Stop().install())
    if command == "list":
        print(listing(publication.history(), publication.champion()))
        return 0
    return _of_version(command, version, told, publication)


def check_signals() -> None:
    """Raises SettingsError where the signals' settings are none, or have more than a car's state holds."""
    try:
        state_columns(fleet_domain())
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _run_files(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by `python -m files`: the old names of its commands still work."""
    print(f"`python -m trainer {arguments[0]}` is now `python -m files {arguments[0]}`", file=sys.stderr)
    os.execv(sys.executable, [sys.executable, "-m", "files", *arguments])


def _of_version(command: str, version: int, told: Settings, publication: Publication) -> int:
    try:
        if command == "show":
            entry = newest(publication.history(), version)
            print(pretty(entry.manifest))
        elif command == "rebuild":
            from trainer import rebuild

            return rebuild.run(told, newest(publication.history(), version), life.Stop().install())
        else:
            manifest = publication.roll_back(version)
            print(f"version {version} is the champion again: {'; '.join(manifest.decision.reasons)}")
    except NotPublishable as error:
        print(error, file=sys.stderr)
        return _EXIT_NO_SUCH_VERSION
    return 0


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


def newest(history: Sequence[Entry], version: int) -> Entry:
    """The newest record of a version, published or not. Raises NotPublishable."""
    entries = [entry for entry in history if entry.manifest.version == version]
    return entries[-1] if entries else earlier(history, version)


def listing(history: Sequence[Entry], champion: Entry | None) -> str:
    """One line a decision, oldest first; the champion's last line is marked."""
    rows: list[list[object]] = []
    current = champion.manifest.version if champion else None
    for place, entry in enumerate(history):
        manifest = entry.manifest
        later = any(other.manifest.version == manifest.version for other in history[place + 1 :])
        candidate = manifest.metrics.get("candidate", {})
        rows.append(
            [
                "*" if manifest.version == current and not later else "",
                manifest.version,
                manifest.created_at,
                "published" if manifest.decision.published else "refused",
                *[candidate.get(name) for name in ("recall", "auroc", "false_alarms_per_car_week")],
                manifest.threshold,
                "; ".join(manifest.decision.reasons),
            ]
        )
    header = ["", "version", "created", "decision", "recall", "auroc", "false alarms", "threshold", "reasons"]
    return table(header, rows)


if __name__ == "__main__":
    main()
