"""`trainer rebuild VERSION`: learn a model again from its manifest, to prove what the manifest says.

The same slice, seed and settings give the same bytes on a CPU with the same libraries; elsewhere the
largest difference of a weight says how far apart the two are.
"""

import dataclasses
import logging
from contextlib import suppress

import numpy as np

from contract.manifest import Manifest, sha256
from plumbing.life import Stop, WorldDown
from trainer import train
from trainer.history import slices
from trainer.model.domain import fleet_domain
from trainer.model.learning import learn, load_tensorflow
from trainer.publication import Entry
from trainer.settings import Settings, git_revision

_log = logging.getLogger("trainer")

EXIT_SAME, EXIT_DIFFERENT = 0, 3


def run(settings: Settings, entry: Entry, stop: Stop) -> int:
    """Learn again, compare, print the difference. Returns the exit code. Raises WorldDown, Stopped."""
    manifest = entry.manifest
    settings = _learning_settings(settings, manifest)
    if (revision := settings.git_revision or git_revision()) != manifest.git_revision:
        _log.warning("other source", extra={"now": revision, "then": manifest.git_revision})
    load_tensorflow()
    data = train.with_signals(slices.read_again(settings, manifest, stop), manifest.signals)
    rows = train.training_rows(data, settings)
    graph, _ = learn(
        fleet_domain(manifest.signals),
        rows.signals,
        rows.car,
        rows.window,
        manifest.seed,
        steps_max=settings.steps_max,
        stop=stop,
    )
    tflite = graph.convert()
    if tflite == entry.tflite:
        print(f"version {manifest.version}: the same {len(tflite)} bytes, sha256 {sha256(tflite)}")
        return EXIT_SAME
    print(f"version {manifest.version}: not the same bytes; {difference(tflite, entry.tflite)}")
    return EXIT_DIFFERENT


def _learning_settings(settings: Settings, manifest: Manifest) -> Settings:
    """`settings` with those of the manifest on which the learning depends. Raises WorldDown without them."""
    kept = dict(manifest.metrics.get("settings", {}))
    if missing := [name for name in train.LEARNING_SETTINGS if name not in kept]:
        raise WorldDown(f"version {manifest.version} does not say {', '.join(missing)}: it cannot be rebuilt")
    kept["edge_names"] = tuple(kept["edge_names"])
    return dataclasses.replace(settings, **kept)


def difference(rebuilt: bytes, published: bytes) -> str:
    """The largest difference of a weight between two graphs, in words."""
    ours, theirs = _weights(rebuilt), _weights(published)
    if [weight.shape for weight in ours] != [weight.shape for weight in theirs]:
        return "another graph: its constants differ in number or shape"
    differences = (float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True) if a.size)
    return f"the largest difference of a weight is {max(differences, default=0):.3g}"


def _weights(tflite: bytes) -> list[np.ndarray]:
    """The graph's float constants, in their order."""
    from ai_edge_litert.interpreter import Interpreter as LiteRt

    graph = LiteRt(model_content=tflite, num_threads=1)
    weights = []
    for detail in graph.get_tensor_details():
        if detail["dtype"] is np.float32:
            with suppress(ValueError):  # not a constant: it has no value before the graph runs
                weights.append(graph.get_tensor(detail["index"]))
    return weights
