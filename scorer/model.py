"""A model in use: a TFLite graph with its manifest, verified before it scores anything."""

from collections.abc import Callable
from typing import Any

import numpy as np

from contract.errors import Malformed
from contract.manifest import Manifest, unpack
from contract.telemetry import SIGNALS, Floats
from plumbing.settings import SettingsError
from scorer.settings import RuntimeName


class Model:
    """The graph `signals (n, 18)` to `score (n,)` and `contribution (n, 18)`, all float32."""

    def __init__(self, manifest: Manifest, tflite: bytes, runtime: RuntimeName) -> None:
        self.manifest = manifest
        self.threshold = np.float32(manifest.threshold)
        self._rows = 0
        self._interpreter = interpreter(runtime)(model_content=tflite, num_threads=1)
        (signals,) = self._interpreter.get_input_details()
        outputs = {len(output["shape"]): output["index"] for output in self._interpreter.get_output_details()}
        self._signals: int = signals["index"]
        self._score, self._contribution = outputs[1], outputs[2]  # told apart by rank, their order varies

    @classmethod
    def open(cls, record: bytes, runtime: RuntimeName) -> "Model":
        """The model in a framed record of the models topic, its checksum and golden vectors verified.

        Raises Malformed: what `contract.manifest.unpack` raises, `unusable_graph` where the interpreter
        cannot run it, `golden_vectors` where it computes something else than it should.
        """
        manifest, tflite = unpack(record)
        golden = np.array(manifest.golden.signals, np.float32).reshape(-1, len(SIGNALS))
        if not np.isfinite(manifest.threshold) or not len(golden):
            raise Malformed("golden_vectors", "no golden vectors or no finite threshold in the manifest")
        try:
            model = cls(manifest, tflite, runtime)
            model.score(golden[:1])  # a graph that runs with one number of rows only must not pass
            score, contribution = model.score(golden)
        except (ValueError, RuntimeError, KeyError) as error:
            raise Malformed("unusable_graph", str(error)[:500]) from error
        if wrong := manifest.golden.differences(score, contribution):
            raise Malformed("golden_vectors", f"{len(wrong)} of {len(golden)} differ: {wrong[0]}")
        return model

    def score(self, signals: Floats) -> tuple[Floats, Floats]:
        """score (n,) and contribution (n, 18) of signals (n, 18)."""
        if len(signals) != self._rows:  # costs a few µs, less than padding to one size
            self._interpreter.resize_tensor_input(self._signals, signals.shape)
            self._interpreter.allocate_tensors()
            self._rows = len(signals)
        self._interpreter.set_tensor(self._signals, signals)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._score), self._interpreter.get_tensor(self._contribution)


def interpreter(runtime: RuntimeName) -> Callable[..., Any]:
    """The runtime's class. Raises SettingsError where the runtime is not installed."""
    try:
        if runtime == "litert":
            from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - one of two, by setting
        else:
            from tflite_runtime.interpreter import Interpreter  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(f"--runtime {runtime} is not installed here: {error}") from error
    return Interpreter  # type: ignore[no-any-return]
