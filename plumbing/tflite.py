"""A TFLite graph on one thread, with ai-edge-litert or its predecessor tflite-runtime."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plumbing.settings import SettingsError

RuntimeName = Literal["litert", "tflite-runtime"]
Floats = NDArray[np.float32]


class Interpreter:
    """Runs signals (n, K) and state (n, S) to score (n,), contribution (n, K) and the new state (n, S).

    All arrays are float32. A graph without state has `state_width` 0 and returns the state that it is given,
    an array without columns.
    """

    def __init__(self, tflite: bytes, signal_count: int, runtime: RuntimeName = "litert") -> None:
        """Raises ValueError or RuntimeError for bytes that are no such graph of `signal_count` signals."""
        self._graph = interpreter_class(runtime)(model_content=tflite, num_threads=1)
        # The order of tensors varies, so they are identified by rank and columns.
        inputs = {detail["shape"][-1]: detail["index"] for detail in self._graph.get_input_details()}
        outputs = {tuple(detail["shape"][1:]): detail["index"] for detail in self._graph.get_output_details()}
        widths = sorted(inputs.keys() - {signal_count})
        expected = {(), (signal_count,), *((width,) for width in widths)}
        if signal_count not in inputs or len(widths) > 1 or outputs.keys() != expected:
            raise ValueError(
                f"inputs have {sorted(inputs)} and outputs {sorted(outputs)} columns, which does not fit "
                f"{signal_count} signals"
            )
        self.state_width = int(widths[0]) if widths else 0
        self._signals, self._state = inputs[signal_count], inputs.get(self.state_width)
        self._score, self._contribution = outputs[()], outputs[signal_count,]
        self._state_after = outputs.get((self.state_width,))
        self._rows = -1  # that the tensors are allocated for

    def run(self, signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        """(score (n,), contribution (n, K), state after (n, S)) of one sample each of n cars."""
        graph = self._graph
        if len(signals) != self._rows:  # resizing takes a few µs, less than padding to a fixed size
            graph.resize_tensor_input(self._signals, signals.shape)
            if self._state is not None:
                graph.resize_tensor_input(self._state, (len(signals), self.state_width))
            graph.allocate_tensors()
            self._rows = len(signals)
        graph.set_tensor(self._signals, np.ascontiguousarray(signals, np.float32))
        if self._state is not None:
            graph.set_tensor(self._state, np.ascontiguousarray(state, np.float32))
        graph.invoke()
        after = state if self._state_after is None else graph.get_tensor(self._state_after)
        return graph.get_tensor(self._score), graph.get_tensor(self._contribution), after


def interpreter_class(runtime: RuntimeName) -> Any:
    """The runtime's class of interpreters. Raises SettingsError where the runtime is not installed."""
    try:
        if runtime == "litert":
            from ai_edge_litert.interpreter import Interpreter as Graph  # noqa: PLC0415 - one is installed
        else:
            from tflite_runtime.interpreter import Interpreter as Graph  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(f"--runtime {runtime} is not installed here: {error}") from error
    return Graph
