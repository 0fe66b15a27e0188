"""The models that the scorer's stage uses.

One with state, made by the trainer's own job from a simulated fleet; and one without, the scorecard's usual
autoencoder of single samples, which is what others run. Both are made once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from contract.alert_rule import AlertRule
from contract.framing import schema_ids
from contract.golden import Golden
from contract.manifest import Decision, Manifest, pack, sha256, unpack
from contract.schema import schemas
from contract.telemetry import SIGNALS, Decoder, Floats
from contract.topics import MODELS, TELEMETRY, cloud_topics, mirrored
from loadtest.bench.fleet import ODD_SHARE, Records, fill
from loadtest.bench.run import Run
from local import champion, topics
from local.java import ROOT
from local.supervisor import Child
from plumbing import kafka
from plumbing.life import WorldDown
from scorer.model import Model

CARS, SECONDS, SEED = 1_000, 60, 1
# Of telemetry: most of what is drained is then judged, not learned.
_LEARNING_S, _MEMORY_S = 20, 10
_GOLDEN_ROWS = 16
_EDGE, _CLOUD = "bench", "cloud"
_MADE_FROM = ("trainer/*.py", "simulator/*.py", "contract/schemas/*", "loadtest/bench/fleet.py")
_STATELESS_MADE_FROM = ("quality/graph.py", "quality/detectors/*.py", "simulator/*.py", "contract/schemas/*")


def record(run: Run) -> bytes:
    """The framed model record; kept in the run's folder until the trainer's or the fleet's code changes.

    Raises WorldDown where the trainer publishes nothing.
    """
    path = run.run_dir / f"detector-{_fingerprint(_MADE_FROM)}.record"
    if not path.exists():
        _train(run, path)
    return _that_finds_the_odd_share(*unpack(path.read_bytes()))


def stateless(run: Run) -> bytes:
    """A framed record of the graph without state; kept like the other one. Raises WorldDown."""
    path = run.run_dir / f"stateless-{_fingerprint(_STATELESS_MADE_FROM)}.tflite"
    if not path.exists():
        run.say("scorer: the usual autoencoder learns from simulated cars (once)")
        _finish(run, run.python("autoencoder", "quality.graph", str(path)))
    tflite = path.read_bytes()
    manifest = _unproven(tflite)
    signals, none = _signals(1)[:, :_GOLDEN_ROWS], np.empty((_GOLDEN_ROWS, 0), np.float32)
    golden = Golden.of(signals, none, Model(manifest, tflite, "litert").step)
    return _that_finds_the_odd_share(replace(manifest, golden=golden), tflite)


def _that_finds_the_odd_share(manifest: Manifest, tflite: bytes) -> bytes:
    """Its record with a threshold that as many records exceed as are odd: each model has as much to write."""
    model = Model(manifest, tflite, "litert")
    state = np.zeros((CARS, model.width), np.float32)
    for signals in _signals(SECONDS):
        score, _, state = model.step(signals, state)
    return pack(replace(manifest, threshold=float(np.quantile(score, 1 - ODD_SHARE))), tflite)


def _signals(seconds: int) -> Floats:
    """Samples of the same cars in the same order, (seconds, cars, 18)."""
    decoder, samples = Decoder(schema_ids(schemas())), []
    for moment in Records(CARS, SEED).moments(CARS * seconds):
        decoded = decoder.decode(moment.values, [key.encode() for key in moment.keys])
        samples.append(decoded.signals[np.argsort(moment.keys)])
    return np.stack(samples)


def _unproven(tflite: bytes) -> Manifest:
    """A manifest without golden vectors, under a name of its own."""
    return Manifest(
        name="stateless",
        version=1,
        parent=None,
        created_at="",
        git_revision="",
        signals=SIGNALS,
        schema_fingerprint="",
        threshold=float("inf"),
        false_alarms_per_car_week=float("nan"),
        alert=AlertRule(smoothing=0.05),
        components={},
        state=None,
        training_offsets={},
        validation_offsets={},
        seed=SEED,
        metrics={},
        reference_quantiles={},
        golden=Golden(signals=(), state=(), score=(), contribution=(), state_after=()),
        tflite_sha256=sha256(tflite),
        tflite_bytes=len(tflite),
        decision=Decision(published=True),
    )


def publish(run: Run, value: bytes) -> None:
    """Give it to the scorers. Raises WorldDown."""
    manifest, _ = unpack(value)
    producer = kafka.producer(run.edge)
    producer.produce(mirrored(_CLOUD, MODELS), value, manifest.name)
    if producer.flush(30):
        raise WorldDown("Kafka did not take the model")


def _train(run: Run, path: Path) -> None:
    count = CARS * SECONDS
    run.say(f"scorer: the trainer makes a model from {count} records of {CARS} simulated cars (once)")
    topics.create("edge", run.edge, cloud_topics(_EDGE))
    fill(run.edge, mirrored(_EDGE, TELEMETRY), Records(CARS, SEED, odd_share=0.0), count)
    child = run.python("trainer", "trainer", "train", "--kafka-bootstrap", run.edge, "--edge-names", _EDGE,
                       "--wait-records", str(count), "--learning-s", str(_LEARNING_S),
                       "--memory-s", str(_MEMORY_S), "--false-alarms-per-car-week", "100")  # fmt: skip
    _finish(run, child)
    if not champion.keep(run.edge, path):
        raise WorldDown(f"the trainer published nothing:\n{run.supervisor.last_lines('trainer')}")


def _finish(run: Run, child: Child) -> None:
    while child.process is not None:
        run.supervisor.tick()
    if child.status != 0:
        raise WorldDown(f"no model:\n{run.supervisor.last_lines(child.name)}")


def _fingerprint(patterns: Sequence[str]) -> str:
    files = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
