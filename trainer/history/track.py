"""`trainer track`: MLflow as a view of `models.log`, which stays the only registry.

A run is RUNNING until all of it is written: what a killed process left is written again by the next one.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from contract.topics import MODELS_LOG
from plumbing import kafka
from plumbing.life import Stop, WorldDown
from plumbing.settings import SettingsError
from trainer import reading
from trainer.history.runs import RECORD, ModelRun, model_run
from trainer.publication import Entry
from trainer.settings import Settings
from trainer.table import table

_SQLITE = "sqlite:///"
_RUNS_MAX, _PARAMS_MAX = 50_000, 100  # of one call of MLflow


def run(settings: Settings, history: Iterable[Entry], stop: Stop) -> int:
    """Add a run for each record that has none, print a table. Returns the exit code.

    Raises SettingsError where MLflow is not installed, WorldDown, Stopped.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # otherwise it reports its use to its makers
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise SettingsError(
            f"track needs MLflow ({error}): pip install -c constraints.txt -e '.[track]'"
        ) from error
    topic_id = kafka.topic_ids(settings.kafka_bootstrap, settings.kafka_properties, [MODELS_LOG])[MODELS_LOG]
    rows, run_ids = list[list[object]](), dict[int | None, str]()  # the latter by version
    try:
        client, experiment = _experiment(MlflowClient, settings)
        runs = client.search_runs([experiment], max_results=_RUNS_MAX)
        known = {each.data.tags.get(RECORD): each.info for each in runs}
        for entry in history:
            reading.stop_if_asked(stop)
            shown = model_run(entry, topic_id)
            there = known.get(shown.tags[RECORD])
            # Tags are written with the run, in one transaction: from here on the record has its run.
            run_id = there.run_id if there else _begun(client, experiment, shown)
            written = "" if there and there.status == "FINISHED" else "completed" if there else "added"
            if written:
                _write(client, run_id, shown, entry, run_ids.get(entry.manifest.parent, ""))
            run_ids[entry.manifest.version] = run_id
            rows.append([shown.name, run_id, written])
    except MlflowException as error:
        raise WorldDown(f"MLflow at {settings.tracking_uri}: {error}") from error
    print(table(["model", "run", ""], rows))
    print(f"{len(rows)} records of {MODELS_LOG}, {sum(bool(row[-1]) for row in rows)} written")
    print(f"look at them: mlflow ui --backend-store-uri {settings.tracking_uri}")
    return 0


def _experiment(make: Any, settings: Settings) -> tuple[Any, str]:
    """(client, id of the experiment with the model's name); artifacts lie beside a SQLite file."""
    uri, location = settings.tracking_uri, None
    if uri.startswith(_SQLITE):
        folder = Path(uri.removeprefix(_SQLITE)).resolve().parent
        folder.mkdir(parents=True, exist_ok=True)
        location = (folder / "artifacts" / settings.model_name).as_uri()
    client = make(tracking_uri=uri)
    there = client.get_experiment_by_name(settings.model_name)
    known = there.experiment_id if there else client.create_experiment(settings.model_name, location)
    return client, str(known)


def _begun(client: Any, experiment: str, shown: ModelRun) -> str:
    made = client.create_run(experiment, shown.began_ms, dict(shown.tags), shown.name)
    return str(made.info.run_id)


def _write(client: Any, run_id: str, shown: ModelRun, entry: Entry, parent_run: str) -> None:
    """Everything else that the run shows; what a killed process wrote already stays as it is."""
    from mlflow.entities import Metric, Param

    params = [Param(*pair) for pair in shown.params.items()]
    for first in range(0, len(params), _PARAMS_MAX):
        client.log_batch(run_id, params=params[first : first + _PARAMS_MAX])
    client.log_batch(run_id, [Metric(*pair, shown.began_ms, 0) for pair in shown.metrics.items()])
    client.set_tag(run_id, "parent_run", parent_run)
    client.log_text(run_id, entry.manifest.to_json(indent=2), "manifest.json")
    with TemporaryDirectory() as folder:
        graph = Path(folder) / f"{entry.manifest.name}.tflite"
        graph.write_bytes(entry.tflite)
        client.log_artifact(run_id, str(graph))
    client.set_terminated(run_id, "FINISHED", shown.began_ms)
