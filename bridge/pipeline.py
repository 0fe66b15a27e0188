"""The bridge's loop: read from every shard, hand to Kafka, acknowledge what Kafka has."""

import logging
import select
import time
from typing import Any

import mqtt5
from confluent_kafka import KafkaError, Producer

from bridge import metrics
from bridge.routing import Router
from bridge.settings import Settings
from bridge.shard import Read, Shard
from contract.errors import Malformed
from contract.topics import REJECTED
from plumbing.health import Health
from plumbing.life import Stop, WorldDown
from plumbing.mqtt import ConnectionLost

_log = logging.getLogger("bridge")

_DELIVERY_WAIT_S = 0.002  # how late a PUBACK may be for want of a wake-up when Kafka reports
_IDLE_WAIT_S = 0.1
_GOODBYE_S = 2.0
_DETAIL_CHARS_MAX = 500
DEAD_LETTER_BYTES_MAX = 65_536  # of what was refused; Kafka would refuse a whole oversized message again

# Kafka will never take this one message; with every other error the world is down.
_MESSAGE_AT_FAULT = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError._INVALID_ARG)


class Pipeline:
    """One process: its shards, one producer, one loop."""

    def __init__(
        self, settings: Settings, router: Router, producer: Producer, health: Health, stop: Stop
    ) -> None:
        self._settings = settings
        self._router = router
        self._producer = producer
        self._health = health
        self._stop = stop
        self._failures: list[tuple[Read, KafkaError, Any]] = []
        self._epoll = select.epoll()
        self._by_fd: dict[int, Shard] = {}
        self._masks: dict[int, int] = {}
        self._shards = [
            Shard(
                number,
                host,
                port,
                client_id=f"{settings.client_id}-{number}",
                shared_group=settings.shared_group,
                in_flight_max=settings.in_flight_max,
                keep_alive_s=settings.keep_alive_s,
                forward=self._forward,
            )
            for number, (host, port) in settings.shards.items()
        ]

    def run(self) -> None:
        """Until told to stop. Raises WorldDown where Kafka does not take messages in time."""
        nap_s = self._settings.read_nap_ms / 1_000
        full = False
        while not self._stop.requested:
            full = self._round(0.0 if full else nap_s)
        self._drain()

    def _round(self, nap_s: float) -> bool:
        """Wait for something to do and do it; whether a read was full, so that more waits."""
        waiting = any(shard.in_flight for shard in self._shards)
        events = self._epoll.poll(_DELIVERY_WAIT_S if waiting else _IDLE_WAIT_S)
        if events and nap_s:
            time.sleep(nap_s)  # a moment later the same read brings many messages
        now = time.monotonic()
        full = self._on_events(events, now)
        self._turn(now)
        self._health.progress()
        return full

    def _on_events(self, events: list[tuple[int, int]], now: float) -> bool:
        full = False
        for fd, event in events:
            shard = self._by_fd[fd]
            try:
                if event & select.EPOLLOUT:
                    shard.writable(now)
                if event & ~select.EPOLLOUT:
                    full |= shard.readable(now)
            except ConnectionLost as error:
                self._unwatch(fd)
                shard.lose(now, error)
            except BufferError as error:  # brokers that come and go send again what Kafka does not take
                raise WorldDown("Kafka takes nothing and no more messages may wait for it") from error
        return full

    def _turn(self, now: float) -> None:
        """What is due in every round, whatever came in."""
        self._producer.poll(0)
        self._settle_failures()
        subscribed = in_flight = 0
        for shard in self._shards:
            try:
                shard.tick(now)
                if sent := shard.acknowledge(now):
                    metrics.acknowledged.inc(sent)
                self._watch(shard)
            except ConnectionLost as error:
                self._unwatch(shard.connection.fileno() if shard.connection else -1)
                shard.lose(now, error)
            subscribed += shard.subscribed
            in_flight += shard.in_flight
        metrics.connected.set(subscribed)
        metrics.in_flight.set(in_flight)
        if self._stop.requested:
            self._health.unready("stopping")
        elif subscribed == len(self._shards):
            self._health.ready()
        else:
            self._health.unready(f"{len(self._shards) - subscribed} broker shards are not connected")

    def _forward(self, packets: list[mqtt5.PublishPacket]) -> Read:
        """Hand the messages of one read to Kafka, in their order."""
        read = Read([p.packet_id for p in packets if p.packet_id is not None], self._failures)
        route, produce, delivered = self._router.route, self._producer.produce, read.delivered
        counts: dict[str, int] = {}
        for packet in packets:
            try:
                target = route(packet.topic, packet.payload)
            except Malformed as error:
                self._reject(read, packet, error)
                continue
            if target is not None:
                topic, key, value = target
                produce(topic, value, key, on_delivery=delivered)
                counts[topic] = counts.get(topic, 0) + 1
        read.count = len(packets)
        read.pending += sum(counts.values())
        metrics.received.inc(len(packets))
        for topic, count in counts.items():
            metrics.forwarded.labels(topic).inc(count)
        return read

    def _reject(self, read: Read, packet: mqtt5.PublishPacket, error: Malformed) -> None:
        self._dead_letter(read, packet.payload, error, [("mqtt_topic", packet.topic.encode()[:1024])])

    def _dead_letter(
        self, read: Read, value: bytes, error: Malformed, headers: list[tuple[str, str | bytes | None]]
    ) -> None:
        headers = [("reason", error.reason), ("detail", error.detail[:_DETAIL_CHARS_MAX]), *headers]
        value = value[:DEAD_LETTER_BYTES_MAX]
        self._producer.produce(REJECTED, value, headers=headers, on_delivery=read.delivered)
        read.pending += 1
        metrics.rejected.labels(error.reason).inc()

    def _settle_failures(self) -> None:
        """Messages that Kafka did not take: a dead letter each, or the end where Kafka itself is down."""
        while self._failures:
            read, error, message = self._failures.pop()
            if error.code() not in _MESSAGE_AT_FAULT or message.topic() == REJECTED:
                raise WorldDown(f"Kafka did not take a message for {message.topic()}: {error}")
            read.pending -= 1
            refusal = Malformed("refused_by_kafka", str(error))
            self._dead_letter(read, message.value() or b"", refusal, [])

    def _drain(self) -> None:
        """Read no more, wait for Kafka's reports, acknowledge, leave the sessions with the brokers."""
        self._turn(time.monotonic())  # from here on epoll does not wait for messages
        while any(shard.busy for shard in self._shards) and self._stop.left_s > 0:
            self._round(nap_s=0.0)
        left = sum(shard.in_flight for shard in self._shards)
        for shard in self._shards:
            if shard.connection is not None:
                self._unwatch(shard.connection.fileno())
            shard.close(min(self._stop.left_s, _GOODBYE_S))
        self._epoll.close()
        _log.info("stopped", extra={"unacknowledged": left})

    def _watch(self, shard: Shard) -> None:
        """Tell epoll what this shard waits for now."""
        if shard.connection is None:
            return
        fd = shard.connection.fileno()
        mask = 0 if shard.paused or self._stop.requested else select.EPOLLIN
        if shard.connection.wants_write or not shard.handshake_sent:
            mask |= select.EPOLLOUT
        if fd not in self._by_fd:
            self._epoll.register(fd, mask)
            self._by_fd[fd] = shard
        elif self._masks[fd] != mask:
            self._epoll.modify(fd, mask)
        self._masks[fd] = mask

    def _unwatch(self, fd: int) -> None:
        if self._by_fd.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            del self._masks[fd]
