"""Where the scorer's µs go: each step alone, on records as Kafka gives them, in this process.

CPU of this thread, but for `consume`, which counts the client's own threads as well.
"""

import gc
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from confluent_kafka import Message, TopicPartition

from contract.framing import schema_ids
from contract.schema import schemas
from contract.telemetry import Decoder
from contract.topics import TELEMETRY, TELEMETRY_PARTITIONS
from plumbing import kafka
from plumbing.life import WorldDown
from scorer.batch import Batch
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.scoring import audits, score

BATCH, BATCHES, WARM_UP = 2_000, 150, 25
_COMES_WITHIN_S = 10.0


def measure(bootstrap: str, model: bytes) -> dict[str, float]:
    """µs a record by step. Raises WorldDown.

    `detect`: states, graph and alerts, of which `invoke` is the graph, all at once; `anomalies`: everything
    about them but sending.
    """
    collected = gc.get_threshold()
    gc.set_threshold(1_000_000)  # as the scorer has it
    try:
        return _measure(bootstrap, Model.open(model, "litert"))
    finally:
        gc.set_threshold(*collected)


def _measure(bootstrap: str, model: Model) -> dict[str, float]:
    spent: defaultdict[str, float] = defaultdict(float)

    def timed(name: str, step: Callable[..., Any], *arguments: Any) -> Any:
        began = time.thread_time()
        result = step(*arguments)
        spent[name] += time.thread_time() - began
        return result

    consumed_us, batches = _consume(bootstrap)
    decoder, detector, other = Decoder(schema_ids(schemas())), AnomalyDetector(), AnomalyDetector()
    for each in (detector, other):
        each.add(model)
    for number, messages in enumerate(batches):
        if number == WARM_UP:
            spent.clear()
        keys = timed("messages", lambda found: list(map(Message.key, found)), messages)
        batch = timed("messages", Batch.of, messages, keys)
        decoded = timed("decode", decoder.decode_joined, batch.values, batch.keys)
        by_car, fresh, late = timed(
            "sift", detector.sift, batch.keys, batch.partitions[decoded.rows], decoded.seq
        )
        timed("detect", detector.detect, by_car, fresh, late, decoded)
        states = np.zeros((len(decoded.rows), model.width), np.float32)
        timed("invoke", model.step, decoded.signals, states)
        timed("audits", audits, batch, decoded.rows, fresh, late)
        timed("all", _score, batch, decoder, other)
    count = BATCH * (len(batches) - WARM_UP)
    steps = ("decode", "sift", "detect", "audits")
    spent["anomalies"] = spent.pop("all") - sum(spent[step] for step in steps)
    return {"consume": consumed_us} | {name: round(1e6 * spent[name] / count, 3)
                                       for name in ("messages", *steps, "invoke", "anomalies")}  # fmt: skip


def _score(batch: Batch, decoder: Decoder, detector: AnomalyDetector) -> Any:
    return score(batch, decoder, detector, now_ms=0, scorer="bench")


def _consume(bootstrap: str) -> tuple[float, list[list[Message]]]:
    """µs a record to consume, and full batches."""
    consumer = kafka.consumer(bootstrap, group_id="bench-parts", fetch_min_bytes=100_000)
    consumer.assign([TopicPartition(TELEMETRY, p, 0) for p in range(TELEMETRY_PARTITIONS)])
    kept: list[list[Message]] = []
    count, began_s, deadline = 0, time.process_time(), time.monotonic() + _COMES_WITHIN_S
    while len(kept) < BATCHES:
        found = consumer.consume(BATCH, 0.1)
        count += len(found)
        if len(found) == BATCH:
            kept.append(found)
        if time.monotonic() > deadline:
            raise WorldDown(f"only {count} records for the scorer's parts in {_COMES_WITHIN_S:.0f} s")
    consumed_us = 1e6 * (time.process_time() - began_s) / count
    consumer.close()
    return round(consumed_us, 3), kept
