"""`trainer rebuild VERSION`: the same model again from its manifest, which proves what that says.

The same offsets, seed and settings give the same bytes on a CPU with the same libraries; elsewhere the
largest difference of a weight says how far apart the two are.
"""

import dataclasses
import logging

import numpy as np

from contract.manifest import Manifest, sha256
from plumbing.life import Stop, WorldDown
from trainer import capacity, reading, train
from trainer.judge import decision
from trainer.model.domain import fleet_domain
from trainer.model.learning import learn, load_tensorflow
from trainer.publication import Entry
from trainer.settings import Settings
from trainer.split import parts_of

_log = logging.getLogger("trainer")

SAME, DIFFERENT = 0, 3  # exit codes


def run(told: Settings, entry: Entry, stop: Stop) -> int:
    """Learn again and compare; says what differs. Returns the exit code. Raises WorldDown, Stopped."""
    manifest = entry.manifest
    told = _as_then(told, manifest)
    if (here := told.git_revision or decision.git_revision()) != manifest.git_revision:
        _log.warning("other source", extra={"now": here, "then": manifest.git_revision})
    load_tensorflow()
    offsets = {topic: dict(parts) for topic, parts in manifest.training_offsets.items()}
    data = reading.read_again(told, offsets, stop)
    memory = train.memory_of(told, capacity.sample_interval_s(data.telemetry))
    signals, car = train.training_rows(data, parts_of(data.telemetry.cars), memory)
    graph, _ = learn(fleet_domain(), signals, car, memory, manifest.seed, steps_max=told.steps_max, stop=stop)
    tflite = graph.convert()
    if tflite == entry.tflite:
        print(f"version {manifest.version}: the same {len(tflite)} bytes, sha256 {sha256(tflite)}")
        return SAME
    print(f"version {manifest.version}: not the same bytes; {difference(tflite, entry.tflite)}")
    return DIFFERENT


def _as_then(told: Settings, manifest: Manifest) -> Settings:
    """The settings that the learning depends on, as the manifest has them. Raises WorldDown without them."""
    then = dict(manifest.metrics.get("settings", {}))
    if missing := [name for name in train.LEARNING_SETTINGS if name not in then]:
        raise WorldDown(f"version {manifest.version} does not say {', '.join(missing)}: it cannot be rebuilt")
    then["edge_names"] = tuple(then["edge_names"])
    return dataclasses.replace(told, **then)


def difference(rebuilt: bytes, kept: bytes) -> str:
    """In words: the largest difference of a weight between two graphs, or that they are not alike."""
    ours, theirs = _weights(rebuilt), _weights(kept)
    if [weight.shape for weight in ours] != [weight.shape for weight in theirs]:
        return "another graph: its constants differ in number or shape"
    largest = max(
        (float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True) if a.size), default=0
    )
    return f"the largest difference of a weight is {largest:.3g}"


def _weights(tflite: bytes) -> list[np.ndarray]:
    """The graph's float constants, in their order."""
    from ai_edge_litert.interpreter import Interpreter as LiteRt

    graph = LiteRt(model_content=tflite, num_threads=1)
    found = []
    for detail in graph.get_tensor_details():
        if detail["dtype"] is np.float32:
            try:
                found.append(graph.get_tensor(detail["index"]))
            except ValueError:  # no constant: it has no value before the graph runs
                continue
    return found
