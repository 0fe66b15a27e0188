"""What a scorer is measured with: a backlog that it drains, and a steady load. See scorer.py."""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from confluent_kafka import OFFSET_END, ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from contract import records as avro
from contract.manifest import pack, unpack
from contract.topics import ANOMALIES, AUDIT, MODELS, TELEMETRY, TELEMETRY_PARTITIONS, mirrored
from loadtest.bench.arrivals import admin, end_offsets, percentiles
from loadtest.bench.fleet import Records
from loadtest.bench.run import READY_WITHIN_S, BenchRun
from local.deployment import ENVIRONMENT, flags
from local.ledger import read_topic
from local.supervisor import Child
from local.watch import reader
from plumbing import kafka
from plumbing.life import WorldDown

CARS, SEED = 10_000, 5
_TICK_S = 0.005
_WARM_UP_S = 3.0
_SCORED_WITHIN_S = 120.0


def start_scorer(
    run: BenchRun, name: str, program: Sequence[str] = (sys.executable, "-m", "scorer"), **settings: object
) -> Child:
    """A scorer that waits for its first model, and sees no audit records: to it nothing has been scored.

    `program` gets the flags of a scorer, among them `settings`.
    """
    audits = [TopicPartition(AUDIT, partition, OFFSET_END) for partition in range(TELEMETRY_PARTITIONS)]
    client = admin(run.edge)  # its futures complete only as long as it is referenced
    for deleted in client.delete_records(audits, request_timeout=20).values():
        deleted.result()
    settings |= {"kafka_bootstrap": run.edge, "group_id": name, "scorer_id": name, "model_name": name}
    settings["metrics_port"] = run.ports.scorer(0)
    child = Child(name, [*program, *flags(settings)], restart=False, env=ENVIRONMENT)
    run.supervisor.start(child)
    waits = "waiting for the first model"
    run.wait_until(lambda: waits in run.supervisor.last_lines(name), child, READY_WITHIN_S, waits)
    return child


