"""The command line, what it shows, and what it refuses."""

import dataclasses
import importlib.util
import os
import sys
from typing import Any

import pytest

from contract.manifest import Decision, Manifest
from plumbing.settings import SettingsError, load
from trainer.__main__ import become_files, listing, main, pretty, split_command
from trainer.judge.comparison import as_text
from trainer.publication import Entry, NotPublishable, newest, newest_published
from trainer.settings import Settings
from trainer.table import table

JUDGED = {
    "recall": 0.125,
    "auroc": 0.75,
    "false_alarms_per_car_week": 0.001,
    "suspect_share": 0.0,
    "threshold": 1.7,
}
METRICS = {
    "labels": "growing deviations",
    "candidate": JUDGED,
    "champion": {},
    "baselines": {"max_abs_z": JUDGED | {"recall": 0.01}, "mahalanobis": JUDGED | {"recall": 0.06}},
}
REFUSED = Decision(published=False, reasons=("not better than max|z|",))
ROLLED_BACK = Decision(published=True, reasons=("rolled back instead of version 3",))


@pytest.fixture
def history(detector: Any) -> list[Entry]:
    """Versions 1 published, 2 refused, 3 published, then back to 1."""
    manifests = [
        detector.manifest(1, metrics=METRICS),
        detector.manifest(2, metrics=METRICS, decision=REFUSED),
        detector.manifest(3, metrics=METRICS),
        detector.manifest(1, metrics=METRICS, decision=ROLLED_BACK),
    ]
    return [Entry(manifest, detector.tflite) for manifest in manifests]


def test_the_list_shows_every_decision_and_one_champion(history: list[Entry]) -> None:
    """The marker is on the last line of the champion's version."""
    lines = listing(history, history[-1]).splitlines()
    assert len(lines) == 2 + 4
    assert [line.startswith("*") for line in lines[2:]] == [False, False, False, True]
    assert "refused" in lines[3]
    assert "not better than max|z|" in lines[3]
    assert "rolled back instead of version 3" in lines[5]


def test_the_list_shows_a_trial(detector: Any, history: list[Entry]) -> None:
    """The challenger with its mark and share, a withdrawn one by that word."""
    on_trial = Decision(published=True, reasons=("passed the gate",), share=0.1, held=True)
    withdrawn = Decision(published=False, reasons=("withdrawn: by hand",))
    more = [detector.manifest(4, decision=on_trial), detector.manifest(5, decision=withdrawn)]
    entries = [*history, *(Entry(manifest, detector.tflite) for manifest in more)]
    lines = listing(entries, history[-1], entries[-2]).splitlines()
    assert [line[0] for line in lines[2:]] == [" ", " ", " ", "*", "+", " "]
    assert "on trial, share 0.1, held" in lines[6]
    assert "withdrawn  " in lines[7]


def test_an_empty_history_is_an_empty_table() -> None:
    """Before the first training there is a header and nothing under it."""
    assert len(listing([], None).splitlines()) == 2


def test_a_refused_or_unknown_version_cannot_come_back(history: list[Entry]) -> None:
    """Only a version that passed the gate can be published again; the message says why not."""
    assert newest_published(history, 1).manifest.decision == ROLLED_BACK
    with pytest.raises(NotPublishable, match=r"version 2 was refused: not better than max\|z\|"):
        newest_published(history, 2)
    with pytest.raises(NotPublishable, match="no version 9; known are 1, 2, 3"):
        newest_published(history, 9)
    with pytest.raises(NotPublishable, match="known are none"):
        newest_published([], 1)


def test_a_withdrawn_version_can_be_tried_again_but_does_not_roll_back(detector: Any) -> None:
    """It passed the gate; the champion it never was."""
    decisions = (
        Decision(published=True, reasons=("passed the gate",), share=0.0),
        Decision(published=False, reasons=("withdrawn: by hand",)),
    )
    history = [Entry(detector.manifest(3, decision=each), detector.tflite) for each in decisions]
    assert newest_published(history, 3).manifest.decision == decisions[0]
    with pytest.raises(NotPublishable, match="version 3 was never the champion: promote 3"):
        newest_published(history, 3, as_champion=True)


def test_a_refused_version_can_be_shown(history: list[Entry]) -> None:
    """The manifest says why a candidate was refused."""
    assert newest(history, 2).manifest.decision == REFUSED
    with pytest.raises(NotPublishable, match="no version 9"):
        newest(history, 9)


