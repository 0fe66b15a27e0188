"""`python -m files fit` and `score`: somebody's own file, no Kafka, no car in it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from files import example

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
FAULTY = {name for name, _, _ in example.FAULTS}
COLUMNS = ["--signals", ",".join(example.SIGNALS), "--conditions", ",".join(example.CONDITIONS)]


def _files(*arguments: object, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    # A TensorFlow that another test has imported into this process has set its log level here.
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-m", "files", *map(str, arguments)],
        cwd=ROOT,
        env=env | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def _score(folder: Path, model: str, data: str, *more: object) -> subprocess.CompletedProcess[str]:
    return _files("score", "--model", folder / model, "--data", folder / data, *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pumps.csv, its first four weeks, the rest, one pump alone; and the model `model` of all pumps."""
    path = Path(tmp_path_factory.mktemp("files"))
    done = _files("example", "--out", path / "pumps.csv", "--interval-s", 1800)
    assert done.returncode == 0, done.stderr
    header, *rows = (path / "pumps.csv").read_text().splitlines(keepends=True)
    first = [row for row in rows if row < "2026-01-29"]
    _write(path / "first.csv", header, first)
    _write(path / "rest.csv", header, [row for row in rows if row >= "2026-01-29"])
    _write(path / "alone.csv", header, [row for row in rows if ",pump-03," in row])
    about = ["--group", "pump", "--time", "time", "--out", path / "model"]
    done = _files("fit", "--data", path / "pumps.csv", *COLUMNS, *about)
    assert done.returncode == 0, done.stderr
    (path / "output.txt").write_text(done.stdout)
    (path / "progress.txt").write_text(done.stderr)
    return path


def _write(path: Path, header: str, rows: list[str]) -> None:
    path.write_text(header + "".join(rows))