def leave_last(bootstrap: str, group: str, count: int) -> dict[int, int]:
    """Let a group that has no members yet begin with about the last `count` records of the topic.

    Returns the offset at which it begins in each partition. Raises WorldDown where Kafka refuses.
    """
    share = -(-count // TELEMETRY_PARTITIONS)
    begin = {number: max(0, end - share) for number, end in end_offsets(admin(bootstrap)).items()}
    offsets = [TopicPartition(TELEMETRY, number, offset) for number, offset in begin.items()]
    consumer = kafka.consumer(bootstrap, group_id=group)
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        raise WorldDown(f"Kafka did not take the offsets of {group}: {error}") from error
    finally:
        consumer.close()
    return begin


def uncovered(audits: Sequence[Mapping[str, Any]], begin: Mapping[int, int] = {}) -> int:
    """Offsets from `begin` (or 0) to the last audited one that are not in exactly one audit record."""
    wrong, after = 0, Counter[int](begin)
    for partition, first, last in sorted(map(itemgetter("partition", "first_offset", "last_offset"), audits)):
        wrong += abs(first - after[partition])
        after[partition] = last + 1
    return wrong


def drain(
    run: BenchRun, child: Child, model: bytes, begin: Mapping[int, int] = {}, servers: Sequence[str] = ()
) -> dict[str, float]:
    """Publish the model and wait until everything is scored, from the offsets `begin` (or 0) on.

    The CPU of the children `servers` counts as the scorer's. Raises WorldDown where a record is not scored,
    or is scored twice.
    """
    # The model gets the name that this scorer asks for: under an earlier name it would be there too soon.
    manifest, tflite = unpack(model)
    model = pack(replace(manifest, name=child.name), tflite)
    end = sum(end_offsets(admin(run.edge)).values())
    count = end - sum(begin.values())
    before = run.cpu_s(child.name, *servers, "edge")
    producer = kafka.producer(run.edge)
    producer.produce(mirrored("cloud", MODELS), model, child.name)
    if producer.flush(30):
        raise WorldDown("Kafka did not take the model")
    # A scorer commits an offset after the audit record that covers it.
    run.wait_until(
        lambda: _committed(run.edge, child.name) >= end,
        child,
        _SCORED_WITHIN_S,
        f"{count} records are scored",
    )
    spent = {name: 1e6 * (cpu_s - before[name]) / count for name, cpu_s in run.cpu_s(*before).items()}
    written = [message for batch in read_topic(run.edge, AUDIT) for message in batch]
    audits = [avro.decode(message.value())[1] for message in written]
    scored, wrong = sum(audit["scored"] for audit in audits), uncovered(audits, begin)
    if scored != count or wrong:
        raise WorldDown(f"{scored} of {count} records were scored, {wrong} offsets not audited once")
    last_written_ms = max(message.timestamp()[1] for message in written)
    seconds = (last_written_ms - min(audit["scored_at"] for audit in audits)) / 1_000
    micros = ", ".join(f"{name} {value:.2f} µs" for name, value in spent.items())
    rate = f"{count / seconds:.0f} records/s, {len(audits)} audit records"
    run.say(f"{child.name}: {rate}; {micros} of CPU a record")
    broker_us = spent.pop("edge")
    return {
        "records_per_s": round(count / seconds),
        "us_per_record": round(sum(spent.values()), 3),
        "broker_us_per_record": round(broker_us, 2),
    }


def _committed(bootstrap: str, group: str) -> int:
    """Records before the group's committed offsets."""
    groups = [ConsumerGroupTopicPartitions(group)]
    client = admin(bootstrap)
    (future,) = client.list_consumer_group_offsets(groups).values()
    return sum(max(0, partition.offset) for partition in future.result().topic_partitions)


def steady(
    run: BenchRun, child: Child, first_seq: int, seconds: float, servers: Sequence[str] = ()
) -> dict[str, float]:
    """Latency and CPU while `rate` records come a second. Raises WorldDown where they cannot be sent.

    The CPU of the children `servers` counts as the scorer's.
    """
    rate = run.settings.rate
    run.say(f"{child.name}: {rate} records/s for {seconds:.0f} s")
    records = Records(CARS, SEED, first_seq=first_seq)  # seq above those of the drained records
    producer, programs = kafka.producer(run.edge), (child.name, *servers)
    consumer = reader(run.edge, ANOMALIES, offset=OFFSET_END, auto_offset_reset="latest")
    began = measured_from = time.monotonic()
    sent = measured_sent = 0
    spent, latencies, scored_after = 0.0, [], []
    while (now := time.monotonic()) - began < _WARM_UP_S + seconds:
        due = min(int((now - began) * rate) - sent, CARS - sent % CARS)
        if due > 0:
            first = sent % CARS
            samples = records.next_samples(slice(first, first + due), time.time_ns() // 1_000_000)
            for key, value in zip(*samples, strict=True):
                producer.produce(TELEMETRY, value, key)
            sent += due
        producer.poll(0)
        if not spent and now - began >= _WARM_UP_S:
            spent, measured_from, measured_sent = sum(run.cpu_s(*programs).values()), now, sent
        until = time.monotonic() + _TICK_S
        while (left_s := until - time.monotonic()) > 0:
            if (message := consumer.poll(left_s)) is not None and message.error() is None:
                read_ms = time.time() * 1_000
                _, anomaly = avro.decode(message.value() or b"")
                if measured_from > began and anomaly["seq"] >= first_seq:
                    latencies.append(read_ms - anomaly["sampled_at"])
                    scored_after.append(anomaly["scored_at"] - anomaly["sampled_at"])
    micros = 1e6 * (sum(run.cpu_s(*programs).values()) - spent) / (sent - measured_sent)
    producer.flush(10)
    consumer.close()
    run.say(f"{child.name}: {len(latencies)} anomalies")
    if not 0.9 < sent / ((_WARM_UP_S + seconds) * rate) < 1.1:
        raise WorldDown(f"{sent} records sent instead of {rate} a second")
    return {
        "steady_p50_ms": percentiles(latencies)[0],
        "steady_p99_ms": percentiles(latencies)[1],
        "steady_scored_p50_ms": percentiles(scored_after)[0],
        "steady_scored_p99_ms": percentiles(scored_after)[1],
        "steady_us_per_record": round(micros, 2),
    }
