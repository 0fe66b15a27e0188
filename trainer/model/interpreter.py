"""A TFLite graph as the scorers run it: ai-edge-litert, one thread, tensors recognised by rank and width."""

import numpy as np

from contract.telemetry import Floats


class Interpreter:
    """Runs signals (n, K) and state (n, S) to score (n,), contribution (n, K) and the new state (n, S).

    A graph without state has `state_width` 0 and returns the empty state that it is given. Raises
    ValueError or RuntimeError for bytes that are no such graph.
    """

    def __init__(self, tflite: bytes, signal_count: int) -> None:
        from ai_edge_litert.interpreter import Interpreter as LiteRt

        self._litert = LiteRt(model_content=tflite, num_threads=1)
        ins = {detail["shape"][-1]: detail["index"] for detail in self._litert.get_input_details()}
        outs = {tuple(detail["shape"][1:]): detail["index"] for detail in self._litert.get_output_details()}
        widths = sorted(ins.keys() - {signal_count})
        expected = {(), (signal_count,), *((width,) for width in widths)}
        if signal_count not in ins or len(widths) > 1 or outs.keys() != expected:
            raise ValueError(
                f"inputs {sorted(ins)} and outputs {sorted(outs)} wide do not fit {signal_count} signals"
            )
        self.state_width = int(widths[0]) if widths else 0
        self._signals, self._state = ins[signal_count], ins.get(self.state_width)
        self._score, self._contribution = outs[()], outs[signal_count,]
        self._state_after = outs.get((self.state_width,))
        self._batch_rows = -1

    def run(self, signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        """(score (n,), contribution (n, K), state after (n, S)) for signals (n, K) and state (n, S)."""
        if len(signals) != self._batch_rows:
            self._litert.resize_tensor_input(self._signals, signals.shape)
            if self._state is not None:
                self._litert.resize_tensor_input(self._state, (len(signals), self.state_width))
            self._litert.allocate_tensors()
            self._batch_rows = len(signals)
        self._litert.set_tensor(self._signals, np.ascontiguousarray(signals, np.float32))
        if self._state is not None:
            self._litert.set_tensor(self._state, np.ascontiguousarray(state, np.float32))
        self._litert.invoke()
        after = state if self._state_after is None else self._litert.get_tensor(self._state_after)
        return self._litert.get_tensor(self._score), self._litert.get_tensor(self._contribution), after
