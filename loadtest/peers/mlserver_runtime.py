"""Our detector as a model of MLServer: a custom runtime, in the environment of mlserver.txt."""

from pathlib import Path

import numpy as np
from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import (  # type: ignore[import-not-found]
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    ResponseOutput,
)

from contract.telemetry import SIGNALS
from loadtest.peers.v2 import INPUTS, OUTPUTS
from plumbing.tflite import Floats, Interpreter


class Detector(MLModel):  # type: ignore[misc]
    """Tensors signals (n, K) and state (n, S) in; score (n,), contribution (n, K), state after (n, S) out.

    Either all of them FP32, or all BYTES: one element with the float32 values of the whole array.
    """

    async def load(self) -> bool:
        """Open the .tflite file that the model's settings name."""
        self._graph = Interpreter(Path(self.settings.parameters.uri).read_bytes(), len(SIGNALS))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score the samples of a request."""
        widths = {"signals": len(SIGNALS), "state": self._graph.state_width}
        inputs = {tensor.name: _array(tensor, widths[tensor.name]) for tensor in payload.inputs}
        results = self._graph.run(*(inputs[name] for name in INPUTS))
        encode = _bytes if payload.inputs[0].datatype == "BYTES" else NumpyCodec.encode_output
        return InferenceResponse(model_name=self.name, outputs=list(map(encode, OUTPUTS, results)))


def _array(tensor: RequestInput, width: int) -> Floats:
    if tensor.datatype == "BYTES":
        return np.frombuffer(tensor.data.root[0], np.float32).reshape(-1, width)
    return np.array(tensor.data.root, np.float32).reshape(-1, width)


def _bytes(name: str, values: Floats) -> ResponseOutput:
    return ResponseOutput(name=name, datatype="BYTES", shape=[1], data=[values.tobytes()])
