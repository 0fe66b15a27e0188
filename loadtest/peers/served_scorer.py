"""Our scorer with its graph in a model server, in the environment of mlserver.txt.

All but the call of the graph is the product's code.

    python -m loadtest.peers.served_scorer PLACE ADDRESS FLAGS_OF_THE_SCORER

PLACE is `embedded`: in this process, for comparison, or one of loadtest/peers/served_graphs.py. The last line
of its output is JSON: how many full batches there were, and how long one took.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import scorer.model
import scorer.pipeline
from plumbing.tflite import Floats, Interpreter, RuntimeName
from scorer.__main__ import main as run_scorer
from scorer.batch import Batch
from scorer.scoring import Scored, score

BATCH = 2_000  # the most records at once


def main(place: str, address: str) -> None:
    """Score until SIGTERM."""
    seconds: list[float] = []

    def timed(batch: Batch, *arguments: Any, **options: Any) -> Scored:
        began = time.perf_counter()
        scored = score(batch, *arguments, **options)
        if len(batch) == BATCH:
            seconds.append(time.perf_counter() - began)
        return scored

    scorer.pipeline.score = timed  # type: ignore[attr-defined]
    if place != "embedded":
        from loadtest.peers.served_graphs import PLACES  # noqa: PLC0415 - needs MLServer's environment

        class Served(Interpreter):
            """A graph whose form is known from the model record, and that runs elsewhere."""

            def __init__(self, tflite: bytes, signal_count: int, runtime: RuntimeName = "litert") -> None:
                super().__init__(tflite, signal_count, runtime)
                self._remote = PLACES[place](address)

            def run(self, signals: Floats, state: Floats) -> Any:
                return self._remote.run(signals, state)

        scorer.model.Interpreter = Served  # type: ignore[attr-defined]
    try:
        run_scorer()
    finally:
        print(json.dumps(summary(seconds)), flush=True)


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Number of batches, and median and 99th percentile of the times that they took, in ms."""
    if not seconds:
        return {"full_batches": 0}
    p50, p99 = np.percentile(seconds, [50, 99])
    times = {"batch_p50_ms": round(1e3 * p50, 2), "batch_p99_ms": round(1e3 * p99, 2)}
    return {"full_batches": len(seconds), **times}


if __name__ == "__main__":
    main(sys.argv.pop(1), sys.argv.pop(1))  # the rest are the scorer's flags
