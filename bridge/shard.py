"""The bridge's side of one broker shard: session, reading within a bound, acknowledging in order.

Nothing here waits or looks at the clock: the caller passes the time and says what the socket is ready for.
"""

import logging
import random
from collections.abc import Callable

import mqtt5

from bridge import metrics
from bridge.forwarding import Forwarded
from bridge.settings import Settings
from contract.topics import MQTT_FILTER
from plumbing.mqtt import PACKET_BYTES_MAX, Connection, ConnectionLost, dial, keep_alive_s, pubacks
from plumbing.names import Names

_log = logging.getLogger("bridge")

SESSION_EXPIRY_NEVER = 0xFFFFFFFF
_BACKOFF_S_MIN, _BACKOFF_S_MAX = 0.2, 5.0
_CONNECT_TIMEOUT_S = 10.0
_HINT_AFTER = 3  # connections lost in a row
_TAKEN_OVER_ATTEMPTS = 5  # wait as after so many failures: two bridges of one name would lose all their time
_QOS_0 = "it loses messages while the bridge is away. Let it grant QoS 1 (max_qos, or the rule of its ACL)"
_SHORT_LIFE_S = 5.0  # a connection that is lost earlier after its subscription counts as short-lived


class Shard:
    """A broker connection with its stable session."""

    def __init__(
        self, number: int, settings: Settings, forward: Callable[[bytes], Forwarded], names: Names
    ) -> None:
        """`number`: which of the brokers; `forward` takes the bytes of a read."""
        self._host, self._port = settings.shards[number]
        self._names = names
        self._dialled: str | None = None  # the address that was dialled
        self._name = f"broker shard {number} ({settings.mqtt_brokers[number]})"
        self._client_id = f"{settings.client_id}-{number}"
        self._login = settings.login
        group = settings.shared_group
        self._filter = f"$share/{group}/{MQTT_FILTER}" if group else MQTT_FILTER
        self._in_flight_max = settings.in_flight_max
        self._keep_alive_asked_s = self._keep_alive_s = settings.keep_alive_s
        self._forward = forward
        self._packet_ids: list[bytes] = []
        self.connection: Connection | None = None
        self.subscribed = False
        self.complaint = ""  # about what the broker has granted; it works, but not as promised
        self.in_flight = 0
        self._attempts = 0
        self._short_lives = 0  # short-lived connections in a row
        self._short_life_until = 0.0
        self._dial_at = 0.0
        self._sent_at = self._heard_at = 0.0

    @property
    def handshake_sent(self) -> bool:
        """Whether CONNECT was sent; before, a writable socket means that TCP has connected or failed."""
        return self._sent_at > 0.0

    @property
    def busy(self) -> bool:
        """Whether messages wait for Kafka, or PUBACKs for the socket."""
        return self.in_flight > 0 or (self.connection is not None and self.connection.wants_write)

    def tick(self, now: float, *, listening: bool = True, dialling: bool = True) -> None:
        """Dial when it is due, send PINGREQ when it is due, give up a broker that is silent.

        `listening`: the socket is being read, so silence is the broker's. Raises ConnectionLost.
        """
        if self.connection is None:
            if dialling and now >= self._dial_at and (address := self._names.address(self._host)):
                self._sent_at, self._heard_at, self._dialled = 0.0, now, address
                self.connection = dial(address, self._port)
            return
        silent_s = now - self._heard_at
        if not self.subscribed and silent_s > _CONNECT_TIMEOUT_S:
            raise ConnectionLost(f"no answer within {_CONNECT_TIMEOUT_S:.0f} s")
        if self.subscribed and listening and silent_s > 1.5 * self._keep_alive_s:
            raise ConnectionLost(f"silent for {silent_s:.0f} s")
        if self.subscribed and now - self._sent_at > self._keep_alive_s / 2:
            self._send(mqtt5.PingReqPacket().write(), now)

    def writable(self, now: float) -> None:
        """The socket takes bytes: send CONNECT first, afterwards what waits. Raises ConnectionLost."""
        assert self.connection is not None
        if not self.handshake_sent:
            self.connection.connected()
            packet = mqtt5.ConnectPacket(
                self._client_id,
                username=self._login.username,
                password=self._login.password,
                clean_start=False,
                session_expiry_interval=SESSION_EXPIRY_NEVER,
                keep_alive=self._keep_alive_asked_s,
                receive_max=self._in_flight_max,
                max_packet_size=PACKET_BYTES_MAX,  # a larger one would end every connection, again and again
            )
            self._send(packet.write(), now)
        else:
            self.connection.flush()

    def readable(self, now: float) -> bool:
        """Read once and forward what came; returns whether the read was full, so that more waits."""
        assert self.connection is not None
        data, full = self.connection.receive()
        self._heard_at = now
        forwarded = self._forward(data)
        self.connection.keep(data[forwarded.used_bytes :])
        self._packet_ids += forwarded.packet_ids
        self.in_flight += forwarded.publishes
        metrics.received.inc(forwarded.publishes)
        for packet in forwarded.other_packets:
            self._control(packet, now)
        return full

    def acknowledge(self, now: float) -> int:
        """Send the PUBACKs, in order of arrival, of all that was forwarded; returns how many."""
        ids, self._packet_ids, self.in_flight = self._packet_ids, [], 0
        self._heard_at = now  # nothing was read while Kafka was waited for: not the broker's silence
        if ids:
            self._send(pubacks(ids), now)
        return len(ids)

    def lose(self, now: float, why: Exception) -> None:
        """Drop the connection and dial again later; the broker will resend what was not acknowledged."""
        self._short_lives = self._short_lives + 1 if self.subscribed and now < self._short_life_until else 0
        self._names.lost(self._host, None if self.subscribed else self._dialled)
        self._drop()
        metrics.connection_losses.inc()
        self._attempts += 1
        wait_s = min(_BACKOFF_S_MAX, _BACKOFF_S_MIN * 2 ** min(self._attempts, 10)) * random.uniform(0.5, 1)
        self._dial_at = now + wait_s
        _log.warning("%s: %s; dialling again in %.1f s%s", self._name, why, wait_s, self._hint())

    def close(self, timeout_s: float) -> None:
        """Send DISCONNECT and wait until the broker has read everything; the session stays on the broker."""
        if self.connection is not None and self.subscribed:
            try:
                self.connection.send(mqtt5.DisconnectPacket().write())
                self.connection.finish(timeout_s)
            except ConnectionLost as error:
                _log.warning("%s: %s", self._name, error)
        self._drop()

    def _drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = self._dialled = None
        self.subscribed = False
        self._packet_ids = []  # packet ids are only valid on their connection
        self.in_flight = 0

    def _hint(self) -> str:
        """A possible cause, once, after several losses in a row; nothing after a single restart."""
        if self._short_lives == _HINT_AFTER:
            return (
                f". Is another client called {self._client_id}, because two bridges own this shard? Every "
                "replica needs the same --replicas and --mqtt-brokers, and an --ordinal of its own"
            )
        if self._attempts == _HINT_AFTER:
            return "; is it up, does it speak MQTT 5, and is --mqtt-brokers right?"
        return ""

    def _control(self, packet: mqtt5.Packet, now: float) -> None:
        if isinstance(packet, mqtt5.ConnAckPacket):
            if int(packet.reason_code) >= 128:
                raise ConnectionLost(f"refused: {packet.reason_code.name} {packet.reason_str or ''}")
            self._keep_alive_s = keep_alive_s(self._keep_alive_asked_s, packet)
            self._send(self._subscribe().write(), now)
            session = "session resumed" if packet.session_present else "new session"
            _log.info("%s: connected, %s", self._name, session)
            if (expiry_s := packet.session_expiry_interval) not in (None, SESSION_EXPIRY_NEVER):
                _log.warning(
                    "%s keeps the session for %d s after a disconnect: a bridge that is away longer loses "
                    "messages. Raise the broker's limit (mosquitto: persistent_client_expiration)",
                    self._name, expiry_s,
                )  # fmt: skip
        elif isinstance(packet, mqtt5.SubAckPacket):
            if not packet.reason_codes:
                raise ConnectionLost(f"not MQTT: an answer without a word on {self._filter}")
            if int(packet.reason_codes[0]) >= 128:
                raise ConnectionLost(f"{self._filter} refused: {packet.reason_codes[0].name}")
            qos_0 = int(packet.reason_codes[0]) == 0
            self.complaint = f"{self._name} grants QoS 0: {_QOS_0}" if qos_0 else ""
            if self.complaint:
                _log.error("%s", self.complaint)
            self.subscribed = True
            self._attempts = 0
            self._short_life_until = now + _SHORT_LIFE_S
        elif isinstance(packet, mqtt5.DisconnectPacket):
            if packet.reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER:
                self._short_lives = _HINT_AFTER - 1  # gives the hint with this loss; other brokers only close
                self._attempts = max(self._attempts, _TAKEN_OVER_ATTEMPTS)
            reason = f"{packet.reason_code.name} {packet.reason_str or ''}".rstrip()
            raise ConnectionLost(f"disconnected by the broker: {reason}")

    def _subscribe(self) -> mqtt5.SubscribePacket:
        """To be sent after every connect: a broker that was killed has lost the subscription.

        Retained messages come with a new subscription only, not again with every connection.
        """
        handling = mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS
        wanted = mqtt5.TopicFilter(self._filter, max_qos=mqtt5.QoS.AT_LEAST_ONCE, retain_handling=handling)
        return mqtt5.SubscribePacket(1, [wanted])

    def _send(self, data: bytes, now: float) -> None:
        assert self.connection is not None
        self.connection.send(data)
        self._sent_at = now
