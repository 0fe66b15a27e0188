"""The bridge's loop: read from every shard, hand to Kafka, acknowledge once Kafka has it all.

It works in rounds. What is read in one round goes to Kafka; nothing more is read until Kafka has all of it;
then all of it is acknowledged. A round grows with the load (up to --in-flight-max), so that many messages
share the cost of polling, waiting and acknowledging, and no message needs a delivery report of its own.
"""

import logging
import select
import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from bridge import metrics
from bridge.forwarding import Forwarder
from bridge.settings import Settings
from bridge.shard import Shard
from contract.errors import Malformed
from contract.topics import REJECTED
from plumbing.health import Health
from plumbing.life import Stop, WorldDown
from plumbing.mqtt import ConnectionLost
from plumbing.names import Names

_log = logging.getLogger("bridge")

_IDLE_WAIT_S = 0.1
# Kafka takes a round within milliseconds; when it takes longer, the connections need care in between.
_DELIVERY_WAIT_S = 0.05
_WARN_AFTER_S = 10.0
_DISCONNECT_S_MAX = 2.0

# Kafka will never take this message; every other error means that Kafka is down.
_MESSAGE_ERRORS = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError._INVALID_ARG)

_ADVICE = "check that --kafka-bootstrap answers and that its topics have leaders and enough in-sync replicas"

# Kafka's delivery report of a message that it did not take: the error and the message.
Failure = tuple[KafkaError, Any]


