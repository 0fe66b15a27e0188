"""The cost of the states of 100 000 cars: written to car-state, and read back at a takeover."""

import time

import numpy as np

from contract.joined import Joined
from contract.telemetry import Decoder
from contract.topics import CAR_STATE, TELEMETRY_PARTITIONS
from plumbing import kafka
from plumbing.life import WorldDown
from scorer.assignment import Assignment
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.results import Results
from scorer.scoring import Scored
from scorer.snapshots import Snapshots

CARS = 100_000
# Writes of each car's state. Compaction does not remove any in time, so more is read back than usually.
_WRITES = 3
_DELIVERED_WITHIN_S = 60.0


def measure(bootstrap: str, record: bytes) -> dict[str, float]:
    """CPU a written state, and seconds to restore all partitions. Raises WorldDown."""
    model = Model.open(record, "litert")
    detector, snapshots = _detector(model)
    cars = np.arange(CARS)
    ids = Joined.of([b"state-%06d" % car for car in cars])
    detector.cars.numbers(ids, (cars % TELEMETRY_PARTITIONS).astype(np.int32))
    states = detector.generations.newest.column.values[:CARS]
    states[:] = np.random.default_rng(1).normal(size=states.shape)
    detector.seq.values[:CARS], detector.sampled_at.values[:CARS] = 1_000, time.time_ns() // 1_000_000
    results, began_s = Results(kafka.producer(bootstrap)), time.process_time()
    for _ in range(_WRITES):
        detector.changed.values[:CARS] = True
        results.write(Scored(), snapshots.changed_in(range(TELEMETRY_PARTITIONS)))
        _settle(results)
    write_us = 1e6 * (time.process_time() - began_s) / CARS / _WRITES

    successor, snapshots = _detector(model)
    reader = kafka.consumer(
        bootstrap, group_id="bench-states", enable_partition_eof=True, fetch_wait_max_ms=10
    )
    # 0: no telemetry is read back, which is another figure and bounded by a setting of the scorer.
    assignment = Assignment(reader, Decoder.of_all_versions(), successor, snapshots, 0)
    began_s = time.perf_counter()
    assignment.resume(dict.fromkeys(range(TELEMETRY_PARTITIONS), -1))
    restore_s = time.perf_counter() - began_s
    reader.close()
    if len(successor.cars) < CARS:
        raise WorldDown(f"only {len(successor.cars)} of {CARS} cars were restored from {CAR_STATE}")
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
            raise WorldDown(f"Kafka did not take {CARS} car states within {_DELIVERED_WITHIN_S:.0f} s")
