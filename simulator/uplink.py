"""What a car sends and when it may forget it: packet ids, PUBACKs in order, sending again.

A car keeps every sample in its journal until all samples up to it are acknowledged, and some seconds longer.
After a connection was lost it sends again what is not acknowledged; where the broker lost the car's session,
and with it perhaps messages that it had acknowledged and not yet handed on, those of the last seconds too.
"""

import random
from collections.abc import Callable, Iterable, Sequence

import mqtt5
import numpy as np

from contract.telemetry import encode
from contract.topics import TELEMETRY, mqtt_topic
from simulator.chance import F4
from simulator.connections import Client
from simulator.journal import Journal
from simulator.metrics import Tally

PACKET_IDS = 65_535  # 1 to 65535; a car's ring is far smaller, so an id in flight is unique
REFUSED_WAIT_S = 2.0
CATCH_UP_MAX = 2000  # messages sent again in one turn of the loop, so that sampling stays on time


class Car(Client):
    """A car's connection and how far it has sent."""

    __slots__ = ("ahead", "heard", "index", "known", "resumed", "sent", "silent_until")

    def __init__(self, client_id: str, address: tuple[str, int], source: str | None, index: int) -> None:
        super().__init__(client_id, address, source)
        self.index = index  # within this worker
        self.sent = 0  # seq of the last message sent on this connection
        self.known = 0  # the highest seq ever sent
        self.resumed = False  # the broker still has the session: what it may know goes out marked as DUP
        self.heard = False  # somebody takes the car's messages on this connection
        self.silent_until = 0.0  # after a PUBACK that said no
        self.ahead: set[int] | None = None  # acknowledged before an earlier one


def room(car: Car) -> int:
    """How many messages of a car may be unacknowledged.

    One until somebody has taken one: a broker that lost its sessions has no subscriber at first. Of several
    messages it could refuse the first ones and hand on a later one, and the first would come after it.
    """
    return car.window if car.heard else min(1, car.window)


