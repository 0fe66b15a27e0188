"""The bridge's side of one broker shard: session, reading within a bound, acknowledging in order.

A shard is told what time it is and what its socket can do; it never waits.
"""

import logging
import random
from collections.abc import Callable

import mqtt5

from bridge import metrics
from bridge.forwarding import Taken
from contract.topics import MQTT_FILTER
from plumbing.mqtt import PACKET_BYTES_MAX, Connection, ConnectionLost, dial, pubacks

_log = logging.getLogger("bridge")

SESSION_EXPIRY_NEVER = 0xFFFFFFFF
_BACKOFF_S_MIN, _BACKOFF_S_MAX = 0.2, 5.0
_CONNECT_TIMEOUT_S = 10.0
_HINT_AFTER = 3  # losses
_SOUND_AFTER_S = 5.0  # a connection that ends earlier counts as a short life


class Shard:
    """A broker connection with its stable session. `forward` takes the bytes of a read."""

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
        forward: Callable[[bytes], Taken],
    ) -> None:
        self.number = number
        self.where = f"{host}:{port}"
        self._address = (host, port)
        self._client_id = client_id
        self._filter = f"$share/{shared_group}/{MQTT_FILTER}" if shared_group else MQTT_FILTER
        self._in_flight_max = in_flight_max
        self._keep_alive_s = keep_alive_s
        self._forward = forward
        self._packet_ids: list[bytes] = []
        self.connection: Connection | None = None
        self.subscribed = False
        self.in_flight = 0
        self._attempts = 0
        self._short_lives = 0  # connections in a row that were lost soon after they were subscribed
        self._sound_from = 0.0
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

    def tick(self, now: float, *, listening: bool = True) -> None:
        """Dial when it is time, keep the session alive, give up on a broker that is silent.

        Whoever is not `listening` cannot blame the broker for its silence.
        """
        if self.connection is None:
            if now >= self._dial_at:
                self._dial(now)
            return
        silent_s = now - self._heard_at
        if not self.subscribed and silent_s > _CONNECT_TIMEOUT_S:
            raise ConnectionLost(f"no answer within {_CONNECT_TIMEOUT_S:.0f} s")
        if self.subscribed and listening and silent_s > 1.5 * self._keep_alive_s:
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
        data, full = self.connection.receive()
        self._heard_at = now
        taken = self._forward(data)
        self.connection.keep(data[taken.used :])
        self._packet_ids += taken.packet_ids
        self.in_flight += taken.count
        metrics.received.inc(taken.count)
        for packet in taken.others:
            self._control(packet, now)
        return full

    def acknowledge(self, now: float) -> int:
        """Kafka has all that was forwarded: send the PUBACKs in the order of arrival; how many."""
        ids, self._packet_ids, self.in_flight = self._packet_ids, [], 0
        self._heard_at = now  # while Kafka kept us waiting nothing was heard
        if ids:
            self._send(pubacks(ids), now)
        return len(ids)

    def lose(self, now: float, why: Exception) -> None:
        """Forget the connection and dial again later; the broker sends again what we did not acknowledge."""
        self._short_lives = self._short_lives + 1 if self.subscribed and now < self._sound_from else 0
        self._drop()
        metrics.connection_losses.inc()
        self._attempts += 1
        wait_s = min(_BACKOFF_S_MAX, _BACKOFF_S_MIN * 2 ** min(self._attempts, 10)) * random.uniform(0.5, 1)
        self._dial_at = now + wait_s
        _log.warning(
            "broker shard %d (%s): %s; dialling again in %.1f s%s",
            self.number, self.where, why, wait_s, self._hint(),
        )  # fmt: skip

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
        self.subscribed = False
        self._packet_ids = []  # they mean nothing on the next connection
        self.in_flight = 0

    def _hint(self) -> str:
        """What may be wrong where it goes wrong again and again; said once, not for a mere restart."""
        if self._short_lives == _HINT_AFTER:
            return (
                f". If another client is called {self._client_id}: do two bridges own this shard? Every "
                "replica needs the same --replicas and --mqtt-brokers, and an --ordinal of its own"
            )
        return "; is it up, and is --mqtt-brokers right?" if self._attempts == _HINT_AFTER else ""

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
            self._sound_from = now + _SOUND_AFTER_S
        elif isinstance(packet, mqtt5.DisconnectPacket):
            if packet.reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER:
                self._short_lives = _HINT_AFTER - 1  # other brokers only close the connection
            raise ConnectionLost(f"disconnected by the broker: {packet.reason_code.name}")

    def _send(self, data: bytes, now: float) -> None:
        assert self.connection is not None
        self.connection.send(data)
        self._sent_at = now
