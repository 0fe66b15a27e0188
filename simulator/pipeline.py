"""The loop of a worker: samples a group of cars per tick and handles what their connections received."""

import gc
import itertools
import logging
import time

import mqtt5
import numpy as np
from numpy.typing import NDArray

from contract.records import single_object_header
from contract.schema import Schema, get
from contract.telemetry import prefix
from contract.topics import TELEMETRY
from plumbing.life import Stop
from simulator.cars import MODELS, car_id
from simulator.clock import Clock
from simulator.connections import Connections, Received, source_address
from simulator.fleet import Fleet
from simulator.journal import Journal, path_of
from simulator.metrics import CountsTable
from simulator.settings import WorkerJob
from simulator.uplink import CarConnection, Uplink
from simulator.workshop import Workshop

# Cars are sampled in groups, so that the load is even. A step costs little more for 400 cars than for 20, so
# a group has about 400 cars as far as the bounds of the tick allow.
GROUP_CARS, TICK_MIN_S, TICK_MAX_S = 400, 0.02, 0.25

STORE_EVERY_S = 0.25  # interval of publishing the counts to the parent
WARN_EVERY_S = 1.0  # at most one log line about lost connections, which may be many thousands

_log = logging.getLogger("simulator")


class Pipeline:
    """The cars of one worker, from physics to PUBACK."""

    def __init__(self, job: WorkerJob, stop: Stop) -> None:
        settings = job.settings
        self._job, self._settings, self._stop = job, settings, stop
        self._clock = Clock(job.epoch_ms)
        self._journal = Journal(path_of(settings.run_dir, job.cars.start), job.identity)
        self._table = CountsTable(settings.run_dir / "counts", settings.workers)
        self._counts = self._table.load(job.worker)
        self._cpu_before_us = self._counts.cpu_us  # of predecessors that died
        self._fleet = Fleet(
            seed=settings.seed,
            first=job.cars.start,
            cars=len(job.cars),
            scenario=settings,
            now_s=self._clock.now_s,
        )
        self._connections = Connections(
            keep_alive_s=settings.keep_alive_s,
            connects_per_s=settings.connects_per_s / settings.workers,
            counts=self._counts,
            login=settings.login,
        )
        clients, brokers = _clients(job), settings.brokers
        schema = get(TELEMETRY, settings.schema_version)
        self._uplink = Uplink(
            clients,
            _prefixes(job, schema, self._fleet.model),
            self._journal,
            self._counts,
            self._connections.send,
            signal_count=len(schema.names("float")),
        )
        self._workshop = Workshop(
            brokers[job.worker % len(brokers)], self._fleet.plan, self._journal, self._counts
        )
        for client in (self._workshop, *clients):
            self._connections.add(client)
        self._cuts = int(self._table.cut_requests[0])
        self._ping_due = self._store_due = self._warn_due = 0.0

    def run(self) -> None:
        """Run until `stop` is requested, then wait for outstanding PUBACKs within its deadline."""
        gc.freeze()  # objects of the cars live as long as the process: do not scan them
        self._plan_ticks()
        try:
            while not self._stop.requested:
                self._sample()
                self._cut_on_request()
                self._turn(max(0.0, min(self._tick_due - time.monotonic(), STORE_EVERY_S)))
            while self._uplink.unacknowledged and self._stop.left_s:
                self._turn(0.05)
        finally:
            self._end()

    def _cut_on_request(self) -> None:
        requested = int(self._table.cut_requests[0])
        if requested != self._cuts:
            self._cuts = requested
            _log.warning("cutting all connections on request")
            self._connections.cut()

    def _plan_ticks(self) -> None:
        """Divide the cars into groups, one per tick; every period each car is sampled once."""
        cars, period_s = len(self._job.cars), self._settings.period_s
        tick_s = min(max(period_s * GROUP_CARS / cars, TICK_MIN_S), TICK_MAX_S)
        count = min(cars, max(1, round(period_s / tick_s)))
        self._groups = itertools.cycle(
            [slice(n * cars // count, (n + 1) * cars // count) for n in range(count)]
        )
        self._tick_s = period_s / count
        phase_s = self._tick_s * self._job.worker / self._settings.workers  # workers do not tick together
        self._tick_due = time.monotonic() + phase_s

    def _sample(self) -> None:
        """Sample all groups that are due, except those that are more than a period late."""
        now = time.monotonic()
        while self._tick_due <= now:
            late_s = now - self._tick_due
            self._tick_due += self._tick_s
            group = next(self._groups)
            self._counts.ticks += 1
            self._counts.late_ticks += late_s > self._tick_s
            if late_s > self._settings.period_s:
                self._counts.missed_ticks += 1
                continue
            now_s = self._clock.now_s
            signals = self._fleet.step(group, now_s, self._settings.period_s * self._settings.time_lapse)
            self._uplink.sample(group, self._job.epoch_ms + int(self._clock.now_s * 1000), signals, now)
            now = time.monotonic()

    def _turn(self, timeout_s: float) -> None:
        events = self._connections.turn(timeout_s)
        now = time.monotonic()
        for client, received in events:
            if isinstance(client, CarConnection):
                if type(received) is int:
                    self._uplink.delivered(client, received, now)
                else:
                    self._handle_car(client, received, now)
            else:
                self._handle_workshop(received)
        self._uplink.catch_up(now)
        self._workshop.send_due(self._clock.now_s, self._connections.send)
        if now >= self._store_due:
            self._store_due = now + STORE_EVERY_S
            self._clock.follow()
            self._store_counts()
        if now >= self._ping_due:
            self._ping_due = now + self._connections.keep_alive_s / 4
            self._connections.keep_alive(now)

    def _handle_car(self, car: CarConnection, received: Received, now: float) -> None:
        if isinstance(received, mqtt5.PubAckPacket):
            self._uplink.refused(car, received.packet_id, now)
        elif isinstance(received, mqtt5.ConnAckPacket):
            self._uplink.connected(car, session_present=received.session_present)
        elif isinstance(received, str) and now >= self._warn_due and not self._stop.requested:
            self._warn_due = now + WARN_EVERY_S
            _log.warning("connection lost", extra={"client": car.id, "why": received})

    def _handle_workshop(self, received: Received) -> None:
        now_s = self._clock.now_s
        if isinstance(received, int):
            self._workshop.answered(received, now_s, delivered=True)
        elif isinstance(received, mqtt5.PubAckPacket):
            self._workshop.answered(received.packet_id, now_s, delivered=False)
        elif isinstance(received, mqtt5.ConnAckPacket):
            self._workshop.connected(
                session_present=received.session_present, now_s=now_s, resend_s=self._settings.buffer_s
            )

    def _store_counts(self) -> None:
        self._counts.cpu_us = self._cpu_before_us + int(time.process_time() * 1e6)
        self._counts.unacknowledged = self._uplink.unacknowledged
        self._counts.beat_ms = int(time.time() * 1000)
        self._table.store(self._job.worker, self._counts)

    def _end(self) -> None:
        self._connections.close()
        self._store_counts()
        self._journal.close()


def _clients(job: WorkerJob) -> list[CarConnection]:
    brokers, clients = job.settings.brokers, []
    for index, number in enumerate(job.cars):
        broker = brokers[number % len(brokers)]
        source = source_address(broker[0], job.worker, number)
        clients.append(CarConnection(car_id(number), broker, source, index=index))
    return clients


def _prefixes(job: WorkerJob, schema: Schema, models: NDArray[np.intp]) -> list[bytes]:
    """Per car the bytes of its records before `seq`, which never change: the frame and the strings."""
    header = single_object_header(schema)
    return [
        header + prefix(schema, car_id(number), MODELS[model])
        for number, model in zip(job.cars, models.tolist(), strict=True)
    ]
