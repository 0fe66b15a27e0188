"""A simulated fleet's telemetry as the bridge would write it to Kafka: the load of the scorer's stage."""

import time
from collections.abc import Iterator

import numpy as np

from contract import telemetry
from contract.records import confluent_header
from contract.schema import latest
from contract.telemetry import SIGNALS
from contract.topics import TELEMETRY
from plumbing import kafka
from plumbing.life import WorldDown
from simulator.cars import car_id
from simulator.fleet import Fleet
from simulator.scenario import Scenario

# This share of the records is odd: the engine vibrates this many times as strongly as it should.
ODD_SHARE, _ODD_FACTOR = 0.01, 4.0
_VIBRATION = SIGNALS.index("engine_vibration_amplitude")
_FLUSH_WITHIN_S = 60.0


class Records:
    """Samples of healthy cars, one a second each, in an order that changes; some of them are odd."""

    def __init__(self, cars: int, seed: int, odd_share: float = ODD_SHARE, first_seq: int = 1) -> None:
        schema = latest(TELEMETRY)
        self.cars = cars
        self._fleet = Fleet(seed=seed, first=0, cars=cars, scenario=Scenario(faulty_share=0.0))
        self._keys = [car_id(number) for number in range(cars)]
        header = confluent_header(schema.schema_id)
        self._prefixes = [header + telemetry.prefix(schema, key) for key in self._keys]
        self._random = np.random.default_rng(seed)
        self._odd_share = odd_share
        self._seq = first_seq - 1
        self._second = 0

    def next_samples(self, cars: slice, sampled_at_ms: int) -> tuple[list[str], list[bytes]]:
        """Keys and values of some cars' next samples; slices must cover all cars before car 0 comes again."""
        if cars.start == 0:
            self._seq, self._second = self._seq + 1, self._second + 1
        signals = self._fleet.step(cars, float(self._second), 1.0)
        count = len(signals)
        odd = self._random.random(count) < self._odd_share
        signals[odd, _VIBRATION] *= _ODD_FACTOR
        order = self._random.permutation(count)
        numbers = (order + cars.start).tolist()
        values = telemetry.encode(
            [self._prefixes[number] for number in numbers],
            np.full(count, self._seq, np.int64),
            np.full(count, sampled_at_ms, np.int64),
            signals[order],
        )
        return [self._keys[number] for number in numbers], values

    def last_seconds(self, count: int) -> Iterator[tuple[list[str], list[bytes]]]:
        """`count` records (a multiple of the cars), a second of all cars at a time, ending now."""
        began_ms = time.time_ns() // 1_000_000 - 1_000 * (count // self.cars)
        for second in range(count // self.cars):
            yield self.next_samples(slice(0, self.cars), began_ms + 1_000 * second)


def fill(bootstrap: str, topic: str, records: Records, count: int) -> None:
    """Write `count` records to a topic. Raises WorldDown where Kafka does not take them."""
    producer = kafka.producer(bootstrap, queue_buffering_max_messages=2 * records.cars)
    for samples in records.last_seconds(count):
        for key, value in zip(*samples, strict=True):
            producer.produce(topic, value, key)
        if producer.flush(_FLUSH_WITHIN_S):
            raise WorldDown(f"Kafka did not take the records of {topic} within {_FLUSH_WITHIN_S:.0f} s")
