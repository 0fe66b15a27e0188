"""A decision as a run of MLflow, without MLflow."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from contract.manifest import Decision
from trainer.history.runs import RECORD, model_run
from trainer.publication import Entry

METRICS = {
    "labels": "growing deviations",
    "candidate": {"recall": 0.125, "recall_by_fault": {"tyre -10 %": float("nan")}, "parity": 0},
    "settings": {"learning_s": 10.0, "edge_names": ["edge", "north"]},
    "training": {"network": True},
}
OFFSETS = {"edge.telemetry": {0: (5, 17), 1: (0, 9)}}


def test_everything_that_the_manifest_says_is_there(detector: Any) -> None:
    """Numbers are metrics, words are parameters, offsets are ranges of partitions; the parent is named."""
    manifest = detector.manifest(4, parent=3, metrics=METRICS, training_offsets=OFFSETS, threshold=2.5)
    run = model_run(Entry(manifest, detector.tflite, 7), "topic-id")
    assert run.name == "version 4 published"
    assert run.began_ms == 1_767_225_600_000
    assert run.metrics["candidate/recall"] == 0.125
    assert (run.params["threshold"], run.params["settings/learning_s"]) == ("2.5", "10.0")
    assert run.params["components/coolant_circuit"] == "coolant_temp"
    assert run.params["settings/edge_names"] == "edge; north"
    assert run.params["training/network"] == "True"
    assert run.params["parent"] == "3"
    assert run.params["training_offsets/edge.telemetry"] == "0:5-17; 1:0-9"
    assert run.params["tflite_sha256"] == manifest.tflite_sha256
    assert all(re.fullmatch(r"[\w. :/-]{1,250}", name) for name in (*run.metrics, *run.params, *run.tags))


def test_a_run_is_named_by_its_record(detector: Any) -> None:
    """Another log, another offset or another version is another run; the same record is the same run."""
    first = Entry(detector.manifest(1), detector.tflite, 7)
    others = [("b", first), ("a", dataclasses.replace(first, offset=8))]
    others.append(("a", Entry(detector.manifest(2), detector.tflite, 7)))
    records = [model_run(entry, topic_id).tags[RECORD] for topic_id, entry in [("a", first), *others]]
    assert len(set(records)) == 4
    assert model_run(first, "a").tags[RECORD] == records[0]


def test_a_refused_and_a_rolled_back_model_say_why(detector: Any) -> None:
    """The reasons are in the description that MLflow shows, and a tag."""
    refused = Decision(published=False, reasons=("not better than max|z|", "too large"))
    run = model_run(Entry(detector.manifest(2, decision=refused), b""), "a")
    assert run.name == "version 2 refused"
    assert run.tags["mlflow.note.content"] == "refused: not better than max|z|; too large"
    assert run.tags["decision/reasons"] == "not better than max|z|; too large"


def test_a_decision_of_another_kind_shows_all_that_it_says(detector: Any) -> None:
    """Fields that decisions get later are tags without a change here."""

    @dataclass(frozen=True, kw_only=True)
    class Promotion(Decision):
        share: float = 0.1

    run = model_run(Entry(detector.manifest(2, decision=Promotion(published=True)), b""), "a")
    assert run.tags["decision/share"] == "0.1"
