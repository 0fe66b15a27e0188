"""Telemetry of the cars: which samples to send, which are acknowledged, and which to send again.

A car keeps every sample in its journal until all samples up to it are acknowledged, and some seconds longer.
After a lost connection it sends the unacknowledged samples again. If the broker has lost the session of the
car, and with it perhaps messages that it had acknowledged but not delivered, the car also sends the
acknowledged samples of the last seconds again.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import mqtt5
import numpy as np

from contract.bounds import TIME_MS_MAX, TIME_MS_MIN
from contract.telemetry import encode
from contract.topics import TELEMETRY, mqtt_topic
from simulator.chance import F4
from simulator.connections import Client
from simulator.journal import I8, Journal
from simulator.metrics import WorkerCounts

PACKET_IDS = 65_535  # 1 to 65535; the ring of a car is far smaller, so ids in flight are unique
REFUSED_WAIT_S = 2.0
CATCH_UP_MAX = 2000  # messages from the rings per turn of the loop, so that sampling stays on time


@dataclass(eq=False, slots=True)
class CarConnection(Client):
    """The connection of a car and its progress in sending."""

    index: int = field(kw_only=True)  # within this worker
    sent: int = 0  # seq of the last message sent on this connection
    highest_sent: int = 0  # highest seq sent on any connection
    resumed: bool = False  # the broker kept the session: messages sent before are marked as DUP
    delivering: bool = False  # a message was delivered to a subscriber on this connection
    retry_at: float = 0.0  # monotonic time before which nothing is sent after a refusal; 0: send
    acknowledged_ahead: set[int] | None = None  # seqs acknowledged before an earlier one

    @property
    def in_flight_max(self) -> int:
        """How many messages may be unacknowledged.

        It is 1 until a message was delivered, because a broker that lost its sessions has no subscriber at
        first: it could refuse the first of several messages and deliver a later one, which breaks the order.
        """
        return self.window if self.delivering else min(1, self.window)


class Uplink:
    """Sends the telemetry of all cars of a worker."""

    def __init__(
        self,
        cars: Sequence[CarConnection],
        prefixes: Sequence[bytes],
        journal: Journal,
        counts: WorkerCounts,
        send: Callable[[Client, bytes], bool],
        *,
        signal_count: int,
    ) -> None:
        """prefixes: each car's record up to seq; send: returns False if the connection is lost.

        signal_count: number of signals in the cars' schema; the first ones of SIGNALS are sent.
        """
        self._signal_count = signal_count
        self._cars, self._prefixes, self._journal = cars, prefixes, journal
        self._counts, self._send = counts, send
        # Item access on a memoryview takes half the time of numpy's.
        self._sampled, self._acknowledged, self._confirmed = (
            seqs.data for seqs in (journal.sampled, journal.acknowledged, journal.confirmed)
        )
        self._behind: set[CarConnection] = set()  # cars with samples to send from their ring
        self._was_connected = np.zeros(len(cars), np.bool_)
        self._sampled_at = np.zeros(len(cars))  # monotonic time of the last sample
        self._sampled_at_view = self._sampled_at.data
        for car, sampled in zip(cars, journal.sampled.tolist(), strict=True):
            car.highest_sent = sampled  # an earlier process may have sent them: mark them as DUP

    def sample(self, group: slice, at_ms: int, signals: F4, now: float) -> None:
        """Store a sample of each car of `group` and send it unless older ones wait.

        A car takes samples from its first connection on, so that a ramp-up does not pile up old samples. At
        a time that no record can have none is taken: it could never be sent.
        """
        take = self._was_connected[group]
        if not TIME_MS_MIN <= at_ms <= TIME_MS_MAX:
            self._counts.skipped += int(np.count_nonzero(take))
            return
        rows = self._journal.append(group, at_ms, signals, take)
        self._counts.sampled += len(rows)
        self._counts.skipped += int(np.count_nonzero(take)) - len(rows)
        self._sampled_at[group] = now
        if len(rows) < len(signals):
            signals = signals[rows]
        indices = (rows + group.start).tolist()
        seqs = self._journal.sampled[indices]
        payloads = self._encode(indices, seqs, np.full(len(indices), at_ms), signals)
        for index, seq, payload in zip(indices, seqs.tolist(), payloads, strict=True):
            car = self._cars[index]
            if not car.online:
                continue
            in_flight = seq - self._acknowledged[index]
            if car.sent == seq - 1 and in_flight <= car.in_flight_max and not car.retry_at:
                self._publish(car, seq, payload)
            else:
                self._behind.add(car)

    def connected(self, car: CarConnection, *, session_present: bool) -> None:
        """Continue on a new connection, where the broker kept or lost the session of the car."""
        self._was_connected[car.index] = True
        if not session_present:
            car.acknowledged_ahead = None
            if self._confirmed[car.index]:
                self._counts.sessions_lost += 1
                self._journal.session_lost(car.index)
        car.resumed = car.delivering = session_present
        car.retry_at = 0.0
        car.sent = self._acknowledged[car.index]
        self._behind.add(car)

    def delivered(self, car: CarConnection, packet_id: int, now: float) -> None:
        """Handle a PUBACK with the reason code "success": the broker has the message and a subscriber for it.

        "No matching subscribers" is not a delivery, although MQTT counts it as success: the broker dropped
        the message because the consumer has not subscribed yet or its session was lost. See `refused`.
        """
        done: int = self._acknowledged[car.index]
        seq = done + 1 + (packet_id - 2 - done) % PACKET_IDS
        if seq > car.sent:
            self._counts.unexpected += 1
        elif seq == done + 1 and not car.acknowledged_ahead:
            self._advance(car, seq, now)
        else:
            self._acknowledge_ahead(car, seq, now)

    def refused(self, car: CarConnection, packet_id: int, now: float) -> None:
        """Handle any other PUBACK: pause, then send all unacknowledged samples again."""
        done: int = self._acknowledged[car.index]
        if done + 1 + (packet_id - 2 - done) % PACKET_IDS > car.sent:
            self._counts.unexpected += 1
            return
        self._counts.refused += 1
        car.delivering = False
        if not car.retry_at:
            car.retry_at = now + REFUSED_WAIT_S * random.uniform(0.5, 1.5)
            self._behind.add(car)

    def catch_up(self, now: float) -> None:
        """Send samples from the rings of the cars that are behind, within the window of each."""
        behind, self._behind = self._behind, set()
        waiting: list[tuple[CarConnection, int]] = []
        for car in behind:
            if car.retry_at > now or len(waiting) > CATCH_UP_MAX:
                self._behind.add(car)
            elif car.online:
                if car.retry_at:  # the pause is over: send all unacknowledged samples again
                    car.retry_at = 0.0
                    car.sent = self._acknowledged[car.index]
                waiting += [(car, seq) for seq in self._waiting(car)]
        if not waiting:
            return
        index = np.array([car.index for car, _ in waiting], np.int64)
        seqs = np.array([seq for _, seq in waiting], np.int64)
        at_ms, signals = self._journal.read(index, seqs)
        sound = (at_ms >= TIME_MS_MIN) & (at_ms <= TIME_MS_MAX)
        if not sound.all():
            waiting = self._without_unsound(waiting, sound.tolist(), now)
            index, seqs, at_ms, signals = index[sound], seqs[sound], at_ms[sound], signals[sound]
        payloads = self._encode(index.tolist(), seqs, at_ms, signals)
        for (car, seq), payload in zip(waiting, payloads, strict=True):
            if car.online:
                self._publish(car, seq, payload)

    def _without_unsound(
        self, waiting: list[tuple[CarConnection, int]], sound: list[bool], now: float
    ) -> list[tuple[CarConnection, int]]:
        """Leave out samples of an earlier release whose time no record can have: they count as sent."""
        for (car, seq), is_sound in zip(waiting, sound, strict=True):
            if not is_sound:
                self._acknowledge_ahead(car, seq, now)
                self._behind.add(car)
        return [each for each, is_sound in zip(waiting, sound, strict=True) if is_sound]

    @property
    def unacknowledged(self) -> int:
        """Number of samples that are not acknowledged."""
        return int((self._journal.sampled - self._journal.acknowledged).sum())

    def _waiting(self, car: CarConnection) -> list[int]:
        """The seqs in the ring of a car that may be sent now."""
        done: int = self._acknowledged[car.index]
        last = min(self._sampled[car.index], done + car.in_flight_max)
        car.sent = max(car.sent, done)
        ahead = car.acknowledged_ahead or ()
        return [seq for seq in range(car.sent + 1, last + 1) if seq not in ahead]

    def _encode(self, indices: list[int], seqs: I8, at_ms: I8, signals: F4) -> list[bytes]:
        prefixes = [self._prefixes[index] for index in indices]
        return encode(prefixes, seqs, at_ms, signals[:, : self._signal_count])

    def _publish(self, car: CarConnection, seq: int, payload: bytes) -> None:
        again = seq <= car.highest_sent
        packet = mqtt5.PublishPacket(
            mqtt_topic(car.id, TELEMETRY),  # keeping it would take a hundred bytes per car
            payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            packet_id=seq % PACKET_IDS + 1,
            duplicate=again and car.resumed,
        )
        if not self._send(car, packet.write()):
            return
        car.sent = seq
        if again:
            self._counts.resent += 1
        else:
            car.highest_sent = seq
            self._counts.published += 1

    def _advance(self, car: CarConnection, seq: int, now: float) -> None:
        """All samples of the car up to `seq` are acknowledged."""
        index = car.index
        car.delivering = True
        self._acknowledged[index] = seq
        confirmed: int = self._confirmed[index]
        if seq > confirmed:
            self._confirmed[index] = seq
            self._counts.acknowledged += seq - confirmed
        sampled: int = self._sampled[index]
        if seq == sampled:
            self._counts.add_puback(now - self._sampled_at_view[index])
        elif car.sent < sampled:
            self._behind.add(car)

    def _acknowledge_ahead(self, car: CarConnection, seq: int, now: float) -> None:
        """Remember a PUBACK that came before that of an earlier message, until the gap is closed."""
        ahead = car.acknowledged_ahead or set()
        ahead.add(seq)
        done: int = self._acknowledged[car.index]
        last = done
        while last + 1 in ahead:
            last += 1
            ahead.discard(last)
        car.acknowledged_ahead = ahead or None
        if last > done:
            self._advance(car, last, now)
