"""The model that the scorer's stage uses: made by the trainer's own job from a simulated fleet, once."""

import hashlib
from pathlib import Path

from contract.manifest import unpack
from contract.topics import MODELS, TELEMETRY, cloud_topics, mirrored
from loadtest.bench.fleet import Records, fill
from loadtest.bench.run import Run
from local import champion, topics
from local.java import ROOT
from plumbing import kafka
from plumbing.life import WorldDown

CARS, SECONDS, SEED = 1_000, 30, 1
_EDGE, _CLOUD = "bench", "cloud"
_MADE_FROM = ("trainer/*.py", "simulator/*.py", "contract/schemas/*.avsc", "loadtest/bench/fleet.py")


def record(run: Run) -> bytes:
    """The framed model record; kept in the run's folder until the trainer's or the fleet's code changes.

    Raises WorldDown where the trainer publishes nothing.
    """
    path = run.run_dir / f"detector-{_fingerprint()}.record"
    if not path.exists():
        _train(run, path)
    return path.read_bytes()


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
                       "--wait-records", str(count))  # fmt: skip
    while child.process is not None:
        run.supervisor.tick()
    if child.status != 0 or not champion.keep(run.edge, path):
        raise WorldDown(f"the trainer published nothing:\n{run.supervisor.last_lines('trainer')}")


def _fingerprint() -> str:
    files = sorted(path for pattern in _MADE_FROM for path in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
