"""The models of the scorer's stage, made once.

One has a state and is made by the trainer's own job from a simulated fleet. The other has none: it is the
usual autoencoder of single samples of the scorecard (quality/), which is what others run.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from contract.alert_rule import AlertRule
from contract.golden import Golden
from contract.manifest import Manifest, pack, sha256, unpack
from contract.telemetry import Decoder, Floats
from contract.topics import TELEMETRY, cloud_topics, mirrored
from loadtest.bench.fleet import ODD_SHARE, Records, fill
from loadtest.bench.run import BenchRun
from local import champion, topics
from local.deployment import flags
from local.java import ROOT
from plumbing.life import WorldDown
from scorer.model import Model

CARS, SECONDS, SEED = 1_000, 60, 1
# Seconds of telemetry that a car's state learns from and averages over: short, so that most are judged.
_LEARNING_S, _MEMORY_S = 20, 10
_GOLDEN_ROWS = 16
_EDGE = "bench"
# A model is made anew when one of these files has changed.
_SOURCES = ("trainer/**/*.py", "simulator/*.py", "contract/schemas/*", "loadtest/bench/fleet.py")
_STATELESS_SOURCES = ("quality/graph.py", "quality/detectors/*.py", "simulator/*.py", "contract/schemas/*")


def record(run: BenchRun) -> bytes:
    """The framed record of the trainer's model. Raises WorldDown where the trainer publishes none."""
    path = run.settings.run_dir / f"detector-{_fingerprint(_SOURCES)}.record"
    if not path.exists():
        _train(run, path)
    return _with_threshold(*unpack(path.read_bytes()))


def stateless(run: BenchRun) -> bytes:
    """The framed record of the graph without state. Raises WorldDown where it cannot be made."""
    path = run.settings.run_dir / f"stateless-{_fingerprint(_STATELESS_SOURCES)}.tflite"
    if not path.exists():
        run.say("scorer: the usual autoencoder learns from simulated cars (once)")
        run.wait_end(run.python("autoencoder", "quality.graph", str(path)))
    tflite = path.read_bytes()
    manifest = replace(
        unpack(record(run))[0],
        name="stateless",
        alert=AlertRule(smoothing=0.05),
        components={},
        state=None,
        hypotheses=None,
        tflite_sha256=sha256(tflite),
        tflite_bytes=len(tflite),
    )
    signals, no_state = _signals(1)[0, :_GOLDEN_ROWS], np.empty((_GOLDEN_ROWS, 0), np.float32)
    golden = Golden.of(signals[None], no_state, Model(manifest, tflite, "litert").step)
    return _with_threshold(replace(manifest, golden=golden), tflite)


def _with_threshold(manifest: Manifest, tflite: bytes) -> bytes:
    """The record with a threshold that ODD_SHARE of the samples exceed, so that all models write as many."""
    model = Model(manifest, tflite, "litert")
    state = np.zeros((CARS, model.width), np.float32)
    for signals in _signals(SECONDS):
        score, _, state = model.step(signals, state)
    return pack(replace(manifest, threshold=float(np.quantile(score, 1 - ODD_SHARE))), tflite)


def _signals(seconds: int) -> Floats:
    """Samples of the same cars in the same order, (seconds, cars, signals)."""
    decoder, seconds_of_signals = Decoder.of_all_versions(), []
    for keys, values in Records(CARS, SEED).last_seconds(CARS * seconds):
        decoded = decoder.decode(values, [key.encode() for key in keys])
        seconds_of_signals.append(decoded.signals[np.argsort(keys)])
    return np.stack(seconds_of_signals)


def _train(run: BenchRun, path: Path) -> None:
    count = CARS * SECONDS
    run.say(f"scorer: the trainer makes a model from {count} records of {CARS} simulated cars (once)")
    topics.create("edge", run.edge, cloud_topics(_EDGE))
    fill(run.edge, mirrored(_EDGE, TELEMETRY), Records(CARS, SEED, odd_share=0.0), count)
    settings = {
        "kafka_bootstrap": run.edge,
        "edge_names": _EDGE,
        "wait_records": count,
        "learning_s": _LEARNING_S,
        "memory_s": _MEMORY_S,
        "false_alarms_per_car_week": 100,
    }
    run.wait_end(run.python("trainer", "trainer", "train", *flags(settings)))
    if not champion.keep(run.edge, path):
        raise WorldDown(f"the trainer published no model:\n{run.supervisor.last_lines('trainer')}")


def _fingerprint(patterns: Sequence[str]) -> str:
    files = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
