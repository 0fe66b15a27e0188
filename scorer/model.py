"""A model: a TFLite graph with its manifest, verified before it scores anything. Needs no Kafka client."""

from collections.abc import Callable
from typing import Any

import numpy as np

from contract.errors import Malformed
from contract.manifest import Manifest, unpack
from contract.telemetry import SIGNALS, Floats
from plumbing.settings import SettingsError
from scorer.settings import RuntimeName


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
        self._rows = 0  # that the tensors are allocated for
        self._interpreter = interpreter(runtime)(model_content=tflite, num_threads=1)
        # The order of tensors varies, so they are identified by rank and columns.
        inputs = {detail["shape"][-1]: detail["index"] for detail in self._interpreter.get_input_details()}
        outputs = {tuple(d["shape"][1:]): d["index"] for d in self._interpreter.get_output_details()}
        columns = {len(judged), self.width} - {0}
        if set(inputs) != columns or set(outputs) != {(), *((count,) for count in columns)}:
            raise ValueError(
                f"inputs have {list(inputs)} and outputs {list(outputs)} columns, not {sorted(columns)}"
            )
        self._signals, self._state = inputs[len(judged)], inputs.get(self.width)
        self._score, self._contribution = outputs[()], outputs[len(judged),]
        self._state_after = outputs.get((self.width,))

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

    def _run(self, signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        """Like `step`, with the columns that the graph judges; golden vectors have these."""
        graph = self._interpreter
        if len(signals) != self._rows:  # resizing takes a few µs, less than padding to a fixed size
            graph.resize_tensor_input(self._signals, signals.shape)
            if self._state is not None:
                graph.resize_tensor_input(self._state, state.shape)
            graph.allocate_tensors()
            self._rows = len(signals)
        graph.set_tensor(self._signals, signals)
        if self._state is not None:
            graph.set_tensor(self._state, state)
        graph.invoke()
        after = state if self._state_after is None else graph.get_tensor(self._state_after)
        return graph.get_tensor(self._score), graph.get_tensor(self._contribution), after


def interpreter(runtime: RuntimeName) -> Callable[..., Any]:
    """The interpreter class of the runtime. Raises SettingsError where it is not installed."""
    try:
        if runtime == "litert":
            from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - only one of the two is installed
        else:
            from tflite_runtime.interpreter import Interpreter  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(f"--runtime {runtime} is not installed here: {error}") from error
    return Interpreter  # type: ignore[no-any-return]
