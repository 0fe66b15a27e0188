"""The scorer: a backlog and a steady load, from Kafka's bytes to committed results, in a real Kafka.

Twice: with a graph without state, and (`state_…`) with the trainer's, which remembers every car; there the
records of car-state are written meanwhile, too.

- drain: `records` records of a simulated fleet wait in the 12 partitions, 1 % of them odd. `python -m scorer`
  is started without a model and so reads nothing; then the model comes. The clock runs from the first batch's
  score to the last audit record in Kafka; CPU (user and system, all threads) from before the model to the
  moment when all is scored, audited and committed. The audit records must cover every offset once. This
  `drains` times, each with a scorer of its own: the median counts.
- steady: `rate` records a second, each stamped right before it is given to Kafka's client. An odd one's
  latency ends when a consumer beside us holds its anomaly: both of Kafka's ways, two clients' pauses (linger)
  and the scoring lie in between.

Then what a restart costs: the states of 100 000 cars, written to car-state and read back.

With --peers the same records and the model without state run through a Quix Streams application.
"""

import statistics
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from contract import records as small
from contract.manifest import pack, unpack
from contract.topics import ANOMALIES, AUDIT, TELEMETRY, TELEMETRY_PARTITIONS, edge_topics
from loadtest.bench import detector, parts, states
from loadtest.bench.arrivals import percentiles
from loadtest.bench.fleet import Records, fill
from loadtest.bench.run import READY_WITHIN_S, Run
from loadtest.peers import quix
from local.supervisor import Child
from local.usage import cpu_s
from plumbing import kafka
from plumbing.life import WorldDown

CARS, SEED = 10_000, 5
_STEADY_CARS = 10_000
_TICK_S = 0.005
_WARM_UP_S = 3.0
_SCORED_WITHIN_S = 120.0
_BINS_MS = (5, 10, 15, 20, 25, 30, 50, 100, 1_000)


def measure(run: Run) -> dict[str, float]:
    """Our scorer. Raises WorldDown where a record is not scored, or is scored twice."""
    models = {"": detector.stateless(run), "state_": detector.record(run)}
    count = run.settings.records // CARS * CARS
    run.say(f"scorer: {count} records of {CARS} cars into Kafka")
    fill(run.edge, TELEMETRY, Records(CARS, SEED), count)
    figures: dict[str, float] = {}
    run.say("once that does not count: Kafka's JVM compiles while it serves a first backlog")
    child = _scorer(run, "scorer-0")
    _drain(run, child, models[""])
    run.supervisor.stop(child.name)
    for number, (prefix, model) in enumerate(models.items(), 1):
        found = _measure(run, f"scorer-{number}", model, first_seq=number * 1_000_000)
        found |= {f"part_{name}_us": value for name, value in parts.measure(run.edge, model).items()}
        figures |= {prefix + name: value for name, value in found.items()}
    return figures | states.measure(run.edge, models["state_"])


def _measure(run: Run, name: str, model: bytes, first_seq: int) -> dict[str, float]:
    """`drains` scorers, each of its own group, and all records that are there; the last one gets more."""
    drained = []
    for again in range(run.settings.drains):
        child = _scorer(run, f"{name}-{again}")
        drained.append(_drain(run, child, model))
        steady = _steady(run, child, first_seq) if again == run.settings.drains - 1 else {}
        run.supervisor.stop(child.name)
    median = {key: statistics.median(one[key] for one in drained) for key in drained[0]}
    micros = [one["us_per_record"] for one in drained]
    return median | {"us_per_record_least": min(micros), "us_per_record_most": max(micros)} | steady


def peers(run: Run) -> dict[str, dict[str, float]]:
    """Quix Streams with the same records, which are still in Kafka, and the same model."""
    count = run.settings.records // CARS * CARS
    try:
        return {"quix-streams": quix.measure(run, detector.stateless(run), count)}
    except WorldDown as error:
        run.not_measured("quix-streams", str(error))
        return {}


