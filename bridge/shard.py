"""The bridge's side of one broker shard: session, reading within a bound, acknowledging in order.

A shard is told what time it is and what its socket can do; it never waits.
"""

import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import mqtt5
from confluent_kafka import KafkaError

from bridge import metrics
from contract.topics import MQTT_FILTER
from plumbing.mqtt import PACKET_BYTES_MAX, Connection, ConnectionLost, dial, pubacks

_log = logging.getLogger("bridge")

SESSION_EXPIRY_NEVER = 0xFFFFFFFF
_BACKOFF_S_MIN, _BACKOFF_S_MAX = 0.2, 5.0
_CONNECT_TIMEOUT_S = 10.0


class Read:
    """The messages of one read. Kafka's reports count it down; at 0 its PUBACKs may go out."""

    __slots__ = ("count", "failures", "packet_ids", "pending")

    def __init__(self, packet_ids: list[int], failures: list[tuple["Read", KafkaError, Any]]) -> None:
        self.packet_ids = packet_ids
        self.count = 0
        self.pending = 0
        self.failures = failures  # the pipeline's inbox: no work in a callback

    def delivered(self, error: KafkaError | None, message: Any) -> None:
        """Kafka's delivery report of one of the messages."""
        if error is None:
            self.pending -= 1
        else:
            self.failures.append((self, error, message))


class Shard:
    """A broker connection with its stable session. `forward` takes the messages of a read."""

    def __init__(
        self,
        number: int,
        host: str,
        port: int,
        *,
        client_id: str,
        shared_group: str | None,
        in_flight_max: int,
        keep_alive_s: int,
        forward: Callable[[list[mqtt5.PublishPacket]], Read],
    ) -> None:
        self.number = number
        self.where = f"{host}:{port}"
        self._address = (host, port)
        self._client_id = client_id
        self._filter = f"$share/{shared_group}/{MQTT_FILTER}" if shared_group else MQTT_FILTER
        self._in_flight_max = in_flight_max
        self._keep_alive_s = keep_alive_s
        self._forward = forward
        self._reads: deque[Read] = deque()
        self.connection: Connection | None = None
        self.subscribed = False
        self.paused = False
        self.in_flight = 0
        self._attempts = 0
        self._dial_at = 0.0
        self._sent_at = self._heard_at = 0.0

    @property
    def handshake_sent(self) -> bool:
        """Whether our CONNECT went out; before that a writable socket means that dialling ended."""
        return self._sent_at > 0.0

    @property
    def busy(self) -> bool:
        """Whether messages wait for Kafka or PUBACKs for the socket."""
        return self.in_flight > 0 or (self.connection is not None and self.connection.wants_write)

    def tick(self, now: float) -> None:
        """Dial when it is time, keep the session alive, give up on a broker that is silent."""
        if self.connection is None:
            if now >= self._dial_at:
                self._dial(now)
            return
        silent_s = now - self._heard_at
        if not self.subscribed and silent_s > _CONNECT_TIMEOUT_S:
            raise ConnectionLost(f"no answer within {_CONNECT_TIMEOUT_S:.0f} s")
        if self.subscribed and not self.paused and silent_s > 1.5 * self._keep_alive_s:
            raise ConnectionLost(f"silent for {silent_s:.0f} s")
        if self.subscribed and now - self._sent_at > self._keep_alive_s / 2:
            self._send(mqtt5.PingReqPacket().write(), now)

    def writable(self, now: float) -> None:
        """The socket takes bytes: first of all our CONNECT."""
        assert self.connection is not None
        if not self.handshake_sent:
            self.connection.connected()
            packet = mqtt5.ConnectPacket(
                self._client_id,
                clean_start=False,
                session_expiry_interval=SESSION_EXPIRY_NEVER,
                keep_alive=self._keep_alive_s,
                receive_max=self._in_flight_max,
                max_packet_size=PACKET_BYTES_MAX,  # what we would not take, and would get again and again
            )
            self._send(packet.write(), now)
        else:
            self.connection.flush()

    def readable(self, now: float) -> bool:
        """Read once and forward what came; whether the read was full, so that more waits."""
        assert self.connection is not None
        packets, full = self.connection.read()
        self._heard_at = now
        published = []
        for packet in packets:
            if type(packet) is mqtt5.PublishPacket:
                published.append(packet)
            else:
                self._control(packet, now)
        if published:
            read = self._forward(published)
            self._reads.append(read)
            self.in_flight += read.count
            if self.in_flight >= self._in_flight_max and not self.paused:
                self.paused = True
                metrics.paused.inc()
        return full

    def acknowledge(self, now: float) -> int:
        """Send the PUBACKs of the oldest reads that Kafka has whole, in order of arrival; how many."""
        reads, ids = self._reads, []
        while reads and reads[0].pending == 0:
            read = reads.popleft()
            self.in_flight -= read.count
            ids += read.packet_ids
        if ids and self.connection is not None:
            self._send(pubacks(ids), now)
        if self.paused and self.in_flight <= self._in_flight_max // 2:
            self.paused = False
        return len(ids)

    def lose(self, now: float, why: Exception) -> None:
        """Forget the connection and dial again later; the broker sends again what we did not acknowledge."""
        _log.warning("broker shard %d (%s): %s", self.number, self.where, why)
        self._drop()
        metrics.connection_losses.inc()
        self._attempts += 1
        delay_s = min(_BACKOFF_S_MAX, _BACKOFF_S_MIN * 2 ** min(self._attempts, 10))
        self._dial_at = now + delay_s * random.uniform(0.5, 1.0)

    def close(self, timeout_s: float) -> None:
        """Say goodbye and wait until the broker has heard all; the session and its messages stay there."""
        if self.connection is not None and self.subscribed:
            try:
                self.connection.send(mqtt5.DisconnectPacket().write())
                self.connection.finish(timeout_s)
            except ConnectionLost as error:
                _log.warning("broker shard %d (%s): %s", self.number, self.where, error)
        self._drop()

    def _dial(self, now: float) -> None:
        self._sent_at, self._heard_at = 0.0, now
        self.connection = dial(*self._address)

    def _drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self.subscribed = self.paused = False
        self._reads = deque()  # their packet ids mean nothing on the next connection
        self.in_flight = 0

    def _control(self, packet: mqtt5.Packet, now: float) -> None:
        if isinstance(packet, mqtt5.ConnAckPacket):
            if int(packet.reason_code) >= 128:
                raise ConnectionLost(f"refused: {packet.reason_code.name} {packet.reason_str or ''}")
            # Again after every connect: a broker that was killed has lost the subscription.
            wanted = mqtt5.TopicFilter(self._filter, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
            self._send(mqtt5.SubscribePacket(1, [wanted]).write(), now)
            what = "session resumed" if packet.session_present else "new session"
            _log.info("broker shard %d (%s): connected, %s", self.number, self.where, what)
        elif isinstance(packet, mqtt5.SubAckPacket):
            if int(packet.reason_codes[0]) >= 128:
                raise ConnectionLost(f"{self._filter} refused: {packet.reason_codes[0].name}")
            self.subscribed = True
            self._attempts = 0
        elif isinstance(packet, mqtt5.DisconnectPacket):
            raise ConnectionLost(f"disconnected by the broker: {packet.reason_code.name}")

    def _send(self, data: bytes, now: float) -> None:
        assert self.connection is not None
        self.connection.send(data)
        self._sent_at = now
