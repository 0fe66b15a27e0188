"""Where the graph of the scorer runs: in its own process, or (with --peers) in a model server.

The records, the trainer's model with a state of every car, the drain and the steady load are those of
scorer.py, and so is the scorer; only the call of the graph is replaced (loadtest/peers/served_scorer.py).
All score batches of at most 2 000 records. What is slow drains fewer records.

`batch_…_ms` is the time from a full batch of Kafka's messages to its results, before they are written to
Kafka. The CPU of the model server counts as the scorer's; `broker_…` is Kafka's.
"""

import json
import sys
from collections.abc import Sequence
from functools import partial

from contract.topics import TELEMETRY
from loadtest import peers
from loadtest.bench import detector
from loadtest.bench.fleet import Records, fill
from loadtest.bench.loads import CARS, SEED, drain, leave_last, start_scorer, steady
from loadtest.bench.run import BenchRun
from loadtest.peers import model_server
from loadtest.peers.served_scorer import BATCH
from plumbing.life import WorldDown

# Where the graph runs; the last two score some hundred or thousand records a second.
_PLACES = ("embedded", "grpc", "grpc-floats", "grpc-each", "kafka")
_SLOW = ("grpc-each", "kafka")
_RECORDS, _RECORDS_OF_SLOW = 300_000, 15_000
_STEADY_S = 10.0


def measure(run: BenchRun) -> dict[str, float]:
    """Our scorer with the graph in its process. Raises WorldDown where a record is not scored once."""
    run.say(f"serving: {_RECORDS} records of {CARS} cars into Kafka")
    fill(run.edge, TELEMETRY, Records(CARS, SEED), _RECORDS)
    run.say("a drain that does not count: Kafka's JVM compiles while it serves a first backlog")
    child = start_scorer(run, "serving-first")
    drain(run, child, detector.record(run))
    run.stop(child.name)
    return _measure(run, "embedded", [sys.executable], "-")


def _served(place: str, run: BenchRun) -> dict[str, float]:
    """Our scorer with the graph in MLServer. Raises WorldDown where it cannot be installed."""
    interpreter = str(peers.environment("mlserver"))
    server, address = model_server.start(run, interpreter, detector.record(run), place == "kafka")
    try:
        return _measure(run, place, [interpreter], address, [server.name])
    finally:
        run.stop(server.name)


PEERS = {f"mlserver-{place}": partial(_served, place) for place in _PLACES[1:]}


def _measure(
    run: BenchRun, place: str, python: Sequence[str], address: str, servers: Sequence[str] = ()
) -> dict[str, float]:
    """A scorer of this place drains the last records; one that is fast enough gets the steady load, too."""
    name, slow = f"serving-{place}", place in _SLOW
    begin = leave_last(run.edge, name, _RECORDS_OF_SLOW if slow else _RECORDS)
    program = [*python, "-m", "loadtest.peers.served_scorer", place, address]
    # None are remembered: reading back more records than are scored would be measured, too.
    child = start_scorer(run, name, program, batch_records_max=BATCH, remembered_records=0)
    try:
        figures = drain(run, child, detector.record(run), begin, servers)
        if not slow:
            first_seq = 1_000_000 * (1 + _PLACES.index(place))  # above those of the earlier places
            figures |= steady(run, child, first_seq, _STEADY_S, servers)
    finally:
        run.stop(name)
    try:
        figures |= json.loads(run.supervisor.last_lines(name).rpartition("\n")[2])
    except ValueError as error:
        raise WorldDown(f"{name} told no times of its batches") from error
    return figures