def _scores(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open() as file:
        return {(row["group"], row["time"]): row for row in csv.DictReader(file)}


def _summary(path: Path) -> dict[str, Any]:
    return dict(json.loads((path / "summary.json").read_text()))


def test_faults_are_found_and_sound_machines_keep_the_budget(folder: Path):
    """Every pump that fails has the highest levels and is in alarm at the end; the others hardly ever are."""
    summary = _summary(folder / "model")
    peaks: dict[str, float] = {}
    for alarm in summary["alarms"]:
        peaks[alarm["machine"]] = max(peaks.get(alarm["machine"], 0), alarm["peak_over_threshold"])
    assert set(sorted(peaks, key=peaks.__getitem__)[-3:]) == FAULTY
    assert all(peaks[name] > 2 for name in FAULTY)
    still_open = {alarm["machine"] for alarm in summary["alarms"] if alarm["closed"] is None}
    assert still_open >= FAULTY
    false = [alarm for alarm in summary["alarms"] if alarm["machine"] not in FAULTY]
    sound_weeks = summary["machine_weeks"] * 9 / 12
    assert len(false) / sound_weeks <= 3 * 0.1  # the budget, and what few alarms vary by


def test_the_signals_of_a_fault_are_named(folder: Path):
    """A worn bearing shakes and gets warm; a drifting pressure sensor shows in the pressure."""
    named = {
        alarm["machine"]: {signal["name"] for signal in alarm["signals"]}
        for alarm in _summary(folder / "model")["alarms"]
        if alarm["closed"] is None
    }
    assert named["pump-03"] & {"vibration", "bearing_temp"}
    assert "pressure" in named["pump-10"]


def test_everything_is_written_and_said(folder: Path):
    """Manifest, graph, states, a score for every row, pictures; progress aside, and tables at the end."""
    names = {path.name for path in (folder / "model").iterdir()}
    assert names == {
        "manifest.json", "model.tflite", "states.npz", "scores.csv", "summary.json",
        "scores.png", "contributions.png", "histogram.png",
    }  # fmt: skip
    rows = len((folder / "pumps.csv").read_text().splitlines()) - 1
    assert len(_scores(folder / "model" / "scores.csv")) == rows
    output, progress = (folder / "output.txt").read_text(), (folder / "progress.txt").read_text()
    assert "peak / threshold" in output
    assert "setting the threshold" in progress
    assert all(" files info: " in line or "XNNPACK" in line for line in progress.splitlines())


def test_the_same_file_is_scored_the_same_again(folder: Path):
    """`score` with all machines new says what `fit` printed, to the last digit."""
    done = _score(folder, "model", "pumps.csv", "--states", "none", "--out", folder / "again")
    assert done.returncode == 0, done.stderr
    assert (folder / "again" / "scores.csv").read_bytes() == (folder / "model" / "scores.csv").read_bytes()


def test_a_file_in_two_halves_is_scored_as_a_whole(folder: Path):
    """Machines go on where the first half left them: scores, levels, alarms are those of the whole."""
    first = _score(folder, "model", "first.csv", "--states", "none", "--out", folder / "half")
    second = _score(folder, "half", "rest.csv")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "12 machines continue from the last row that the model has scored" in second.stdout
    halves = _scores(folder / "half" / "scores.csv") | _scores(folder / "half-rest" / "scores.csv")
    assert halves == _scores(folder / "model" / "scores.csv")


def test_rows_from_before_the_last_ones_make_a_machine_new(folder: Path):
    """A machine that begins before its last scored row is watched anew, and a note says so."""
    done = _score(folder, "model", "rest.csv", "--out", folder / "back")
    assert done.returncode == 0, done.stderr
    assert "12 machines (pump-01, pump-02, pump-03…) begin before" in done.stdout
    assert _summary(folder / "back")["rows_learning"] > 0


def test_one_machine_is_enough(folder: Path):
    """A file without a group column: the machine's own past is its measure, and its fault is found."""
    about = ["--time", "time", "--out", folder / "alone"]
    done = _files("fit", "--data", folder / "alone.csv", *COLUMNS, *about)
    assert done.returncode == 0, done.stderr
    alarms = _summary(folder / "alone")["alarms"]
    assert [alarm["closed"] for alarm in alarms][-1:] == [None]
    assert all(alarm["opened"] > "2026-01-28" for alarm in alarms)  # it begins to fail on the 28th


def test_parquet_without_times_and_with_everything_odd(folder: Path):
    """Machines mixed, gaps, infinite values, a constant and an empty column: treated and reported."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = np.random.default_rng(1)
    rows, machine = 4000, np.tile(["a", "b"], 2000)
    load = chance.normal(size=rows)
    columns = {
        "machine": machine,
        "load": load,
        "heat": 3 * load + chance.normal(0, 0.2, rows),
        "noise": chance.normal(size=rows),
        "constant": np.full(rows, 7),
        "empty": np.full(rows, np.nan),
    }
    columns["heat"][3000::2] += 2.0
    columns["noise"][::50] = np.inf
    columns["heat"][5::40] = np.nan
    pq.write_table(pa.table(columns), folder / "odd.parquet")
    about = ["--conditions", "load", "--group", "machine", "--interval-s", 60, "--out", folder / "odd"]
    done = _files("fit", "--data", folder / "odd.parquet", "--signals", "heat,noise,constant,empty", *about)
    assert done.returncode == 0, done.stderr
    summary = _summary(folder / "odd")
    assert summary["notes"] == [
        "noise: 80 infinite values were taken as missing",
        "empty has no value in the training rows and was left out",
        "constant is constant in the training rows and was left out",
    ]
    assert {alarm["machine"] for alarm in summary["alarms"] if alarm["closed"] is None} == {"a"}
    scored = pq.read_table(folder / "odd" / "scores.parquet")
    assert scored.column_names == ["time", "group", "score", "level", "alarm", "top_signals"]
    assert scored.num_rows == rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--data", "{folder}/pumps.csv", "--signals", "flo", "--out", "{folder}/x"], "is it flow?"),
        (["fit", "--data", "{folder}/none.csv", "--signals", "a", "--out", "{folder}/x"], "No such file"),
        (["fit", "--data", "{folder}/pumps.csv", "--signals", "flow", "--out", "{folder}"], "another --out"),
        (["fit", "--data", "x.csv", "--signals", "a,a", "--out", "x"], "--signals names a twice"),
        (["fit", "--data", "x.csv", "--signals", "a", "--out", "x", "--memory-s", "-1"], "must be above 0"),
        (["fit", "--data", "x.csv", "--out", "x"], "--signals or FIT_SIGNALS must be set"),
        (["score", "--model", "{folder}", "--data", "{folder}/pumps.csv"], "is no model"),
        (["score", "--model", "{folder}/model", "--data", "{folder}/other.csv"], "has no column flow"),
        (["score", "--model", "{folder}/model", "--data", "x.csv", "--out", "{folder}/model"], "own folder"),
        (["example", "--out", "{folder}"], "cannot be written: Is a directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(folder: Path, arguments: list[str], message: str):
    """Exit code 2, the reason on stderr, no traceback, and no TensorFlow loaded for it."""
    (folder / "other.csv").write_text("time,pump,temperature\n2026-01-01,a,1\n")
    done = _files(*[argument.format(folder=folder) for argument in arguments], timeout_s=30)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if " files info: " not in line]
    assert len(lines) == 1
    assert message in lines[0]
