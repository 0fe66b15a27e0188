"""`python -m loadtest compat` with one combination: passwords on both sides, classic groups, two kills."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.java import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.measuring]

PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000")) + 350


def test_nothing_is_lost_behind_passwords(tmp_path: Path, detector: Any):
    """The summary has the ledger of the combination."""
    model = tmp_path / "champion.record"
    model.write_bytes(detector.record(threshold=5.0))
    argv = ["--brokers", "mosquitto", "--kafkas", "4.3-classic", "--cars", "200", "--seconds", "3"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loadtest", "compat", *argv, "--port-offset", str(PORT_OFFSET)),
            *("--run-dir", str(tmp_path / "run"), "--model", str(model)),
        ],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads((tmp_path / "summary.json").read_text())["combinations"]
    assert (found["broker"], found["kafka"]) == ("mosquitto", "4.3-classic")
    assert (found["lost"], found["scored_twice"]) == (0, 0)
    assert found["sent"] > 200 * 3
    assert found["us_per_msg"] > 0


def test_an_unknown_broker_is_refused():
    """Naming those that are known."""
    argv = [sys.executable, "-m", "loadtest", "compat", "--brokers", "carrier-pigeon"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode == 2
    assert "mosquitto,hivemq" in done.stderr