def _scorer(run: Run, name: str) -> Child:
    """Started, and waiting for its first model; nothing is scored yet as far as it can see."""
    _forget_audits(run.edge)
    port = run.ports.scorer(0)
    told = {"kafka-bootstrap": run.edge, "group-id": name, "scorer-id": name, "model-name": name,
            "metrics-port": str(port)}  # fmt: skip
    child = run.python(name, "scorer", *(part for key, value in told.items() for part in (f"--{key}", value)))
    deadline = time.monotonic() + READY_WITHIN_S
    while "no model yet" not in _unready(port):
        run.supervisor.tick()
        if child.process is None or time.monotonic() > deadline:
            raise WorldDown(f"the scorer does not wait for a model:\n{run.supervisor.last_lines(name)}")
        time.sleep(0.1)
    return child


def _unready(port: int) -> str:
    """Why a service is not ready; empty where it does not say."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
            return ""
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.read().decode()
    except OSError:
        return ""


@dataclass
class Audits:
    """What the audit log says of one scorer, read as it grows."""

    bootstrap: str
    scorer: str
    scored: int = 0
    duplicates: int = 0
    count: int = 0
    first_scored_ms: int = 1 << 62
    last_written_ms: int = 0
    spans: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._consumer = kafka.consumer(self.bootstrap, group_id="bench-audits")
        self._consumer.assign(
            [TopicPartition(AUDIT, p, OFFSET_BEGINNING) for p in range(TELEMETRY_PARTITIONS)]
        )

    def read(self, wait_s: float) -> None:
        """Take in what is there."""
        for message in self._consumer.consume(5_000, wait_s):
            if message.error() is not None:
                raise WorldDown(f"reading {AUDIT}: {message.error()}")
            _, audit = small.decode(message.value() or b"")
            if audit["scorer"] != self.scorer:
                continue
            self.count += 1
            self.scored += audit["scored"]
            self.duplicates += audit["duplicates"]
            self.first_scored_ms = min(self.first_scored_ms, audit["scored_at"])
            self.last_written_ms = max(self.last_written_ms, message.timestamp()[1])
            self.spans.append((audit["partition"], audit["first_offset"], audit["last_offset"]))

    def uncovered(self) -> int:
        """Offsets between the first and the last of the audit records that are not in exactly one of them."""
        wrong, after = 0, Counter[int]()
        for partition, first, last in sorted(self.spans):
            wrong += abs(first - after[partition])
            after[partition] = last + 1
        return wrong


def _drain(run: Run, child: Child, model: bytes) -> dict[str, float]:
    assert child.pid is not None
    # By the name that this one asks for: it would find another one's model, and begin before the clock.
    manifest, tflite = unpack(model)
    model = pack(replace(manifest, name=child.name), tflite)
    count = _count(run.edge)
    audits = Audits(run.edge, child.name)
    before = {name: _cpu(run, name) for name in (child.name, "edge")}
    detector.publish(run, model)
    deadline = time.monotonic() + _SCORED_WITHIN_S
    while audits.scored + audits.duplicates < count:
        audits.read(0.05)
        _must_go_on(run, child, deadline, f"{audits.scored} of {count} records are scored")
    while _committed(run.edge, child.name) < count:
        _must_go_on(run, child, deadline, "offsets are not committed")
        time.sleep(0.05)
    spent = {name: 1e6 * (_cpu(run, name) - cpu) / count for name, cpu in before.items()}
    if audits.duplicates or audits.uncovered():
        raise WorldDown(f"{audits.duplicates} duplicates, {audits.uncovered()} offsets not audited once")
    seconds = (audits.last_written_ms - audits.first_scored_ms) / 1_000
    micros = ", ".join(f"{name} {value:.2f} µs" for name, value in spent.items())
    rate = f"{count / seconds:.0f} records/s, {audits.count} audit records"
    run.say(f"{child.name}: {rate}; {micros} of CPU a record")
    return {"records_per_s": round(count / seconds), "us_per_record": round(spent[child.name], 3)}


def _steady(run: Run, child: Child, first_seq: int) -> dict[str, float]:
    rate, seconds = run.settings.rate, run.settings.steady_s
    run.say(f"{child.name}: {rate} records/s for {seconds:.0f} s")
    # More cars than a tick takes, none of those that were drained: their seq goes on from another one.
    records = Records(_STEADY_CARS, SEED, first_seq=first_seq)
    producer = kafka.producer(run.edge)
    consumer = kafka.consumer(run.edge, group_id="bench-anomalies", auto_offset_reset="latest")
    (partitions,) = [topic.partitions for topic in edge_topics() if topic.name == ANOMALIES]
    consumer.assign([TopicPartition(ANOMALIES, p, OFFSET_END) for p in range(partitions)])
    began = measured_from = time.monotonic()
    sent, spent, latencies, scored_after = 0, 0.0, [], []
    while (now := time.monotonic()) - began < _WARM_UP_S + seconds:
        due = min(int((now - began) * rate) - sent, _STEADY_CARS - sent % _STEADY_CARS)
        if due > 0:
            place, stamp_ms = sent % _STEADY_CARS, time.time_ns() // 1_000_000
            moment = records.moment(slice(place, place + due), stamp_ms)
            for key, value in zip(moment.keys, moment.values, strict=True):
                producer.produce(TELEMETRY, value, key)
            sent += due
        producer.poll(0)
        if not spent and now - began >= _WARM_UP_S:
            spent, measured_from, measured_sent = _cpu(run, child.name), now, sent
        until = time.monotonic() + _TICK_S
        while (left_s := until - time.monotonic()) > 0:
            if (message := consumer.poll(left_s)) is not None and message.error() is None:
                read_ms = time.time() * 1_000
                _, anomaly = small.decode(message.value() or b"")
                if measured_from > began and anomaly["seq"] >= first_seq:
                    latencies.append(read_ms - anomaly["sampled_at"])
                    scored_after.append(anomaly["scored_at"] - anomaly["sampled_at"])
    micros = 1e6 * (_cpu(run, child.name) - spent) / (sent - measured_sent)
    producer.flush(10)
    consumer.close()
    p50, p99 = percentiles(latencies)
    said = f"{len(latencies)} anomalies; ms from the sample to its anomaly: {_histogram(latencies)}"
    run.say(f"{child.name}: {said}")
    if not 0.9 < sent / ((_WARM_UP_S + seconds) * rate) < 1.1:
        raise WorldDown(f"{sent} records sent instead of {rate} a second")
    return {
        "steady_p50_ms": p50,
        "steady_p99_ms": p99,
        "steady_scored_p50_ms": percentiles(scored_after)[0],
        "steady_scored_p99_ms": percentiles(scored_after)[1],
        "steady_us_per_record": round(micros, 2),
    }


def _histogram(latencies_ms: list[float]) -> str:
    counts, _ = np.histogram(latencies_ms, [0, *_BINS_MS, np.inf])
    names = [*(f"≤{bound}" for bound in _BINS_MS), f">{_BINS_MS[-1]}"]
    return " ".join(f"{name}: {count}" for name, count in zip(names, counts.tolist(), strict=True) if count)


def _cpu(run: Run, name: str) -> float:
    pid = run.supervisor.children[name].pid
    found = cpu_s(pid) if pid is not None else None
    if found is None:
        raise WorldDown(f"{name} has ended:\n{run.supervisor.last_lines(name)}")
    return found


def _must_go_on(run: Run, child: Child, deadline: float, what: str) -> None:
    run.supervisor.tick()
    if child.process is None or time.monotonic() > deadline:
        raise WorldDown(f"{what}; the scorer's log ends:\n{run.supervisor.last_lines(child.name)}")


def _count(bootstrap: str) -> int:
    """Records in the telemetry."""
    consumer = kafka.consumer(bootstrap, group_id="bench-count")
    places = [TopicPartition(TELEMETRY, partition) for partition in range(TELEMETRY_PARTITIONS)]
    count = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
    consumer.close()
    return count


def _forget_audits(bootstrap: str) -> None:
    """What is audited is scored, by whomever: without them a scorer begins at the beginning."""
    ends = [TopicPartition(AUDIT, partition, OFFSET_END) for partition in range(TELEMETRY_PARTITIONS)]
    admin: Any = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for done in admin.delete_records(ends, request_timeout=20).values():
        done.result()


def _committed(bootstrap: str, group: str) -> int:
    """Records before the group's committed offsets."""
    admin: Any = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    (future,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    return sum(max(0, place.offset) for place in future.result().topic_partitions)
