"""A TFLite graph as the scorers run it: ai-edge-litert, one thread, tensors told apart by their rank."""

import numpy as np

from contract.telemetry import Floats

# Rows a call: as many as the scorers take at once; larger blocks were slower.
BATCH_ROWS = 2048


class Interpreter:
    """Runs `signals (n, 18)` to `score (n,)` and `contribution (n, 18)`.

    Raises ValueError or RuntimeError for bytes that are no such graph.
    """

    def __init__(self, tflite: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter as LiteRt

        self._litert = LiteRt(model_content=tflite, num_threads=1)
        (self._signals,) = [detail["index"] for detail in self._litert.get_input_details()]
        ranks = {len(detail["shape"]): detail["index"] for detail in self._litert.get_output_details()}
        if sorted(ranks) != [1, 2]:
            raise ValueError(f"outputs of the ranks {sorted(ranks)}, not score (n,) and contribution (n, 18)")
        self._score, self._contribution = ranks[1], ranks[2]
        self._rows = -1

    def run(self, signals: Floats) -> tuple[Floats, Floats]:
        """(score (n,), contribution (n, 18)) in one call."""
        if len(signals) != self._rows:
            self._litert.resize_tensor_input(self._signals, signals.shape)
            self._litert.allocate_tensors()
            self._rows = len(signals)
        self._litert.set_tensor(self._signals, np.ascontiguousarray(signals, np.float32))
        self._litert.invoke()
        return self._litert.get_tensor(self._score), self._litert.get_tensor(self._contribution)

    def scores(self, signals: Floats) -> Floats:
        """(n,) scores of any number of rows, in calls of BATCH_ROWS."""
        starts = range(0, len(signals), BATCH_ROWS)
        parts = [self.run(signals[start : start + BATCH_ROWS])[0] for start in starts]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)
