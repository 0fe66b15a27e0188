"""`trainer track`: the decisions on a real cluster as runs that MLflow's own client reads."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.manifest import Decision, Manifest
from tests.integration.trainer.conftest import ROOT, environment

pytestmark = pytest.mark.integration

REFUSED = Decision(published=False, reasons=("not better than max|z|",))
METRICS = {"candidate": {"recall": 0.75, "recall_by_fault": {"tyre": 0.5}}, "labels": "workshop reports"}

# The command, in a process that dies by `kill -9` before it writes the manifest of its second run.
DIES = """
import os, sys
from mlflow import MlflowClient
written, log_text = [], MlflowClient.log_text
def dies(*arguments, **named):
    written.append(1)
    if len(written) == 2:
        os.kill(os.getpid(), 9)
    log_text(*arguments, **named)
MlflowClient.log_text = dies
from trainer.__main__ import main
main()
"""


def track(cloud: Any, store: str, program: tuple[str, ...] = ("-m", "trainer")) -> Any:
    """Run the command to its end."""
    flags = ("--kafka-bootstrap", cloud.bootstrap, "--model-name", cloud.model, "--tracking-uri", store)
    return subprocess.run(
        [sys.executable, *program, "track", *flags],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.measuring  # long, and others prove most of it: in make test-all
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of SQLAlchemy
def test_every_decision_is_a_run_whatever_kills_the_command(
    cloud: Any, detector: Any, tmp_path: Path
) -> None:
    """Killed within the second of three: the next one completes it, and one more adds nothing.

    A run has the manifest's numbers, the decision, the offsets, and both files, byte for byte.
    """
    publication, store = cloud.publication(), f"sqlite:///{tmp_path}/mlflow.db"
    publication.open()
    offsets = {"edge.telemetry": {0: (5, 17)}}
    for version, decision in ((1, Decision(published=True)), (2, REFUSED), (3, Decision(published=True))):
        manifest = detector.manifest(
            version, name=cloud.model, parent=1 if version > 1 else None, metrics=METRICS,
            decision=decision, training_offsets=offsets,
        )  # fmt: skip
        publication.write(manifest, detector.tflite)
    assert track(cloud, store, ("-c", DIES)).returncode == -9
    for written, news in ((2, {"completed", "added"}), (0, set())):
        done = track(cloud, store)
        assert done.returncode == 0, done.stderr
        assert f"3 records of models.log, {written} written" in done.stdout
        assert {word for word in ("completed", "added") if word in done.stdout} == news
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name(cloud.model)
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"version 1 published", "version 2 refused", "version 3 published"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    refused = runs["version 2 refused"]
    assert refused.data.metrics["candidate/recall_by_fault/tyre"] == 0.5
    assert refused.data.params["training_offsets/edge.telemetry"] == "0:5-17"
    assert refused.data.tags["decision/reasons"] == "not better than max|z|"
    assert refused.data.tags["parent_run"] == runs["version 1 published"].info.run_id
    files = Path(client.download_artifacts(refused.info.run_id, "", str(tmp_path)))
    assert (files / f"{cloud.model}.tflite").read_bytes() == detector.tflite
    read = Manifest.from_json((files / "manifest.json").read_text())
    assert (read.version, read.decision) == (2, REFUSED)
