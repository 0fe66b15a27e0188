"""CPU of each step of the scorer alone, in this process: for records as Kafka delivers them, for car states.

CPU of this thread, except for `consume` and `state_write`, which include the Kafka client's own threads.
"""

import gc
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from confluent_kafka import Message, TopicPartition

from contract.joined import Joined
from contract.manifest import Decision, pack, unpack
from contract.state_layout import SEEN
from contract.telemetry import Decoder
from contract.topics import CAR_STATE, TELEMETRY, TELEMETRY_PARTITIONS
from contract.trial import taking_part
from local.watch import reader
from plumbing import kafka
from plumbing.life import WorldDown
from scorer.assignment import Assignment
from scorer.batch import Batch
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.results import Results
from scorer.scoring import Scored, audits, score
from scorer.snapshots import Snapshots
from scorer.source import Source

BATCH, BATCHES, WARM_UP = 2_000, 150, 25
_ARRIVES_WITHIN_S = 10.0
_CARS = 100_000
# Writes of each car's state. Compaction does not remove any in time, so more is read back than usually.
_STATE_WRITES = 3
_DELIVERED_WITHIN_S = 60.0


def measure(bootstrap: str, model: bytes) -> dict[str, float]:
    """µs a record by step. Raises WorldDown where Kafka has too few records.

    `detect`: states, graph and alerts together, while cars are learned; `detect_learned`: afterwards;
    `detect_in_trial`: beside a shadow that has learned its part of the cars; `detect_beside_all`: beside one
    of all cars; `invoke`: the graph alone, all records at once;
    `anomalies`: making the anomaly records, not sending them.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(1_000_000)  # as in the scorer
    try:
        return _measure(bootstrap, Model.open(model, "litert"), _calm(model))
    finally:
        gc.set_threshold(*thresholds)


def _calm(record: bytes) -> dict[str, AnomalyDetector]:
    """Detectors whose model raises no alert: alone, and beside a shadow with the same graph."""
    manifest, tflite = unpack(record)
    calm, version = replace(manifest, threshold=1e9), manifest.version + 1
    detectors = {
        name: AnomalyDetector() for name in ("detect_learned", "detect_in_trial", "detect_beside_all")
    }
    for detector, on_trial in zip(detectors.values(), (None, taking_part(_CARS), 1.0), strict=True):
        detector.add(Model.open(pack(calm, tflite), "litert"))
        if on_trial:
            decision = Decision(published=True, share=0.0, on_trial=on_trial)
            shadow = pack(replace(calm, version=version, decision=decision), tflite)
            detector.challenge(Model.open(shadow, "litert"))
    return detectors


def _learned(detector: AnomalyDetector, batch: Batch) -> None:
    """Let every model have learned the cars of a batch."""
    cars, trial = detector.cars.numbers(batch.keys, batch.partitions), detector.trial
    for states in (detector.generations.newest, *([trial.states] if trial else [])):
        if states.layout:
            states.column.values[cars, SEEN] = states.layout.learning_samples
    if trial:
        trial.restore(cars[trial.takes(cars)], detector.generations)


def _measure(bootstrap: str, model: Model, calm: dict[str, AnomalyDetector]) -> dict[str, float]:
    spent: defaultdict[str, float] = defaultdict(float)

    def timed(name: str, step: Callable[..., Any], *arguments: Any) -> Any:
        began = time.thread_time()
        result = step(*arguments)
        spent[name] += time.thread_time() - began
        return result

    consumed_us, batches = _consume(bootstrap)
    decoder = Decoder.of_all_versions()
    detector, other = (AnomalyDetector() for _ in range(2))
    for each in (detector, other):
        each.add(model)
    for number, messages in enumerate(batches):
        if number == WARM_UP:
            spent.clear()
        keys = timed("messages", lambda batch: list(map(Message.key, batch)), messages)
        batch = timed("messages", Batch.of, messages, keys)
        decoded = timed("decode", decoder.decode_joined, batch.values, batch.keys)
        partitions = batch.partitions[decoded.rows]
        by_car, sifted = timed("sift", detector.sift, batch.keys, partitions, decoded)
        timed("detect", detector.detect, by_car, sifted, decoded)
        for name, each in calm.items():
            _learned(each, batch)
            timed(name, each.detect, *each.sift(batch.keys, partitions, decoded), decoded)
        states = np.zeros((len(decoded.rows), model.width), np.float32)
        timed("invoke", model.step, decoded.signals, states)
        timed("audits", audits, batch, decoded.rows, sifted)
        timed("all", _score, batch, decoder, other)
    count = BATCH * (len(batches) - WARM_UP)
    steps = ("decode", "sift", "detect", "audits")
    spent["anomalies"] = spent.pop("all") - sum(spent[step] for step in steps)
    names = ("messages", *steps, *calm, "invoke", "anomalies")
    return {"consume": consumed_us} | {name: round(1e6 * spent[name] / count, 3) for name in names}


def _score(batch: Batch, decoder: Decoder, detector: AnomalyDetector) -> Any:
    return score(batch, decoder, detector, now_ms=0, scorer="bench", source=Source())


def _consume(bootstrap: str) -> tuple[float, list[list[Message]]]:
    """µs a record to consume, and BATCHES full batches. Raises WorldDown."""
    consumer = reader(bootstrap, TELEMETRY, fetch_min_bytes=100_000)
    batches: list[list[Message]] = []
    count, began_s, deadline = 0, time.process_time(), time.monotonic() + _ARRIVES_WITHIN_S
    while len(batches) < BATCHES:
        messages = consumer.consume(BATCH, 0.1)
        count += len(messages)
        if len(messages) == BATCH:
            batches.append(messages)
        if time.monotonic() > deadline:
            raise WorldDown(f"only {count} records for the scorer's parts in {_ARRIVES_WITHIN_S:.0f} s")
    consumed_us = 1e6 * (time.process_time() - began_s) / count
    consumer.close()
    return round(consumed_us, 3), batches


def measure_states(bootstrap: str, record: bytes) -> dict[str, float]:
    """CPU a written state of 100 000 cars, and seconds to restore all partitions. Raises WorldDown."""
    model = Model.open(record, "litert")
    detector, snapshots = _detector(model)
    cars = np.arange(_CARS)
    ids = Joined.of([b"state-%06d" % car for car in cars])
    detector.cars.numbers(ids, (cars % TELEMETRY_PARTITIONS).astype(np.int32))
    states = detector.generations.newest.column.values[:_CARS]
    states[:] = np.random.default_rng(1).normal(size=states.shape)
    detector.seq.values[:_CARS], detector.sampled_at.values[:_CARS] = 1_000, time.time_ns() // 1_000_000
    results, began_s = Results(kafka.producer(bootstrap), Source()), time.process_time()
    for _ in range(_STATE_WRITES):
        detector.changed.values[:_CARS] = True
        results.write(Scored(), snapshots.changed_in(range(TELEMETRY_PARTITIONS)))
        _settle(results)
    write_us = 1e6 * (time.process_time() - began_s) / _CARS / _STATE_WRITES

    successor, snapshots = _detector(model)
    consumer = kafka.consumer(
        bootstrap, group_id="bench-states", enable_partition_eof=True, fetch_wait_max_ms=10
    )
    # 0: no telemetry is read back, which is another figure and bounded by a setting of the scorer.
    assignment = Assignment(
        consumer, Decoder.of_all_versions(), successor, snapshots, 0, snapshots.source,
        topic_id=lambda: "", has_members=lambda _: False,
    )  # fmt: skip
    began_s = time.perf_counter()
    assignment.resume(TopicPartition(TELEMETRY, number, -1) for number in range(TELEMETRY_PARTITIONS))
    restore_s = time.perf_counter() - began_s
    consumer.close()
    if len(successor.cars) < _CARS:
        raise WorldDown(f"only {len(successor.cars)} of {_CARS} cars were restored from {CAR_STATE}")
    return {"state_write_us": round(write_us, 2), "restore_100k_cars_s": round(restore_s, 2)}


def _detector(model: Model) -> tuple[AnomalyDetector, Snapshots]:
    detector = AnomalyDetector()
    detector.add(model)
    return detector, Snapshots(detector, "bench-states", 10.0, lambda version: None)


def _settle(results: Results) -> None:
    deadline = time.monotonic() + _DELIVERED_WITHIN_S
    while len(results):
        results.settle(0.01)
        if time.monotonic() > deadline:
            raise WorldDown(f"Kafka did not take {_CARS} car states within {_DELIVERED_WITHIN_S:.0f} s")
