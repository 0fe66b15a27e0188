"""Proof of a packed model in a process without TensorFlow: `python -m trainer.judge.verify < record`.

What the training process believes of its model is not enough: the bytes that will travel are read, checked
and run here as a scorer does it. Prints one reason a line and exits with 3 if there are any.
"""

import subprocess
import sys

import numpy as np

from contract.errors import Malformed
from contract.manifest import TFLITE_BYTES_MAX, Manifest, pack, unpack
from contract.telemetry import Floats
from plumbing.tflite import Interpreter

EXIT_UNSOUND = 3
LARGE_BATCH = 1024
HOSTILE_SAMPLES = 3
_VERDICT_S_MAX = 120.0


def verified(manifest: Manifest, tflite: bytes) -> tuple[str, ...]:
    """What a process of its own finds wrong with the packed record; empty where nothing is."""
    if len(tflite) > TFLITE_BYTES_MAX:
        return ()  # the gate refuses it anyway, and it cannot be packed
    command, record = [sys.executable, "-m", "trainer.judge.verify"], pack(manifest, tflite)
    try:
        done = subprocess.run(command, input=record, capture_output=True, timeout=_VERDICT_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        return (f"no verdict within {_VERDICT_S_MAX:.0f} s",)
    lines = tuple(line for line in done.stdout.decode().splitlines() if line)
    if done.returncode != 0 and not lines:
        return (f"verification ended with {done.returncode}: {done.stderr.decode()[-300:]}",)
    return lines


def reasons(record: bytes) -> list[str]:
    """Why a framed `model` record must not be published; empty for a sound one."""
    try:
        manifest, tflite = unpack(record)
        interpreter = Interpreter(tflite, len(manifest.signals))
        width = manifest.state.width if manifest.state else 0
        if interpreter.state_width != width:
            return [f"states of {interpreter.state_width} columns, the manifest says {width}"]
        return [*_golden(manifest, interpreter), *_hostile(interpreter, len(manifest.signals))]
    except Malformed as error:
        return [str(error)]
    except (ValueError, RuntimeError) as error:
        return [f"the graph does not run: {str(error)[:500]}"]


def _golden(manifest: Manifest, interpreter: Interpreter) -> list[str]:
    """Differences from the golden vectors, run one by one and within a large batch."""

    def single(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        outputs = [interpreter.run(*row) for row in zip(signals[:, None], state[:, None], strict=True)]
        score, contribution, after = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
        return score, contribution, after

    def large(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        count = len(signals)
        repeated = [np.resize(part, (LARGE_BATCH, part.shape[1])) for part in (signals, state)]
        score, contribution, after = interpreter.run(*repeated)
        return score[:count], contribution[:count], after[:count]

    if not len(manifest.golden):
        return ["no golden vectors"]
    if not np.isfinite(manifest.threshold):
        return [f"the threshold is {manifest.threshold}"]
    runs = {"batch of 1": single, f"batch of {LARGE_BATCH}": large}
    return [f"{name}: {wrong}" for name, run in runs.items() for wrong in manifest.golden.differences(run)]


def _hostile(interpreter: Interpreter, count: int) -> list[str]:
    """Whatever a broken sensor sends, in one signal or in all: no infinite score, and a finite state."""
    values: Floats = np.array([0, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40], np.float32)
    in_all = np.repeat(values, count).reshape(-1, count)
    in_one = [np.where(np.eye(count, dtype=bool), value, np.float32(0)) for value in values]
    hostile = np.concatenate([in_all, *in_one])
    state = np.zeros((len(hostile), interpreter.state_width), np.float32)
    for _ in range(HOSTILE_SAMPLES):
        score, contribution, state = interpreter.run(hostile, state)
        if contribution.shape != (len(score), count):
            return [f"contributions have the shape {contribution.shape} for {len(score)} records"]
        if np.isinf(score).any():
            return [f"{np.isinf(score).sum()} infinite scores for hostile inputs"]
        if not np.isfinite(state).all():
            return ["hostile inputs leave a state that is not finite"]
    return []


if __name__ == "__main__":
    unsound = reasons(sys.stdin.buffer.read())
    print("\n".join(unsound))
    sys.exit(EXIT_UNSOUND if unsound else 0)
