"""A worker's loop: sample a group of cars each tick, hand PUBACKs to the uplink, keep everyone connected."""

import gc
import logging
import time
from dataclasses import dataclass

import mqtt5

from contract.framing import single_object_header
from contract.schema import get
from contract.telemetry import prefix
from contract.topics import TELEMETRY
from plumbing.life import Stop
from plumbing.settings import addresses
from simulator import cars as car_parameters
from simulator import chance
from simulator.connections import Connections, Lost, Received, source_address
from simulator.fleet import Fleet
from simulator.journal import Journal, path_of
from simulator.metrics import Table
from simulator.settings import Settings
from simulator.switch import Switch
from simulator.uplink import Car, Uplink
from simulator.workshop import Workshop

# Cars are sampled a group at a time, so that the load is smooth. A step costs little more for 400 cars than
# for 20, so a group is about that large where the ticks stay between these bounds.
GROUP_CARS, TICK_MIN_S, TICK_MAX_S = 400, 0.02, 0.25

SWEEP_S = 1.0  # how often cars without an answer are looked for
SHOW_S = 0.25  # how often the counts are shown to the parent

_log = logging.getLogger("simulator")


@dataclass
class Groups:
    """Which cars are sampled in which tick: the fleet spread evenly over a period."""

    cars: int
    count: int
    tick_s: float
    due: float  # of the next tick, on the loop's clock
    number: int = 0

    def next(self) -> slice:
        """The cars of the next tick; its time moves on."""
        group = slice(self.number * self.cars // self.count, (self.number + 1) * self.cars // self.count)
        self.number = (self.number + 1) % self.count
        self.due += self.tick_s
        return group


class Pipeline:
    """Cars first … of one worker, from physics to PUBACK."""

    def __init__(self, told: Settings, stop: Stop) -> None:
        assert told.worker is not None
        assert told.epoch_ms is not None
        self._told, self._stop, self._worker = told, stop, told.worker
        mine = told.share(self._worker)
        # One reading of the wall clock: from here on time never jumps.
        self._epoch = time.monotonic() - (time.time() - told.epoch_ms / 1000)
        identity = told.identity(self._worker, told.epoch_ms)
        self._journal = Journal(path_of(told.run_dir, mine.start), identity)
        self._table = Table(told.run_dir / "counts", told.workers)
        self._tally = self._table.load(self._worker)
        self._cpu_before_us = self._tally.cpu_us  # of a predecessor that died
        self._fleet = Fleet(
            seed=told.seed,
            first=mine.start,
            cars=len(mine),
            wear=told.wear,
            changes=told.changes,
            now_s=self._now_s(),
            first_day=told.first_day,
        )
        self._connections = Connections(
            keep_alive_s=told.keep_alive_s,
            session_expiry_s=told.session_expiry_s,
            connects_per_s=told.connects_per_s / told.workers,
            tally=self._tally,
        )
        cars = self._clients(mine)
        self._uplink = Uplink(cars, _prefixes(told, mine), self._journal, self._tally, self._connections.send)
        brokers = addresses(told.mqtt_brokers, "--mqtt-brokers")
        self._workshop = Workshop(
            brokers[self._worker % len(brokers)], None, self._fleet.plan, self._journal, self._tally
        )
        for client in (self._workshop, *cars):
            self._connections.add(client)
        self._switch = Switch().install()
        self._sweep_due = self._ping_due = self._show_due = self._log_due = 0.0

    def run(self) -> bool:
        """Until told to stop, then drain. Returns whether everything was acknowledged."""
        gc.freeze()  # a hundred thousand objects that live as long as the process: nothing to look through
        groups = self._groups()
        try:
            while not self._stop.requested:
                self._sample(groups)
                if self._switch.pressed():
                    self._connections.cut()
                self._turn(max(0.0, min(groups.due - time.monotonic(), SHOW_S)))
            while self._uplink.unacknowledged and self._stop.left_s:
                self._turn(0.05)
        finally:
            self._end()
        return self._uplink.unacknowledged == 0

    def _groups(self) -> Groups:
        cars, period_s = len(self._told.share(self._worker)), self._told.period_s
        tick_s = min(max(period_s * GROUP_CARS / cars, TICK_MIN_S), TICK_MAX_S)
        count = max(1, round(period_s / tick_s))
        tick_s = period_s / count
        phase_s = tick_s * self._worker / self._told.workers  # workers take turns
        return Groups(cars, count, tick_s, time.monotonic() + phase_s)

    def _sample(self, groups: Groups) -> None:
        """All groups that are due. After a whole period of delay the missed ones are left out."""
        now = time.monotonic()
        while groups.due <= now:
            late_s = now - groups.due
            group = groups.next()
            if group.start == group.stop:
                continue
            self._tally.ticks += 1
            self._tally.late_ticks += late_s > groups.tick_s
            if late_s > self._told.period_s:
                self._tally.missed_ticks += 1
                continue
            signals = self._fleet.step(group, self._now_s(), self._told.period_s * self._told.time_lapse)
            self._uplink.sample(group, self._now_ms(), signals, now)
            now = time.monotonic()

    def _turn(self, timeout_s: float) -> None:
        events = self._connections.turn(timeout_s)
        now = time.monotonic()
        for client, received in events:
            if isinstance(client, Car):
                if type(received) is int:
                    self._uplink.kept(client, received, now)
                else:
                    self._of_car(client, received, now)
            else:
                self._of_workshop(received)
        self._uplink.catch_up(now)
        self._workshop.tell(self._now_s(), self._connections.send)
        if now >= self._show_due:
            self._show_due = now + SHOW_S
            self._show()
        if now >= self._sweep_due:
            self._sweep_due = now + SWEEP_S
            self._sweep(now)

    def _of_car(self, car: Car, packet: Received, now: float) -> None:
        if isinstance(packet, mqtt5.PubAckPacket):
            self._uplink.refused(car, packet.packet_id, now)
        elif isinstance(packet, mqtt5.ConnAckPacket):
            self._uplink.session(car, present=packet.session_present)
        elif isinstance(packet, Lost) and now >= self._log_due and not self._stop.requested:
            self._log_due = now + 1.0  # one of many thousands, the rest is in the metrics
            _log.warning("connection lost", extra={"client": car.id, "why": packet.why})

    def _of_workshop(self, packet: Received) -> None:
        if isinstance(packet, int):
            self._workshop.answered(packet, self._now_s(), kept=True)
        elif isinstance(packet, mqtt5.PubAckPacket):
            self._workshop.answered(packet.packet_id, self._now_s(), kept=False)
        elif isinstance(packet, mqtt5.ConnAckPacket):
            self._workshop.session(
                present=packet.session_present, now_s=self._now_s(), resend_s=self._told.buffer_s
            )

    def _sweep(self, now: float) -> None:
        """Find brokers that went silent, and keep quiet connections alive."""
        for car in list(self._uplink.overdue(now, self._told.answer_timeout_s + self._told.period_s)):
            self._connections.lose(car, "no answer")
        if now >= self._ping_due:
            self._ping_due = now + self._told.keep_alive_s / 4
            self._connections.keep_alive(now)

    def _show(self) -> None:
        self._tally.cpu_us = self._cpu_before_us + int(time.process_time() * 1e6)
        self._tally.unacknowledged = self._uplink.unacknowledged
        self._tally.beat_ms = int(time.time() * 1000)
        self._table.store(self._worker, self._tally)

    def _end(self) -> None:
        waiting = self._uplink.unacknowledged
        self._connections.close()
        self._show()
        self._journal.close()
        if waiting:
            _log.warning(
                "ended with samples unacknowledged; the next start sends them again",
                extra={"worker": self._worker, "samples": waiting},
            )

    def _clients(self, mine: range) -> list[Car]:
        brokers = addresses(self._told.mqtt_brokers, "--mqtt-brokers")
        clients = []
        for index, number in enumerate(mine):
            broker = brokers[number % len(brokers)]
            source = source_address(broker[0], self._worker, number)
            clients.append(Car(car_parameters.car_id(number), broker, source, index))
        return clients

    def _now_s(self) -> float:
        """Second of the run."""
        return time.monotonic() - self._epoch

    def _now_ms(self) -> int:
        assert self._told.epoch_ms is not None
        return self._told.epoch_ms + int(self._now_s() * 1000)


def _prefixes(told: Settings, mine: range) -> list[bytes]:
    """The bytes of each car's records before `seq`: frame and what never changes."""
    schema = get(TELEMETRY, told.schema_version)
    header = single_object_header(schema)
    keys = chance.keys(told.seed, mine.start, len(mine))
    models = car_parameters.models(keys, mine.start, told.new_model_from)
    return [
        header + prefix(schema, car_parameters.car_id(number), car_parameters.MODELS[model])
        for number, model in zip(mine, models.tolist(), strict=True)
    ]