def test_the_decision_is_a_table_with_reasons(history: list[Entry]) -> None:
    """A row for the candidate and each baseline, none for a missing champion; a line for each reason."""
    text = as_text(dataclasses.replace(history[1].manifest, parent=None))
    assert "labels: growing deviations" in text
    assert [line.split()[0] for line in text.splitlines()[3:6]] == ["candidate", "max_abs_z", "mahalanobis"]
    assert "version 2 REFUSED:\n  - not better than max|z|" in text
    assert "champion" not in text


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], ("train", 0, [])),
        (["--seed", "2"], ("train", 0, ["--seed", "2"])),
        (["train", "--seed", "2"], ("train", 0, ["--seed", "2"])),
        (["list"], ("list", 0, [])),
        (["show", "3"], ("show", 3, [])),
        (["rollback", "12", "--model-name", "x"], ("rollback", 12, ["--model-name", "x"])),
        (["rollback", "--help"], ("rollback", 0, ["--help"])),
        (["promote", "3", "--share", "0.1"], ("promote", 3, ["--share", "0.1"])),
        (["withdraw", "3"], ("withdraw", 3, [])),
        (["hold", "3"], ("hold", 3, [])),
    ],
)
def test_commands(arguments: list[str], command: tuple[str, int, list[str]]) -> None:
    """Train is the default; show and rollback take a version."""
    assert split_command(arguments) == command


@pytest.mark.parametrize(
    "arguments", [["tarin"], ["show"], ["rollback", "three"], ["show", "-1"], ["promote"]]
)
def test_wrong_commands_are_refused(arguments: list[str]) -> None:
    """The message names what was wrong."""
    with pytest.raises(SettingsError, match=arguments[0]):
        split_command(arguments)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--kafka-bootstrap", "nowhere"], "--kafka-bootstrap"),
        (["--wait-records", "0"], "--wait-records"),
        (["--wait-records", "10", "--records-max", "5"], "--wait-records"),
        (["--wait-seconds", "-1"], "--wait-seconds"),
        (["--steps-max", "0"], "--steps-max"),
        (["--memory-s", "9", "--learning-s", "8"], "--learning-s"),
        (["--false-alarms-per-car-week", "0"], "--false-alarms-per-car-week"),
        (["--label-window-s", "0"], "--label-window-s"),
        (["--labelled-cars-min", "0"], "--labelled-cars-min"),
        (["--edge-names", ""], "--edge-names"),
        (["--model-name", ""], "--model-name"),
        (["--seed", "one"], "--seed"),
        (["--share", "1.5"], "--share"),
    ],
)
def test_a_wrong_setting_refuses_the_start(argv: list[str], named: str) -> None:
    """The message names the setting."""
    environ = {"TRAINER_KAFKA_BOOTSTRAP": "localhost:29092"}
    with pytest.raises(SettingsError, match=named):
        load(Settings, prefix="TRAINER", argv=argv, environ=environ)


def test_tables_are_aligned() -> None:
    """Numbers to the right, words to the left, nothing for None, no blanks at the end of a line."""
    text = table(["name", "n"], [["a", 1], ["long name", 20], ["c", None]])
    assert text.splitlines() == [
        "name        n",
        "---------  --",
        "a           1",
        "long name  20",
        "c           -",
    ]


def test_a_shown_manifest_is_json_and_fits_a_screen(history: list[Entry]) -> None:
    """Rows of numbers stand on one line, and it is read back as the same manifest."""
    text = pretty(history[0].manifest)
    assert len(text.splitlines()) < 200
    assert Manifest.from_json(text) == Manifest.from_json(history[0].manifest.to_json())


@pytest.mark.parametrize("command", ["fit", "score", "example"])
def test_the_old_name_of_a_command_runs_the_new_one_and_says_so(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m trainer fit …` becomes `python -m files fit …` with the same arguments."""
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, argv: became.append(argv))
    become_files([command, "--data", "x.csv"])
    assert became == [[sys.executable, "-m", "files", command, "--data", "x.csv"]]
    assert f"is now `python -m files {command}`" in capsys.readouterr().err


def test_where_files_is_not_installed_an_old_name_says_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer's image has no files/."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match="is now `python -m files fit`, which is not installed here"):
        become_files(["fit"])


@pytest.mark.parametrize("command", ["launch", "train", "list"])
def test_every_command_takes_flags_behind_its_name(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The name itself is not passed on as a flag; --help explains the command's settings."""
    monkeypatch.setattr(sys, "argv", ["trainer", command, "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    monkeypatch.setattr(sys, "argv", ["trainer", command, "--no-such-flag", "1"])
    with pytest.raises(SystemExit):
        main()
    assert "unrecognized arguments: --no-such-flag 1\n" in capsys.readouterr().err
