"""The journal under kill -9: no lost sample and no gap."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from simulator.journal import Identity, Journal, path_of

pytestmark = pytest.mark.integration

# Writes samples whose signals all equal their seq and acknowledges all but the last two.
WRITER = """
import itertools
import sys
from pathlib import Path
import numpy as np
from contract.telemetry import SIGNALS
from simulator.journal import Identity, Journal
journal = Journal(Path(sys.argv[1]), Identity(seed=1, first=0, cars=500, ring=12, scenario=7, epoch_ms=0))
everyone = slice(0, 500)
for written in itertools.count():
    seq = (journal.sampled + 1).astype(np.float32)
    journal.append(everyone, 10 * int(seq[0]), np.repeat(seq[:, None], len(SIGNALS), axis=1), seq > 0)
    journal.acknowledged[:] = journal.confirmed[:] = np.maximum(journal.sampled - 2, 0)
    if written == 20:
        print("running", flush=True)
"""


def test_seq_has_no_gap_over_kill_9_and_samples_survive(tmp_path: Path) -> None:
    """If the writer is killed while it writes, every unacknowledged sample is complete and has its seq."""
    path = path_of(tmp_path, 0)
    identity = Identity(seed=1, first=0, cars=500, ring=12, scenario=7, epoch_ms=0)
    reached = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"running\n"
            time.sleep(0.05)
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
        journal = Journal(path, identity)
        assert journal.sampled.min() >= reached + 20
        reached = int(journal.sampled.max())
        for car in range(500):
            waiting = np.arange(journal.acknowledged[car] + 1, journal.sampled[car] + 1)
            _, signals = journal.read(car, waiting)
            assert len(waiting) <= 3
            np.testing.assert_array_equal(signals, np.repeat(waiting[:, None], len(SIGNALS), axis=1))
        journal.close()