@dataclass(kw_only=True, eq=False)
class Pipeline:
    """One process: its shards, one producer, one loop."""

    settings: Settings
    forwarder: Forwarder
    producer: Producer
    failures: list[Failure]  # the producer's callback appends what Kafka does not take; the loop handles it
    health: Health
    stop: Stop

    def __post_init__(self) -> None:
        self._waiting_since: float | None = None  # since when Kafka takes longer than usual
        self._warned = False  # that it takes so long
        self._backlog = False  # a read of the last round was full, so more waits
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[Shard, int]] = {}  # by file descriptor; the events that epoll reports
        forward, names = self.forwarder.forward, Names()
        self._shards = [Shard(number, self.settings, forward, names) for number in self.settings.shards]

    @property
    def in_flight(self) -> int:
        """Messages read and not yet acknowledged."""
        return sum(shard.in_flight for shard in self._shards)

    def run(self) -> None:
        """Work until a stop is requested. Raises WorldDown where Kafka does not take messages (in time)."""
        self.stop.started()
        try:
            while not self.stop.requested:
                self._round()
            self._drain()
        except KafkaException as error:  # the client's own end, for example for want of rights
            raise WorldDown(f"Kafka: {error}") from error

    def _round(self) -> None:
        now = time.monotonic()
        try:
            self._read(now)
        except BufferError as error:
            raise WorldDown(
                f"the producer's queue is full: {len(self.producer)} messages wait and Kafka takes none; if "
                "it does take some, lower --in-flight-max or --payload-bytes-max"
            ) from error
        self._deliver(now)
        self._look_after(now)
        self.health.progress()

    def _read(self, now: float) -> None:
        """Read up to the limit; while Kafka is waited for, only notice connections that end."""
        if self._waiting_since is not None or self.stop.requested:
            self._on_events(self._epoll.poll(0 if len(self.producer) else _DELIVERY_WAIT_S), now)
            return
        events = self._epoll.poll(_IDLE_WAIT_S)
        if events and not self._backlog:
            time.sleep(self.settings.read_nap_ms / 1_000)  # so that one read brings many messages
        self._backlog = False
        while self._on_events(events, now):
            self._backlog = True
            if self.in_flight >= self.settings.in_flight_max:
                metrics.paused.inc()
                break
            events = self._epoll.poll(0)

    def _on_events(self, events: list[tuple[int, int]], now: float) -> bool:
        """Serve the sockets; returns whether a read was full, so that more waits, or the limit is reached."""
        full = False
        for fd, event in events:
            shard, mask = self._watched[fd]
            try:
                if event & select.EPOLLOUT:
                    shard.writable(now)
                if event & ~select.EPOLLOUT:
                    if not mask & select.EPOLLIN:
                        raise ConnectionLost("the broker closed the connection")
                    full |= shard.readable(now)
            except ConnectionLost as error:
                self._lose(shard, error, now)
            if self.in_flight >= self.settings.in_flight_max:
                return True  # the other sockets wait
        return full

    def _deliver(self, now: float) -> None:
        """Wait a moment until Kafka has everything; if it has, acknowledge everything."""
        if len(self.producer):
            self.producer.flush(_DELIVERY_WAIT_S)
        self._settle_failures()
        if len(self.producer):
            self._keep_waiting(now)
            return
        waited = self._waiting_since is not None
        self._waiting_since, self._warned = None, False
        for shard in self._shards:
            try:
                if shard.in_flight or waited:
                    metrics.acknowledged.inc(shard.acknowledge(now))
            except ConnectionLost as error:
                self._lose(shard, error, now)

    def _keep_waiting(self, now: float) -> None:
        """Read nothing until Kafka has everything; log it once when that takes long."""
        if self._waiting_since is None:
            self._waiting_since = now
        elif now - self._waiting_since > _WARN_AFTER_S and not self._warned:
            self._warned = True
            _log.warning(
                "%s; after --delivery-timeout-s %.0f this process exits",
                self._standstill(now), self.settings.delivery_timeout_s,
            )  # fmt: skip

    def _standstill(self, now: float) -> str:
        """What happens while Kafka takes nothing."""
        assert self._waiting_since is not None
        return (
            f"Kafka has not taken {len(self.producer)} messages for {now - self._waiting_since:.0f} s. Until "
            "it does, nothing is read from MQTT and the brokers queue up to their max_queued_messages. "
            f"{_ADVICE.capitalize()}"
        )

    def _look_after(self, now: float) -> None:
        """Keep the connections and the probes up to date."""
        self.producer.poll(0)  # serves the client's callbacks while there is nothing to deliver
        listening = self._waiting_since is None
        for shard in self._shards:
            try:
                shard.tick(now, listening=listening, dialling=not self.stop.requested)
                self._watch(shard)
            except ConnectionLost as error:
                self._lose(shard, error, now)
        subscribed = sum(shard.subscribed for shard in self._shards)
        metrics.connected.set(subscribed)
        metrics.in_flight.set(self.in_flight)
        if reasons := self._not_ready_because(subscribed, now):
            self.health.unready(reasons)
        else:
            self.health.ready()

    def _not_ready_because(self, subscribed: int, now: float) -> str:
        """Why /readyz says no; empty: ready."""
        if self.stop.requested:
            return "stopping"
        reasons = [shard.complaint for shard in self._shards if shard.subscribed and shard.complaint]
        if subscribed < len(self._shards):
            reasons.insert(0, f"{len(self._shards) - subscribed} broker shards are not connected")
        if self._warned:
            reasons.append(self._standstill(now))
        return "; ".join(reasons)

    def _settle_failures(self) -> None:
        """Make dead letters of the messages that Kafka refused. Raises WorldDown where Kafka is down."""
        while self.failures:
            error, message = self.failures.pop()
            if error.code() not in _MESSAGE_ERRORS or message.topic() == REJECTED:
                late = error.code() == KafkaError._MSG_TIMED_OUT
                advice = f" within --delivery-timeout-s {self.settings.delivery_timeout_s:.0f}; {_ADVICE}"
                raise WorldDown(
                    f"Kafka did not take a message for {message.topic()}: {error}{advice if late else ''}"
                )
            self.forwarder.dead_letter(message.value() or b"", Malformed("refused_by_kafka", str(error)))

    def _drain(self) -> None:
        """Read no more, wait for Kafka, acknowledge, disconnect; the sessions stay on the brokers."""
        self._look_after(time.monotonic())  # from here on epoll reports no more messages
        while self.stop.left_s > 0 and (len(self.producer) or any(shard.busy for shard in self._shards)):
            self._round()
        left = self.in_flight
        for shard in self._shards:
            self._unwatch(shard)
            shard.close(min(self.stop.left_s, _DISCONNECT_S_MAX))
        self._epoll.close()
        _log.info("stopped", extra={"unacknowledged": left})

    def _lose(self, shard: Shard, error: ConnectionLost, now: float) -> None:
        self._unwatch(shard)
        shard.lose(now, error)

    def _watch(self, shard: Shard) -> None:
        """Register with epoll the events that this shard waits for now."""
        if shard.connection is None:
            return
        fd = shard.connection.fileno()
        reading = self._waiting_since is None and not self.stop.requested
        mask = select.EPOLLIN if reading or not shard.subscribed else select.EPOLLRDHUP
        if shard.connection.wants_write or not shard.handshake_sent:
            mask |= select.EPOLLOUT
        if fd not in self._watched:
            self._epoll.register(fd, mask)
        elif self._watched[fd][1] != mask:
            self._epoll.modify(fd, mask)
        self._watched[fd] = shard, mask

    def _unwatch(self, shard: Shard) -> None:
        fd = -1 if shard.connection is None else shard.connection.fileno()
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)
