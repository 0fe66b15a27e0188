"""`python -m loadtest scale` with a small fleet: the files, tables and figures of a run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.java import ROOT

pytestmark = pytest.mark.integration

PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000")) + 300
COMPONENTS = {"simulator", "mqtt", "bridge", "edge", "scorer", "mirror", "cloud"}


def _scale(run_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "loadtest", "scale", "--run-dir", str(run_dir), *arguments]
    return subprocess.run(
        [*argv, "--port-offset", str(PORT_OFFSET)],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, detector: Any) -> tuple[Path, str, dict[str, Any]]:
    """(run folder, what was printed, summary.json) of 300 cars, two shards with a bridge each, 9 s."""
    folder = tmp_path_factory.mktemp("scale")
    model = folder / "champion.record"
    model.write_bytes(detector.record(threshold=5.0))
    done = _scale(
        folder / "run", "--cars", "300", "--rate", "300", "--minutes", "0.15", "--connect-s", "1",
        "--warm-s", "1", "--shards", "2", "--bridges", "2", "--processes", "2", "--scorers", "1",
        "--model", str(model), "--jvm", "c1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run", done.stdout, json.loads((folder / "run/summary.json").read_text())


@pytest.mark.measuring
def test_the_fleet_connects_and_nothing_is_lost(ended: Any):
    """Every stage of the ledger has every record that a car sent."""
    _, _, summary = ended
    assert summary["connected"] == 300
    assert summary["lost"] == 0
    assert [stage["distinct"] for stage in summary["stages"]] == [summary["stages"][0]["expected"]] * 4
    assert summary["stages"][0]["expected"] > 300 * 9


@pytest.mark.measuring
def test_the_summary_has_its_figures(ended: Any):
    """Rates, latencies, and CPU and memory of every component, measured over the hold."""
    _, _, summary = ended
    assert summary["seconds_to_connect"] > 0
    assert 200 < summary["rate_msgs_per_s"] < 400
    for name in ("car_to_anomaly_ms", "puback_ms"):
        assert 0 < summary[name]["p50"] <= summary[name]["p99"]
    assert set(summary["components"]) == COMPONENTS
    for use in summary["components"].values():
        assert use["cpu_percent"] > 0
        assert use["rss_mib"] > 1
    assert {name: summary["components"][name]["processes"] for name in ("mqtt", "bridge", "simulator")} == {
        "mqtt": 2, "bridge": 2, "simulator": 2,
    }  # fmt: skip
    assert {bar["what"]: bar["met"] for bar in summary["bars"]}["records lost at any stage"] is True


@pytest.mark.measuring
def test_progress_tables_and_plot_are_there(ended: Any):
    """A line of progress, the ledger, the components, the bars, and a PNG."""
    folder, printed, _ = ended
    for part in ("hold: ", "300 cars", "Ledger", "Components over", "Bars", "summary.json"):
        assert part in printed
    assert (folder / "timeline.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--cars", "900000", "--shards", "2"), "--shards"),
        (("--cars", "10", "--rate", "1000"), "more --cars"),
        (("--bridges", "3", "--shards", "2", "--cars", "100", "--rate", "10"), "fewer --bridges"),
        (("--scorers", "13", "--cars", "100", "--rate", "10"), "--scorers 12"),
    ],
)
def test_impossible_settings_are_refused_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], says: str
):
    """The message says what to change."""
    done = _scale(tmp_path / "run", *arguments)
    assert done.returncode != 0
    assert says in done.stderr
    assert not (tmp_path / "run/logs").exists()
