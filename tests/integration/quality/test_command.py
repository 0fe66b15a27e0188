"""`python -m quality`, small: writes what it promises, and leaves nothing behind when it is ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.measuring]

ROOT = Path(__file__).parents[3]
SMALL = (
    *("--seeds", "2", "--hours", "60", "--interval-s", "300", "--training-cars", "24"),
    *("--calibration-cars", "24", "--healthy-cars", "16", "--faulty-cars", "24", "--changed-cars", "8"),
    *("--labelled-cars", "24"),
)
PLAIN = "chance,max_abs_z,mahalanobis,z_baseline,linear_conditional"
DEADLINE_S = 300.0


@contextmanager
def _command(*flags: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of a group of its own, ended with the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "quality", *flags],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ended(*flags: str) -> tuple[int, str]:
    with _command(*flags) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
        return process.returncode, output


def _group_of(session: int) -> list[int]:
    """Processes of a session, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, *rest = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(rest[2]) == session and state != "Z":
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def scorecard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(run folder, what the command printed) of one small run."""
    folder = tmp_path_factory.mktemp("quality")
    code, output = _ended(*SMALL, "--detectors", PLAIN, "--spoilt", "z_baseline", "--run-dir", str(folder))
    assert code == 0, output
    return folder, output


def test_the_scorecard_is_written_in_the_promised_form(scorecard: tuple[Path, str]):
    """All detectors, all kinds of fault that occurred, figures between 0 and 1."""
    card: dict[str, Any] = json.loads((scorecard[0] / "scorecard.json").read_text())
    assert list(card["detectors"]) == PLAIN.split(",")
    assert card["seeds"] == [1, 2]
    for row in card["detectors"].values():
        assert 0 <= row["recall_at_0.1"] <= row["recall_at_1"] <= 1 or row is card["detectors"]["chance"]
        assert set(row["per_fault"]) == set(card["faults"])
        assert 0 <= row["auroc"] <= 1
        assert set(row["during_changes"]) == {"firmware", "cold_snap", "new_model"}
        for during in row["during_changes"].values():
            assert 0 <= during["recall_at_0.1"] <= 1
            assert 0 <= during["recall_without_at_0.1"] <= 1
    assert set(card["spoilt"]) == {"z_baseline"}


def test_memory_beats_chance(scorecard: tuple[Path, str]):
    """Even on a fleet as small as this the truth, the scores and the alerts belong together."""
    detectors = json.loads((scorecard[0] / "scorecard.json").read_text())["detectors"]
    assert detectors["z_baseline"]["recall_at_1"] > detectors["chance"]["recall_at_1"] + 0.2
    assert detectors["z_baseline"]["auroc"] > 0.55 > detectors["chance"]["auroc"] > 0.45


def test_our_model_is_the_trainers_graph_and_names_components(tmp_path: Path):
    """Learned, converted, replayed and explained; with faulty cars among those it learns from, too.

    Beside it the supervised one, which learns from the failures of other cars.
    """
    flags = (*SMALL, "--seeds", "1", "--detectors", "chance,lstm_supervised,ours", "--spoilt", "ours")
    code, output = _ended(*flags, "--run-dir", str(tmp_path))
    assert code == 0, output
    card = json.loads((tmp_path / "scorecard.json").read_text())
    chance, lstm, ours = card["detectors"].values()
    assert lstm["recall_at_1"] > chance["recall_at_1"] + 0.2
    assert ours["recall_at_1"] > chance["recall_at_1"] + 0.2
    assert 0 <= ours["component_named"] <= 1
    assert chance["component_named"] is None
    assert card["spoilt"]["ours"]["recall_at_1"] > chance["recall_at_1"]
    assert "reached" in output


def test_pictures_and_tables_are_made_and_samples_removed(scorecard: tuple[Path, str]):
    """What a person looks at; gigabytes of samples are gone."""
    folder, output = scorecard
    for name in ("recall", "leads", "budgets"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Scorecard over 2 seeds" in output
    assert not (folder / "data").exists()


def test_kept_samples_are_used_again(tmp_path: Path):
    """With --keep-data a second run simulates nothing, and says the same."""
    flags = (*SMALL, "--seeds", "1", "--keep-data", "--run-dir", str(tmp_path), "--spoilt", "")
    cards = []
    for _ in range(2):
        code, output = _ended(*flags, "--detectors", "z_baseline")
        assert code == 0, output
        card = json.loads((tmp_path / "scorecard.json").read_text())
        cards.append(
            {name: row for name, row in card["detectors"]["z_baseline"].items() if name != "seconds"}
        )
        stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("data/*/seed-1/*.f4")}
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.glob("data/*/seed-1/*.f4")}
    assert cards[0] == cards[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_ended_no_process_and_no_sample_is_left(tmp_path: Path, number: signal.Signals):
    """Ctrl-C goes to the whole group, a supervisor's signal to the command alone."""
    with _command(*SMALL, "--hours", "4000", "--detectors", PLAIN, "--run-dir", str(tmp_path)) as process:
        deadline = time.monotonic() + DEADLINE_S
        while len(_group_of(process.pid)) < 3 or not list(tmp_path.glob("data/*/*/*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        output, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130, output
        while _group_of(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "scorecard.json").exists()


def test_a_killed_command_leaves_no_process(tmp_path: Path):
    """SIGKILL cannot be heard: the kernel ends the seeds' processes."""
    with _command(*SMALL, "--hours", "4000", "--detectors", PLAIN, "--run-dir", str(tmp_path)) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not list(tmp_path.glob("data/*/seed-2/*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
        process.wait()
        while _group_of(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_seed_that_fails_is_said_and_ends_the_run(tmp_path: Path):
    """Status 1, and what to do; here a kept file that was cut off."""
    flags = (*SMALL, "--seeds", "1", "--detectors", "chance", "--run-dir", str(tmp_path), "--keep-data")
    assert _ended(*flags)[0] == 0
    (kept,) = tmp_path.glob("data/*/seed-1/healthy.f4")
    os.truncate(kept, 1000)
    code, output = _ended(*flags)
    assert code == 1
    assert "remove it" in output