class Uplink:
    """Telemetry of all cars of a worker. `send` gives bytes to a connection, False where that is lost."""

    def __init__(
        self,
        cars: Sequence[Car],
        prefixes: Sequence[bytes],
        journal: Journal,
        tally: Tally,
        send: Callable[[Client, bytes], bool],
    ) -> None:
        self._cars, self._prefixes, self._journal, self._tally, self._send = (
            cars,
            prefixes,
            journal,
            tally,
            send,
        )
        # Item access on a memoryview takes half the time of numpy's.
        self._sampled, self._acknowledged, self._confirmed = (
            counts.data for counts in (journal.sampled, journal.acknowledged, journal.confirmed)
        )
        self._behind: set[Car] = set()
        self._on_road = np.zeros(len(cars), np.bool_)
        self._sampled_at_all = np.zeros(len(cars))  # monotonic, of the last sample
        self._sampled_at = self._sampled_at_all.data
        for car, sampled in zip(cars, journal.sampled.tolist(), strict=True):
            car.known = sampled  # what an earlier process sent is not known: say that it may be a duplicate

    def sample(self, group: slice, at_ms: int, signals: F4, now: float) -> None:
        """Keep a sample of each car of `group` and send it where nothing older waits.

        A car comes onto the road with its first connection: a ramp-up brings no flood of older samples.
        """
        on_road = self._on_road[group]
        rows = self._journal.append(group, at_ms, signals, on_road)
        self._tally.sampled += len(rows)
        self._tally.skipped += int(np.count_nonzero(on_road)) - len(rows)
        self._sampled_at_all[group] = now
        if len(rows) < len(signals):
            signals = signals[rows]
        picked = (rows + group.start).tolist()
        seqs = self._journal.sampled[picked]
        payloads = encode([self._prefixes[i] for i in picked], seqs, np.full(len(picked), at_ms), signals)
        for index, seq, payload in zip(picked, seqs.tolist(), payloads, strict=True):
            car = self._cars[index]
            if not car.online:
                continue
            if car.sent == seq - 1 and seq - self._acknowledged[index] <= room(car) and not car.silent_until:
                self._publish(car, seq, payload)
            else:
                self._behind.add(car)

    def session(self, car: Car, *, present: bool) -> None:
        """The car is connected; `present`: the broker still has its session."""
        self._on_road[car.index] = True
        if not present:
            car.ahead = None
            if self._confirmed[car.index]:
                self._tally.sessions_lost += 1
                self._journal.session_lost(car.index)
        car.resumed = car.heard = present
        car.silent_until = 0.0
        car.sent = self._acknowledged[car.index]
        self._behind.add(car)

    def kept(self, car: Car, packet_id: int, now: float) -> None:
        """The broker has a message, and somebody takes it: the only answer after which it is delivered.

        "No matching subscribers" is a success for MQTT too, but the message is gone: the consumer has not
        subscribed yet, or the broker forgot it.
        """
        done: int = self._acknowledged[car.index]
        seq = done + 1 + (packet_id - 2 - done) % PACKET_IDS
        if seq > car.sent:
            self._tally.unexpected += 1
        elif seq == done + 1 and not car.ahead:
            self._advance(car, seq, now)
        else:
            self._acknowledged_ahead(car, seq, now)

    def refused(self, car: Car, packet_id: int, now: float) -> None:
        """Not kept by the broker: be silent a while, then send everything unacknowledged again."""
        done: int = self._acknowledged[car.index]
        if done + 1 + (packet_id - 2 - done) % PACKET_IDS > car.sent:
            self._tally.unexpected += 1
            return
        self._tally.refused += 1
        car.heard = False
        if not car.silent_until:
            car.silent_until = now + REFUSED_WAIT_S * random.uniform(0.5, 1.5)
            self._behind.add(car)

    def catch_up(self, now: float) -> None:
        """Send what waits in the rings of the cars that are behind, within each broker's window."""
        behind, self._behind = self._behind, set()
        waiting: list[tuple[Car, int]] = []
        for car in behind:
            if car.silent_until > now or len(waiting) > CATCH_UP_MAX:
                self._behind.add(car)
            elif car.online:
                if car.silent_until:  # the wait is over: everything unacknowledged once more
                    car.silent_until = 0.0
                    car.sent = self._acknowledged[car.index]
                waiting += [(car, seq) for seq in self._waiting(car)]
        if waiting:
            self._send_waiting(waiting)

    def overdue(self, now: float, limit_s: float) -> Iterable[Car]:
        """Cars that wait for an answer and have heard nothing for longer than limit_s."""
        waiting = np.flatnonzero(self._journal.acknowledged < self._journal.sampled)
        cars = (self._cars[i] for i in waiting.tolist())
        return (car for car in cars if car.online and now - car.heard_at > limit_s)

    @property
    def unacknowledged(self) -> int:
        """Samples taken that are not acknowledged."""
        return int((self._journal.sampled - self._journal.acknowledged).sum())

    def _waiting(self, car: Car) -> list[int]:
        """The seqs in a car's ring that may be sent now."""
        done: int = self._acknowledged[car.index]
        last = min(self._sampled[car.index], done + room(car))
        car.sent = max(car.sent, done)
        return [seq for seq in range(car.sent + 1, last + 1) if not car.ahead or seq not in car.ahead]

    def _send_waiting(self, waiting: list[tuple[Car, int]]) -> None:
        index = np.array([car.index for car, _ in waiting], np.int64)
        seqs = np.array([seq for _, seq in waiting], np.int64)
        at_ms, signals = self._journal.read(index, seqs)
        payloads = encode([self._prefixes[i] for i in index.tolist()], seqs, at_ms, signals)
        for (car, seq), payload in zip(waiting, payloads, strict=True):
            if car.online:
                self._publish(car, seq, payload)

    def _publish(self, car: Car, seq: int, payload: bytes) -> None:
        again = seq <= car.known
        packet = mqtt5.PublishPacket(
            mqtt_topic(car.id, TELEMETRY),  # made each time: a hundred bytes a car saved
            payload,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            packet_id=seq % PACKET_IDS + 1,
            duplicate=again and car.resumed,
        )
        if not self._send(car, packet.write()):
            return
        car.sent = seq
        if again:
            self._tally.resent += 1
        else:
            car.known = seq
            self._tally.published += 1

    def _advance(self, car: Car, seq: int, now: float) -> None:
        index = car.index
        car.heard = True
        self._acknowledged[index] = seq
        confirmed: int = self._confirmed[index]
        if seq > confirmed:
            self._confirmed[index] = seq
            self._tally.acknowledged += seq - confirmed
        sampled: int = self._sampled[index]
        if seq == sampled:
            self._tally.answered(now - self._sampled_at[index])
        elif car.sent < sampled:
            self._behind.add(car)

    def _acknowledged_ahead(self, car: Car, seq: int, now: float) -> None:
        """An answer out of order, while an earlier message has none yet or was refused."""
        ahead = car.ahead = car.ahead or set()
        ahead.add(seq)
        done: int = self._acknowledged[car.index]
        reached = done
        while reached + 1 in ahead:
            reached += 1
            ahead.discard(reached)
        if not ahead:
            car.ahead = None
        if reached > done:
            self._advance(car, reached, now)
