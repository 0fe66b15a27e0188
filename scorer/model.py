"""A model: a TFLite graph with its manifest, verified before it scores anything. Needs no Kafka client."""

import numpy as np

from contract.errors import Malformed
from contract.manifest import Manifest, unpack
from contract.telemetry import SIGNALS, Floats
from plumbing.tflite import Interpreter, RuntimeName


class Model:
    """A graph from signals (n, signals) and state (n, width) to score (n,), contribution (n, signals), state.

    All arrays are float32. For a graph without state the width is 0: the state is an array without columns.
    A model may judge only some signals of the fleet (manifest.signals): its graph gets these by name, and the
    others contribute 0.
    """

    def __init__(self, manifest: Manifest, tflite: bytes, runtime: RuntimeName) -> None:
        """Raises ValueError, RuntimeError or KeyError for a graph with other inputs or outputs."""
        self.manifest = manifest
        self.threshold = np.float32(manifest.threshold)
        self.width = manifest.state.width if manifest.state else 0
        judged = [SIGNALS.index(name) for name in manifest.signals]
        # Columns of the fleet's signals that the graph judges; None if it judges all in the fleet's order.
        self._columns = None if manifest.signals == SIGNALS else np.array(judged, np.intp)
        graph = Interpreter(tflite, len(judged), runtime)
        if graph.state_width != self.width:
            raise ValueError(f"the graph's state has {graph.state_width} columns, not {self.width}")
        # Like `step`, with the columns that the graph judges; golden vectors have these.
        self._run = graph.run

    @classmethod
    def open(cls, record: bytes, runtime: RuntimeName) -> "Model":
        """The model in a framed record of the models topic, with checksum and golden vectors verified.

        Raises Malformed: as `contract.manifest.unpack`, `unusable_graph` where the interpreter cannot run it,
        `golden_vectors` where its results differ from those in the manifest.
        """
        manifest, tflite = unpack(record)
        golden = manifest.golden
        if not np.isfinite(manifest.threshold) or not len(golden):
            raise Malformed("golden_vectors", "no golden vectors or no finite threshold in the manifest")
        try:
            model = cls(manifest, tflite, runtime)
            (first, *_), state = golden.inputs
            model._run(first[:1], state[:1])  # a graph with a fixed number of rows must not pass
            wrong = golden.differences(model._run)
        except (ValueError, RuntimeError, KeyError, IndexError) as error:
            raise Malformed("unusable_graph", str(error)[:500]) from error
        if wrong:
            raise Malformed("golden_vectors", f"{len(wrong)} cars differ: {wrong[0]}")
        return model

    def step(self, signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        """(score (n,), contribution (n, signals), states after (n, width)) of one sample each of n cars."""
        if self._columns is None:
            return self._run(signals, state)
        score, judged, after = self._run(signals.take(self._columns, axis=1), state)
        contribution = np.zeros_like(signals)
        contribution[:, self._columns] = judged
        return score, contribution, after
