"""The scorer: a backlog and a steady load, from Kafka's bytes to committed results, in a real Kafka.

Twice: with a graph without state, and (`state_…`) with the trainer's, which keeps a state for every car; then
the scorer also writes car-state records.

- drain: `records` records of a simulated fleet wait in the 12 partitions, 1 % of them odd. `python -m scorer`
  starts without a model and so reads nothing; then the model is published. The clock runs from the first
  batch's score to the last audit record in Kafka; CPU (user and system, all threads) counts from before the
  model until everything is scored, audited and committed. The audit records must cover every offset once.
  This happens `drains` times, each with a new scorer: the median counts.
- steady: `rate` records a second, each stamped right before it is given to Kafka's client. The latency of an
  odd record ends when a consumer here holds its anomaly: it includes both ways through Kafka, the pauses
  (linger) of two clients and the scoring.

Then what a restart costs: the states of 100 000 cars, written to car-state and read back.

With --peers the same records and the model without state run through a Quix Streams application.
"""

import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from confluent_kafka import OFFSET_END, ConsumerGroupTopicPartitions, TopicPartition

from contract import records as avro
from contract.manifest import pack, unpack
from contract.topics import ANOMALIES, AUDIT, MODELS, TELEMETRY, TELEMETRY_PARTITIONS, mirrored
from loadtest.bench import detector, parts
from loadtest.bench.arrivals import admin, end_offsets, percentiles
from loadtest.bench.fleet import Records, fill
from loadtest.bench.run import READY_WITHIN_S, BenchRun
from loadtest.peers import quix
from local.deployment import flags
from local.ledger import read_topic
from local.supervisor import Child
from local.watch import reader
from plumbing import kafka
from plumbing.life import WorldDown

CARS, SEED = 10_000, 5
_TICK_S = 0.005
_WARM_UP_S = 3.0
_SCORED_WITHIN_S = 120.0


def measure(run: BenchRun) -> dict[str, float]:
    """Our scorer. Raises WorldDown where a record is not scored, or is scored twice."""
    models = {"": detector.stateless(run), "state_": detector.record(run)}
    count = run.settings.records // CARS * CARS
    run.say(f"scorer: {count} records of {CARS} cars into Kafka")
    fill(run.edge, TELEMETRY, Records(CARS, SEED), count)
    figures: dict[str, float] = {}
    run.say("a drain that does not count: Kafka's JVM compiles while it serves a first backlog")
    child = _start_scorer(run, "scorer-0")
    _drain(run, child, models[""])
    run.stop(child.name)
    for number, (prefix, model) in enumerate(models.items(), 1):
        model_figures = _measure(run, f"scorer-{number}", model, first_seq=number * 1_000_000)
        model_figures |= {f"part_{name}_us": value for name, value in parts.measure(run.edge, model).items()}
        figures |= {prefix + name: value for name, value in model_figures.items()}
    return figures | parts.measure_states(run.edge, models["state_"])


