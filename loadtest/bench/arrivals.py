"""What of the benchmark's traffic is in Kafka: when it came, whether all is there, in each car's order."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from numpy.typing import NDArray

from contract.framing import SINGLE_OBJECT_BYTES, confluent_header, schema_ids
from contract.schema import latest, schemas
from contract.telemetry import Decoder
from contract.topics import TELEMETRY, TELEMETRY_PARTITIONS
from contract.varints import Longs
from loadtest.bench.traffic import car_number
from plumbing import kafka
from plumbing.life import WorldDown

_ANSWER_WITHIN_S = 20.0
_LOOK_S_MIN, _LOOK_S_MAX = 0.01, 0.5
_BATCH_MAX = 10_000
_AS_OURS = confluent_header(latest(TELEMETRY).schema_id)


@dataclass(frozen=True)
class Ledger:
    """Of the messages that must be there: missing, there again, first arrivals that overtook an older one."""

    lost: int
    doubled: int
    out_of_order: int

    def as_figures(self) -> dict[str, float]:
        """For the table."""
        return {"lost": self.lost, "doubled": self.doubled, "out_of_order": self.out_of_order}


@dataclass
class Arrivals:
    """n records as they were read: key and value, and when, in ms since 1970."""

    keys: list[bytes]
    values: list[bytes]
    read_at_ms: list[float]

    def decoded(self) -> tuple[Longs, Longs, Longs, NDArray[np.float64]]:
        """(car, seq, sampled_at_ms, read_at_ms), (n,) each. Raises WorldDown for what is no telemetry.

        Peers leave the frame of the MQTT payload as it is, which is no fault of theirs.
        """
        values = [v if v[:1] == b"\0" else _AS_OURS + v[SINGLE_OBJECT_BYTES:] for v in self.values]
        found = Decoder(schema_ids(schemas())).decode(values, self.keys)
        if found.rejected:
            raise WorldDown(f"{len(found.rejected)} of {len(values)} records: {found.rejected[0][1]}")
        cars = np.fromiter(map(car_number, self.keys), np.int64, len(self.keys))
        return cars, found.seq, found.sampled_at_ms, np.array(self.read_at_ms)


class Tail:
    """Reads the telemetry topic from where it ended when this was made."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer: Consumer = kafka.consumer(bootstrap, group_id="bench-arrivals")
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._began_at = self._ends()
        self._reads = False
        self._arrivals = Arrivals([], [], [])

    def follow(self, seconds: float) -> None:
        """Keep what comes, as soon as it can be read, for so long."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._read(min(0.05, left_s))

    def read(self, count: int, timeout_s: float) -> Arrivals:
        """All that came since it was made, or since the last call: at least `count`, unless time runs out."""
        deadline = time.monotonic() + timeout_s
        while len(self._arrivals.keys) < count and time.monotonic() < deadline:
            self._read(0.1)
        self.follow(0.2)  # what comes twice comes right behind
        found, self._arrivals = self._arrivals, Arrivals([], [], [])
        return found

    def watch(self, count: int, timeout_s: float) -> float:
        """Records a second, from the first look that finds some to the one that finds all `count`.

        (Where one look finds all: since the look before it.)
        It asks for the ends of the log only, more and more often as the end comes near, and must be called
        before anything is read: a look each 10 ms took 5 % of what two cores had for all that is measured.
        Raises WorldDown where they are not there in time.
        """
        first, first_at = 0, time.monotonic()
        deadline = first_at + timeout_s
        while True:
            came = sum(self._ends().values()) - sum(self._began_at.values())
            now = time.monotonic()
            if came >= count:
                return (came - first) / (now - first_at)
            if not first:
                first, first_at = came, now
            if now > deadline:
                raise WorldDown(f"only {came} of {count} messages are in Kafka after {timeout_s:.0f} s")
            rest_s = (count - came) * (now - first_at) / (came - first) if came > first else 0.0
            time.sleep(min(max(rest_s / 2, _LOOK_S_MIN), _LOOK_S_MAX))

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def _ends(self) -> dict[int, int]:
        """The next offset of each partition, by one request. A new topic has no leaders for a moment."""
        end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(TELEMETRY, number): end for number in range(TELEMETRY_PARTITIONS)}
        deadline = time.monotonic() + _ANSWER_WITHIN_S
        while True:
            answers = self._admin.list_offsets(wanted, request_timeout=_ANSWER_WITHIN_S)
            try:
                return {partition.partition: found.result().offset for partition, found in answers.items()}
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise WorldDown(f"Kafka does not say where {TELEMETRY} ends: {error}") from error
                time.sleep(0.1)

    def _read(self, timeout_s: float) -> None:
        if not self._reads:
            self._consumer.assign([TopicPartition(TELEMETRY, n, at) for n, at in self._began_at.items()])
            self._reads = True
        first = self._consumer.poll(timeout_s)
        if first is None:
            return
        messages = [first, *self._consumer.consume(_BATCH_MAX, 0)]
        now_ms = time.time() * 1_000
        for message in messages:
            if message.error() is not None:
                raise WorldDown(f"reading {TELEMETRY}: {message.error()}")
        self._arrivals.keys += [message.key() or b"" for message in messages]
        self._arrivals.values += [message.value() or b"" for message in messages]
        self._arrivals.read_at_ms += [now_ms] * len(messages)


def reconcile(cars: Longs, seq: Longs, wanted: int, fleet: int, first_seq: int) -> Ledger:
    """Compare records (n,) in the order of their arrival with `wanted` messages of traffic.Traffic.

    `fleet` cars took turns, each beginning with `first_seq`.
    """
    places = (seq - first_seq) * fleet + cars  # 0 to wanted - 1, each once
    ours = places[(places >= 0) & (places < wanted)]
    distinct, first = np.unique(ours, return_index=True)
    arrived = ours[np.sort(first)]
    order = np.argsort(arrived % fleet, kind="stable")  # by car, each in the order of arrival
    steps = np.diff(arrived[order])
    same_car = np.diff(arrived[order] % fleet) == 0
    overtaken = int(np.count_nonzero(same_car & (steps < 0)))
    return Ledger(wanted - len(distinct), len(ours) - len(distinct), overtaken)


def percentiles(latencies_ms: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """(p50, p99), rounded to 0.1 ms. Raises WorldDown where there is nothing to judge."""
    if not len(latencies_ms):
        raise WorldDown("no message arrived while the steady load was measured")
    p50, p99 = np.percentile(latencies_ms, [50, 99])
    return round(float(p50), 1), round(float(p99), 1)
