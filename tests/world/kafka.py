"""Kafka in memory: a log of partitions, and a producer whose messages travel by themselves."""

from collections import deque
from collections.abc import Callable
from typing import Any
from zlib import crc32

from confluent_kafka import KafkaError, Message

from tests.world.processes import Process, Schedule

Report = Callable[[KafkaError | None, Message], None]
# Most messages of a partition in the requests that Kafka still takes from a producer that was killed.
_ON_THE_WAY_MAX = 40


class Log:
    """Topics with their partitions; offsets have no gaps."""

    def __init__(self, schedule: Schedule, partitions: dict[str, int]) -> None:
        self._schedule = schedule
        self.partitions = partitions
        self.away_until_s = 0.0
        self.slow_s = 0.005  # mean time until Kafka has a message
        self._messages: dict[tuple[str, int], list[Message]] = {
            (topic, number): [] for topic, count in partitions.items() for number in range(count)
        }
        self.appended_at_ms: dict[tuple[str, int], list[int]] = {place: [] for place in self._messages}

    @property
    def away(self) -> bool:
        """Whether Kafka answers nothing now."""
        return self._schedule.now < self.away_until_s

    def wait_for(self, process: Process) -> None:
        """Let a process wait until Kafka answers."""
        process.call()
        while self.away:
            process.wait(self.away_until_s - self._schedule.now)

    def of(self, topic: str, partition: int) -> list[Message]:
        """The messages of a partition; a message's number is its offset."""
        return self._messages[topic, partition]

    def all(self, topic: str) -> list[Message]:
        """The messages of all partitions, one partition after the other."""
        return [each for number in range(self.partitions[topic]) for each in self.of(topic, number)]

    def append(self, topic: str, value: bytes | None, key: bytes | None, partition: int) -> None:
        """Write one message."""
        messages = self.of(topic, partition)
        messages.append(Message(topic=topic, partition=partition, offset=len(messages), key=key, value=value))
        self.appended_at_ms[topic, partition].append(int(self._schedule.now * 1_000))


class Producer:
    """A producer's client. Messages of a partition stay in order; partitions do not wait for each other."""

    def __init__(self, schedule: Schedule, process: Process, log: Log) -> None:
        self._schedule, self._process, self._log = schedule, process, log
        self._queues: dict[tuple[str, int], deque[tuple[bytes | None, bytes | None, Report | None]]] = {}
        self._due_s: dict[tuple[str, int], float] = {}  # when the last message of a partition arrives
        self._held = 0  # messages whose delivery the client does not know of
        self._reports: list[Report] = []
        process.at_death.append(self._die)

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | str | None = None,
        *,
        partition: int = -1,
        headers: Any = None,
        on_delivery: Report | None = None,
    ) -> None:
        self._process.call()
        count, chance = self._log.partitions[topic], self._schedule.random
        key = key.encode() if isinstance(key, str) else key
        if partition < 0:
            partition = crc32(key) % count if key else chance.randrange(count)
        place = topic, partition
        self._queues.setdefault(place, deque()).append((value, key, on_delivery))
        self._held += 1
        due_s = self._schedule.now + chance.expovariate(1 / self._log.slow_s)
        self._due_s[place] = due_s = max(due_s, self._due_s.get(place, 0.0))
        self._schedule.after(due_s - self._schedule.now, lambda: self._arrive(place))

    def _arrive(self, place: tuple[str, int]) -> None:
        if self._log.away:
            self._schedule.after(
                self._log.away_until_s - self._schedule.now + 0.001, lambda: self._arrive(place)
            )
        elif queue := self._queues[place]:
            value, key, report = queue.popleft()
            self._log.append(place[0], value, key, place[1])
            answer_s = self._schedule.random.uniform(0, self._log.slow_s)
            self._schedule.after(answer_s, lambda: self._confirm(report))

    def _confirm(self, report: Report | None) -> None:
        if report is None:
            self._held -= 1
        else:
            self._reports.append(report)

    def _die(self) -> None:
        """Some messages of each partition are with Kafka already; the others are gone."""
        for queue in self._queues.values():
            for _ in range(len(queue) - self._schedule.random.randint(0, _ON_THE_WAY_MAX)):
                queue.pop()

    def __len__(self) -> int:
        return self._held

    def poll(self, timeout_s: float = 0.0) -> int:
        self._process.call()
        if timeout_s and not self._reports:
            self._process.wait(timeout_s, lambda: self._reports)
        reports, self._reports = self._reports, []
        self._held -= len(reports)
        for report in reports:
            report(None, None)
        return len(reports)

    def flush(self, timeout_s: float) -> int:
        self._process.wait(timeout_s, lambda: not self._held)
        self.poll()
        return self._held
