"""Proof of a packed model in a process without TensorFlow: `python -m trainer.judge.verify < record`.

What the training process believes of its model is not enough: the bytes that will travel are read, checked
and run here as a scorer does it. Prints one reason a line and exits with 3 where there are any.
"""

import sys

import numpy as np

from contract.errors import Malformed
from contract.manifest import Manifest, unpack
from contract.telemetry import SIGNALS, Floats
from trainer.model.interpreter import Interpreter

EXIT_UNSOUND = 3
LARGE_BATCH = 1024
HOSTILE_SAMPLES = 3


def reasons(record: bytes) -> list[str]:
    """Why a framed `model` record must not be published; empty for a sound one."""
    try:
        manifest, tflite = unpack(record)
        interpreter = Interpreter(tflite, len(SIGNALS))
        width = manifest.state.width if manifest.state else 0
        if interpreter.state_width != width:
            return [f"states of {interpreter.state_width} columns, the manifest says {width}"]
        return [*_golden(manifest, interpreter), *_hostile(interpreter)]
    except Malformed as error:
        return [str(error)]
    except (ValueError, RuntimeError) as error:
        return [f"the graph does not run: {str(error)[:500]}"]


def _golden(manifest: Manifest, interpreter: Interpreter) -> list[str]:
    """The golden vectors one by one and within a large batch."""

    def single(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        runs = [
            interpreter.run(*(part[place : place + 1] for part in (signals, state)))
            for place in range(len(signals))
        ]
        score, contribution, after = (np.concatenate(parts) for parts in zip(*runs, strict=True))
        return score, contribution, after

    def large(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        count = len(signals)
        many = [np.resize(part, (LARGE_BATCH, part.shape[1])) for part in (signals, state)]
        score, contribution, after = interpreter.run(*many)
        return score[:count], contribution[:count], after[:count]

    if not len(manifest.golden):
        return ["no golden vectors"]
    if not np.isfinite(manifest.threshold):
        return [f"the threshold is {manifest.threshold}"]
    runs = {"batch of 1": single, f"batch of {LARGE_BATCH}": large}
    return [f"{name}: {wrong}" for name, run in runs.items() for wrong in manifest.golden.differences(run)]


def _hostile(interpreter: Interpreter) -> list[str]:
    """Whatever a broken sensor sends, the score is a number or NaN, and the state is finite."""
    values: Floats = np.array([0, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40], np.float32)
    rows = np.concatenate([np.full((1, len(SIGNALS)), value) for value in values])
    one_each = np.zeros((len(values) * len(SIGNALS), len(SIGNALS)), np.float32)
    one_each[np.arange(len(one_each)), np.tile(np.arange(len(SIGNALS)), len(values))] = np.repeat(
        values, len(SIGNALS)
    )
    hostile = np.concatenate([rows, one_each]).astype(np.float32)
    state = np.zeros((len(hostile), interpreter.state_width), np.float32)
    for _ in range(HOSTILE_SAMPLES):
        score, contribution, state = interpreter.run(hostile, state)
        if contribution.shape != (len(score), len(SIGNALS)):
            return [f"contributions have the shape {contribution.shape} for {len(score)} records"]
        if np.isinf(score).any():
            return [f"{np.isinf(score).sum()} infinite scores for hostile inputs"]
        if not np.isfinite(state).all():
            return ["hostile inputs leave a state that is not finite"]
    return []


if __name__ == "__main__":
    found = reasons(sys.stdin.buffer.read())
    print("\n".join(found))
    sys.exit(EXIT_UNSOUND if found else 0)
