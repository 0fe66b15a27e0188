"""`python -m loadtest plan --measure --check`: one small deployment carried through three rates."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import costs
from local.java import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.measuring]

PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000")) + 250


def test_a_deployment_is_measured_at_every_rate_and_the_held_out_one_is_predicted(tmp_path: Path):
    """Half of the cars first, then all; what is written can be fitted, without the rate that is held out."""
    path = tmp_path / "measured.json"
    told = {
        "rates": "200,600", "check-rates": "400", "measure-cars": 400, "warm-s": 2, "minutes": 0.15,
        "measured": path, "run-dir": tmp_path / "run", "port-offset": PORT_OFFSET,
    }  # fmt: skip
    flags = [part for name, value in told.items() for part in (f"--{name}", str(value))]
    argv = [sys.executable, "-m", "loadtest", "plan", "--measure", "--check", *flags]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=360)
    # 1: predicted, and more than 20 % off, as a few seconds right after the start may be.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "the sum is at most" in done.stdout
    runs = json.loads(path.read_text())["runs"]
    assert [run["cars"] for run in runs] == [200, 400, 400]
    assert [round(run["rate"], -2) for run in runs] == [600, 200, 600]
    assert [run["processes"]["simulator"] for run in runs] == [1, 2, 2]
    assert set(costs.fit(costs.read(path)[1])) == set(costs.COMPONENTS)
