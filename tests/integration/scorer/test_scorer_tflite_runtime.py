"""The scorer's other TFLite runtime, in an environment of its own: it wants an older numpy."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from scorer.model import Model

pytestmark = pytest.mark.integration

K = len(SIGNALS)
ROOT = Path(__file__).parents[3]
PYTHON = ROOT / "var" / "venv-tflite" / "bin" / "python"

SCORE = """
import importlib.util, json, sys
from pathlib import Path
import numpy as np
from scorer.model import Model

model = Model.open(Path(sys.argv[1]).read_bytes(), "tflite-runtime")  # checks the golden vectors
signals = np.load(sys.argv[2])
score, contribution, _ = model.step(signals, np.empty((len(signals), 0), np.float32))
print(json.dumps({
    "numpy": np.__version__,
    "confluent_kafka": importlib.util.find_spec("confluent_kafka") is not None,
    "score": score.tolist(),
    "contribution": contribution.tolist(),
}))
"""


@pytest.fixture
def python() -> Path:
    if not PYTHON.exists():
        newer = "" if sys.version_info < (3, 12) else " (it has no build for this Python: 3.11 is needed)"
        pytest.skip(f"tflite-runtime is NOT TESTED: no {PYTHON}; local/setup --tflite makes it{newer}")
    return PYTHON


def score(python: Path, record: bytes, signals: Any, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the other environment says of a model record and samples (n, K)."""
    (folder / "model").write_bytes(record)
    np.save(folder / "signals.npy", signals)
    command = [python, "-c", SCORE, folder / "model", folder / "signals.npy"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_both_runtimes_score_alike(python: Path, detector: Any, tmp_path: Path) -> None:
    """On numpy 1.26 and without Kafka's client the golden vectors hold, and other samples score the same."""
    signals = (detector.mean + np.random.default_rng(2).normal(size=(257, K)) * 30).astype(np.float32)
    signals[5, 7] = np.nan
    done = score(python, detector.record(), signals, tmp_path)
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert there["numpy"].startswith("1.26.")
    assert not there["confluent_kafka"]
    here = Model.open(detector.record(), "litert").step(signals, np.empty((len(signals), 0), np.float32))
    np.testing.assert_allclose(there["score"], here[0], rtol=1e-5)
    np.testing.assert_allclose(there["contribution"], here[1], rtol=1e-5, atol=1e-9)


def test_bad_models_are_refused_there_too(python: Path, detector: Any, tmp_path: Path) -> None:
    """NaN weights and garbage end in a refusal with its reason, not in the interpreter."""
    weights = detector.tflite.index(detector.mean.tobytes())
    nan = np.full(K, np.nan, "<f4").tobytes()
    broken = detector.tflite[:weights] + nan + detector.tflite[weights + len(nan) :]
    for tflite, reason in ((broken, "golden_vectors"), (b"garbage", "unusable_graph")):
        done = score(python, detector.record(tflite=tflite), detector.mean[None, :], tmp_path)
        assert done.returncode == 1
        assert f"Malformed: {reason}" in done.stderr
