"""Kafka's consumers in memory: a group whose members take partitions over, and readers outside of it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from contract.topics import TELEMETRY
from tests.world.kafka import Log
from tests.world.processes import Process, Schedule

SESSION_S = 10.0
_HEARTBEAT_S = 0.5
_ANSWER_S_MAX = 10.0
_NO_OFFSET = -1001
TOPIC_ID = "telemetry-1"


class Group:
    """What the coordinator of a group knows: who owns which partitions, and what is committed."""

    def __init__(self, schedule: Schedule, log: Log, lost_commits: float) -> None:
        """`lost_commits`: the share of asynchronous commits that never arrive."""
        self._schedule, self._log = schedule, log
        self.lost_commits = lost_commits
        self.committed: dict[int, int] = {}
        self.members: list[GroupConsumer] = []  # in order of joining
        self.take_overs = 0

    def target(self, member: "GroupConsumer") -> set[int]:
        """The partitions that a member is to have."""
        self.expel_silent()
        partitions = self._log.partitions[TELEMETRY]
        first, count = self.members.index(member), len(self.members)
        return set(range(first, partitions, count))

    def expel_silent(self) -> None:
        """Members that were killed, or stand still, for a session are members no more."""
        now = self._schedule.now
        self.members = [each for each in self.members if each.silent_since_s + SESSION_S > now]

    def free(self, member: "GroupConsumer", wanted: set[int]) -> set[int]:
        """The partitions among them that no other member has."""
        return wanted.difference(*(each.owned for each in self.members if each is not member))


class GroupConsumer:
    """A member's client. The callbacks of a rebalance are called from `poll`, `consume` and `close`."""

    def __init__(self, schedule: Schedule, process: Process, log: Log, group: Group) -> None:
        self._schedule, self._process, self._log, self._group = schedule, process, log, group
        self.owned: set[int] = set()
        self._positions: dict[int, int] = {}
        self._heartbeat_at = 0.0
        self._callbacks: dict[str, Callable[..., None]] = {}

    @property
    def silent_since_s(self) -> float:
        """Since when the coordinator hears nothing of it; infinity: it does."""
        return self._process.silent_since_s

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self._callbacks = callbacks
        self._group.members.append(self)

    def poll(self, timeout_s: float) -> Message | None:
        self._process.call()
        self._rebalance()
        if timeout_s and not self._readable():
            self._process.wait(timeout_s, self._readable)
        taken = self._take(1)
        return taken[0] if taken else None

    def consume(self, count: int, timeout_s: float) -> list[Message]:
        self._process.call()
        if self._schedule.random.random() < 0.3:
            self._rebalance()
        return self._take(self._schedule.random.randint(count // 2, count))

    def _readable(self) -> bool:
        return not self._log.away and any(
            position < len(self._log.of(TELEMETRY, number)) for number, position in self._positions.items()
        )

    def _take(self, count: int) -> list[Message]:
        """Up to so many records, partition by partition; of some only those that were fetched."""
        taken: list[Message] = []
        if self._log.away:
            return taken
        numbers = sorted(self._positions)
        self._schedule.random.shuffle(numbers)
        for number in numbers:
            begin = self._positions[number]
            end = min(len(self._log.of(TELEMETRY, number)), begin + count - len(taken))
            if end > begin:
                end = self._schedule.random.randint(begin + 1, end)
                taken += self._log.of(TELEMETRY, number)[begin:end]
                self._positions[number] = end
        return taken

    def _rebalance(self) -> None:
        if self._log.away or self._schedule.now < self._heartbeat_at:
            return
        self._heartbeat_at = self._schedule.now + self._schedule.random.uniform(0, 2 * _HEARTBEAT_S)
        if self not in self._group.members:  # it stood still for longer than a session
            self._callbacks["on_lost"](self, _places(self.owned))
            self.owned = set()
            self._group.members.append(self)
        target = self._group.target(self)
        if surplus := self.owned - target:
            self._callbacks["on_revoke"](self, _places(surplus))
            self.owned -= surplus
        elif new := self._group.free(self, target - self.owned):
            self.owned |= new
            self._group.take_overs += 1
            if self._process.calls_left_in_take_over is not None:
                self._process.calls_left = self._process.calls_left_in_take_over
            self._callbacks["on_assign"](self, _places(new))

    def incremental_assign(self, assigned: list[TopicPartition]) -> None:
        self._process.call()
        self._positions |= {each.partition: each.offset for each in assigned}

    def incremental_unassign(self, given_up: list[TopicPartition]) -> None:
        self._process.call()
        for each in given_up:
            self._positions.pop(each.partition, None)

    def committed(self, asked: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._log.wait_for(self._process)
        offsets = self._group.committed
        return [
            TopicPartition(
                TELEMETRY, each.partition, offsets.get(each.partition, _NO_OFFSET), metadata=TOPIC_ID
            )
            for each in asked
        ]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self._process.call()
        if self._log.away and not asynchronous:
            self._process.wait(_ANSWER_S_MAX)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        if self not in self._group.members:
            if asynchronous:
                return
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))
        lost = self._schedule.random.random() < self._group.lost_commits
        if not self._log.away and not (asynchronous and lost):
            assert {each.metadata for each in offsets} == {TOPIC_ID}
            self._group.committed |= {each.partition: each.offset for each in offsets}

    def get_watermark_offsets(self, asked: TopicPartition, **_: Any) -> tuple[int, int]:
        return 0, len(self._log.of(TELEMETRY, asked.partition))

    def close(self) -> None:
        self._process.call()
        if self.owned:
            self._callbacks["on_revoke"](self, _places(self.owned))
        self.owned = set()
        if self in self._group.members:
            self._group.members.remove(self)


class Reader:
    """A client that reads what it assigns itself, and reports the ends of partitions."""

    def __init__(self, schedule: Schedule, process: Process, log: Log) -> None:
        self._schedule, self._process, self._log = schedule, process, log
        self._positions: dict[tuple[str, int], int] = {}
        self._ended: set[tuple[str, int]] = set()  # whose end is reported
        self._paused: set[tuple[str, int]] = set()

    def assign(self, places: list[TopicPartition]) -> None:
        self._process.call()
        self._positions = {(each.topic, each.partition): each.offset for each in places}
        self._ended = set()

    def unassign(self) -> None:
        self._positions = {}

    def list_topics(self, timeout: float) -> Any:
        self._log.wait_for(self._process)
        counts = self._log.partitions.items()
        return SimpleNamespace(
            topics={name: SimpleNamespace(partitions=range(count)) for name, count in counts}
        )

    def pause(self, places: list[TopicPartition]) -> None:
        self._paused |= {(each.topic, each.partition) for each in places}

    def resume(self, places: list[TopicPartition]) -> None:
        self._paused -= {(each.topic, each.partition) for each in places}

    def get_watermark_offsets(self, asked: TopicPartition, timeout: float) -> tuple[int, int]:
        self._log.wait_for(self._process)
        return 0, len(self._log.of(asked.topic, asked.partition))

    def poll(self, timeout_s: float = 0.0) -> Message | None:
        taken = self.consume(1, timeout_s)
        return taken[0] if taken else None

    def consume(self, count: int, timeout_s: float) -> list[Message]:
        self._process.call()
        if not (taken := self._take(count)) and timeout_s:
            self._process.wait(timeout_s)
            taken = self._take(count)
        return taken

    def _take(self, count: int) -> list[Message]:
        taken: list[Message] = []
        if self._log.away:
            return taken
        for place, begin in self._positions.items():
            if place in self._paused:
                continue
            messages = self._log.of(*place)
            if begin < len(messages):
                room = self._schedule.random.randint(1, count - len(taken))
                self._positions[place] = end = min(len(messages), begin + room)
                taken += messages[begin:end]
            elif place not in self._ended:
                self._ended.add(place)
                end_reached = KafkaError(KafkaError._PARTITION_EOF)
                taken.append(Message(topic=place[0], partition=place[1], error=end_reached))
            if len(taken) >= count:
                break
        return taken


def _places(numbers: set[int]) -> list[TopicPartition]:
    return [TopicPartition(TELEMETRY, number) for number in sorted(numbers)]
