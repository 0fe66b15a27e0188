"""What a simulated fleet sends, straight into Kafka as the bridge would write it: the scorer's load."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract import telemetry
from contract.framing import confluent_header
from contract.schema import get
from contract.telemetry import SIGNALS
from contract.topics import TELEMETRY
from plumbing import kafka
from plumbing.life import WorldDown
from simulator.cars import car_id
from simulator.faults import Wear
from simulator.fleet import Fleet

# Of the records: an engine that vibrates so many times as strongly as it should.
ODD_SHARE, _ODD_TIMES = 0.01, 4.0
_VIBRATION = SIGNALS.index("engine_vibration_amplitude")
_TAKEN_WITHIN_S = 60.0


@dataclass(frozen=True)
class Moment:
    """One sample of every car: n keys and values, and which of them are odd (n,)."""

    keys: list[str]
    values: list[bytes]
    odd: NDArray[np.bool_]


class Records:
    """Samples of healthy cars, one a second each, in an order that changes; some of them odd."""

    def __init__(self, cars: int, seed: int, odd_share: float = ODD_SHARE, first_seq: int = 1) -> None:
        schema = get(TELEMETRY, 1)
        self.cars = cars
        self._fleet = Fleet(seed=seed, first=0, cars=cars, wear=Wear(share=0.0))
        self._keys = [car_id(number) for number in range(cars)]
        head = confluent_header(schema.schema_id)
        self._prefixes = [head + telemetry.prefix(schema, key) for key in self._keys]
        self._chance = np.random.default_rng(seed)
        self._odd_share = odd_share
        self._seq = first_seq - 1
        self._second = 0

    def moment(self, cars: slice, sampled_at_ms: int) -> Moment:
        """The next sample of some cars; one of all cars, in parts, before the next of the first ones."""
        if cars.start == 0:
            self._seq, self._second = self._seq + 1, self._second + 1
        signals = self._fleet.step(cars, float(self._second), 1.0)
        count = len(signals)
        odd = self._chance.random(count) < self._odd_share
        signals[odd, _VIBRATION] *= _ODD_TIMES
        order = self._chance.permutation(count)
        places = (order + cars.start).tolist()
        values = telemetry.encode(
            [self._prefixes[place] for place in places],
            np.full(count, self._seq, np.int64),
            np.full(count, sampled_at_ms, np.int64),
            signals[order],
        )
        return Moment([self._keys[place] for place in places], values, odd[order])

    def moments(self, count: int) -> Iterator[Moment]:
        """`count` records, a multiple of the cars, as of the last seconds."""
        began_ms = time.time_ns() // 1_000_000 - 1_000 * (count // self.cars)
        for second in range(count // self.cars):
            yield self.moment(slice(0, self.cars), began_ms + 1_000 * second)


def fill(bootstrap: str, topic: str, records: Records, count: int) -> None:
    """Put `count` records on a topic. Raises WorldDown where Kafka does not take them."""
    producer = kafka.producer(bootstrap, queue_buffering_max_messages=2 * records.cars)
    for moment in records.moments(count):
        for key, value in zip(moment.keys, moment.values, strict=True):
            producer.produce(topic, value, key)
        if producer.flush(_TAKEN_WITHIN_S):
            raise WorldDown(f"Kafka did not take the records of {topic} in {_TAKEN_WITHIN_S:.0f} s")
