"""A TFLite graph on one thread, with ai-edge-litert or its predecessor tflite-runtime."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plumbing.settings import SettingsError

RuntimeName = Literal["litert", "tflite-runtime"]
Floats = NDArray[np.float32]


# Rows of a call of the graph, and the smallest number of samples for which such a call is the cheapest. A
# resized graph takes 40 to 80 µs longer; more rows than 256 are not cheaper, and leave the processor's cache.
_CALLS = ((256, 129), (128, 65), (64, 17), (16, 1))


class Interpreter:
    """Runs signals (n, K) and state (n, S) to score (n,), contribution (n, K) and the new state (n, S).

    All arrays are float32. A graph without state has `state_width` 0 and returns the state that it is given,
    an array without columns.
    """

    def __init__(self, tflite: bytes, signal_count: int, runtime: RuntimeName = "litert") -> None:
        """Raises ValueError or RuntimeError for bytes that are no such graph of `signal_count` signals."""
        graph = interpreter_class(runtime)
        self._calls = [
            (_Call(graph(model_content=tflite, num_threads=1), signal_count, rows), rows, least)
            for rows, least in _CALLS
        ]
        self.state_width = self._calls[0][0].state_width

    def run(self, signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        """(score (n,), contribution (n, K), state after (n, S)) of one sample each of n cars."""
        count = len(signals)
        score, contribution = np.empty(count, np.float32), np.empty(signals.shape, np.float32)
        after = np.empty((count, self.state_width), np.float32) if self.state_width else state
        done = 0
        for call, rows, least in self._calls:
            while count - done >= least:
                part = slice(done, done + rows)
                call(signals[part], state[part], score[part], contribution[part], after[part])
                done = min(done + rows, count)
        return score, contribution, after


class _Call:
    """The graph with tensors of a fixed number of rows; of the last rows a call may use less."""

    def __init__(self, graph: Any, signal_count: int, rows: int) -> None:
        # The order of tensors varies, so they are identified by rank and columns.
        inputs = {detail["shape"][-1]: detail["index"] for detail in graph.get_input_details()}
        outputs = {tuple(detail["shape"][1:]): detail["index"] for detail in graph.get_output_details()}
        widths = sorted(inputs.keys() - {signal_count})
        expected = {(), (signal_count,), *((width,) for width in widths)}
        if signal_count not in inputs or len(widths) > 1 or outputs.keys() != expected:
            raise ValueError(
                f"inputs have {sorted(inputs)} and outputs {sorted(outputs)} columns, which does not fit "
                f"{signal_count} signals"
            )
        self.state_width = int(widths[0]) if widths else 0
        for width, index in inputs.items():
            graph.resize_tensor_input(index, (rows, width))
        graph.allocate_tensors()
        # Each returns the tensor's memory, to which nothing may refer while the graph runs.
        self._inputs = [graph.tensor(inputs[width]) for width in (signal_count, *widths)]
        of_widths = ((width,) for width in (signal_count, *widths))
        self._outputs = [graph.tensor(outputs[width]) for width in ((), *of_widths)]
        self._run = graph.invoke

    def __call__(
        self, signals: Floats, state: Floats, score: Floats, contribution: Floats, after: Floats
    ) -> None:
        """Fill the last three, whose rows are those of signals and state."""
        count = len(signals)
        for tensor, values in zip(self._inputs, (signals, state), strict=False):
            tensor()[:count] = values
        self._run()
        for tensor, values in zip(self._outputs, (score, contribution, after), strict=False):
            values[...] = tensor()[:count]


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