def _quix(run: BenchRun) -> dict[str, float]:
    """Quix Streams with the same records, which are still in Kafka, and the same model."""
    return quix.measure(run, detector.stateless(run), run.settings.records // CARS * CARS)


PEERS = {"quix-streams": _quix}


def _measure(run: BenchRun, name: str, model: bytes, first_seq: int) -> dict[str, float]:
    """`drains` scorers, each in its own group, drain all records; the last one also gets the steady load."""
    drained = []
    for number in range(run.settings.drains):
        child = _start_scorer(run, f"{name}-{number}")
        drained.append(_drain(run, child, model))
        steady = _steady(run, child, first_seq) if number == run.settings.drains - 1 else {}
        run.stop(child.name)
    median = {key: statistics.median(one[key] for one in drained) for key in drained[0]}
    micros = [one["us_per_record"] for one in drained]
    return median | {"us_per_record_least": min(micros), "us_per_record_most": max(micros)} | steady


def _start_scorer(run: BenchRun, name: str) -> Child:
    """A scorer that waits for its first model, and sees no audit records: to it nothing has been scored."""
    audits = [TopicPartition(AUDIT, partition, OFFSET_END) for partition in range(TELEMETRY_PARTITIONS)]
    client = admin(run.edge)  # its futures complete only as long as it is referenced
    for deleted in client.delete_records(audits, request_timeout=20).values():
        deleted.result()
    settings = {"kafka_bootstrap": run.edge, "group_id": name, "scorer_id": name, "model_name": name}
    child = run.python(name, "scorer", *flags({**settings, "metrics_port": run.ports.scorer(0)}))
    waits = "waiting for the first model"
    run.wait_until(lambda: waits in run.supervisor.last_lines(name), child, READY_WITHIN_S, waits)
    return child


def uncovered(audits: Sequence[Mapping[str, Any]]) -> int:
    """Offsets from 0 to the last audited one that are not in exactly one audit record."""
    wrong, after = 0, Counter[int]()
    for partition, first, last in sorted(map(itemgetter("partition", "first_offset", "last_offset"), audits)):
        wrong += abs(first - after[partition])
        after[partition] = last + 1
    return wrong


def _drain(run: BenchRun, child: Child, model: bytes) -> dict[str, float]:
    # The model gets the name that this scorer asks for: under an earlier name it would be there too soon.
    manifest, tflite = unpack(model)
    model = pack(replace(manifest, name=child.name), tflite)
    count = sum(end_offsets(admin(run.edge)).values())
    before = run.cpu_s(child.name, "edge")
    producer = kafka.producer(run.edge)
    producer.produce(mirrored("cloud", MODELS), model, child.name)
    if producer.flush(30):
        raise WorldDown("Kafka did not take the model")
    # A scorer commits an offset after the audit record that covers it.
    run.wait_until(
        lambda: _committed(run.edge, child.name) >= count,
        child,
        _SCORED_WITHIN_S,
        f"{count} records are scored",
    )
    spent = {name: 1e6 * (cpu_s - before[name]) / count for name, cpu_s in run.cpu_s(*before).items()}
    written = [message for batch in read_topic(run.edge, AUDIT) for message in batch]
    audits = [avro.decode(message.value())[1] for message in written]
    scored, wrong = sum(audit["scored"] for audit in audits), uncovered(audits)
    if scored != count or wrong:
        raise WorldDown(f"{scored} of {count} records were scored, {wrong} offsets not audited once")
    last_written_ms = max(message.timestamp()[1] for message in written)
    seconds = (last_written_ms - min(audit["scored_at"] for audit in audits)) / 1_000
    micros = ", ".join(f"{name} {value:.2f} µs" for name, value in spent.items())
    rate = f"{count / seconds:.0f} records/s, {len(audits)} audit records"
    run.say(f"{child.name}: {rate}; {micros} of CPU a record")
    return {"records_per_s": round(count / seconds), "us_per_record": round(spent[child.name], 3)}


def _committed(bootstrap: str, group: str) -> int:
    """Records before the group's committed offsets."""
    groups = [ConsumerGroupTopicPartitions(group)]
    client = admin(bootstrap)
    (future,) = client.list_consumer_group_offsets(groups).values()
    return sum(max(0, partition.offset) for partition in future.result().topic_partitions)


def _steady(run: BenchRun, child: Child, first_seq: int) -> dict[str, float]:
    rate, seconds = run.settings.rate, run.settings.steady_s
    run.say(f"{child.name}: {rate} records/s for {seconds:.0f} s")
    records = Records(CARS, SEED, first_seq=first_seq)  # seq above those of the drained records
    producer = kafka.producer(run.edge)
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
            spent, measured_from, measured_sent = run.cpu_s(child.name)[child.name], now, sent
        until = time.monotonic() + _TICK_S
        while (left_s := until - time.monotonic()) > 0:
            if (message := consumer.poll(left_s)) is not None and message.error() is None:
                read_ms = time.time() * 1_000
                _, anomaly = avro.decode(message.value() or b"")
                if measured_from > began and anomaly["seq"] >= first_seq:
                    latencies.append(read_ms - anomaly["sampled_at"])
                    scored_after.append(anomaly["scored_at"] - anomaly["sampled_at"])
    micros = 1e6 * (run.cpu_s(child.name)[child.name] - spent) / (sent - measured_sent)
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
