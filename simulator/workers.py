"""The parent: starts the workers, restarts one that died, serves the sum of their counts, ends them all."""

import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from plumbing.health import Health
from plumbing.life import Stop, WorldDown
from plumbing.settings import SettingsError, addresses
from simulator import chance, journal, metrics
from simulator.brokers import Brokers
from simulator.faults import FaultPlan
from simulator.metrics import Sum, Table
from simulator.settings import Settings, arguments
from simulator.switch import CUT, Switch, held

TRUTH, PUBLISHED = "truth.json", "published.npy"
LOOK_S = 0.2
RESTART_AFTER_S, RESTARTS_MAX = 1.0, 10  # in a row, each within RESTART_FORGIVEN_S of the one before
RESTART_FORGIVEN_S = 60.0
STALLED_AFTER_MS = 20_000
MARGIN_S = 3.0  # what a worker needs after its drain to say goodbye and to flush

_PR_SET_PDEATHSIG = 1
_BAD_SETTINGS = 2

_log = logging.getLogger("simulator")


class Workers:
    """The worker processes of one fleet."""

    def __init__(self, told: Settings) -> None:
        self._told = told
        """Raises SettingsError where the run folder is another fleet's, or in use."""
        try:
            told.run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"--run-dir {told.run_dir}: {error}") from error
        self._lock = journal.locked(told.run_dir / "lock")  # held as long as this process lives
        begun_ms = journal.epoch_ms(told.run_dir, told.first_car)
        self.epoch_ms = int(time.time() * 1000) if begun_ms is None else begun_ms
        for worker in range(told.workers):
            path = journal.path_of(told.run_dir, told.share(worker).start)
            journal.refuse_other(path, told.identity(worker, self.epoch_ms))
        self._sum = Sum(Table(told.run_dir / "counts", told.workers, new=True))
        metrics.cars.set(told.cars)
        metrics.workers.set(told.workers)
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._died_at: list[float] = []
        self._brokers = Brokers(addresses(told.mqtt_brokers, "--mqtt-brokers"))
        self._switch = Switch().install()

    def write_truth(self) -> None:
        """Say in a file what no telemetry may tell: every fault of the fleet, for the scorecard."""
        told = self._told
        keys = chance.keys(told.seed, told.first_car, told.cars)
        plan = FaultPlan(keys, told.first_car, told.wear)
        text = json.dumps(plan.truth(self.epoch_ms), indent=0)
        partial = self._told.run_dir / f"{TRUTH}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self._told.run_dir / TRUTH)

    def write_published(self) -> NDArray[np.void]:
        """Say in a file what each car sent and had acknowledged, for the ledger (journal.PUBLISHED)."""
        parts = [self._told.share(worker) for worker in range(self._told.workers)]
        published = journal.published(self._told.run_dir, parts)
        np.save(self._told.run_dir / PUBLISHED, published)
        return published

    def run(self, stop: Stop, health: Health) -> None:
        """Until told to stop.

        Raises WorldDown where workers keep dying or samples stay unacknowledged, SettingsError where a worker
        refuses its settings.
        """
        end_at = time.monotonic() + self._told.duration_s if self._told.duration_s else float("inf")
        try:
            for worker in range(self._told.workers):
                self._start(worker)
            while not stop.requested and time.monotonic() < end_at:
                time.sleep(LOOK_S)
                self._restart_dead()
                self._cut_when_asked()
                self._look(health)
            health.unready("ending")
            self._drain(stop)
        finally:
            for process in self._running.values():
                process.kill()
                process.wait()
            waiting = self._report()
        if waiting:
            raise WorldDown(f"{waiting} samples were not acknowledged before the end")

    def _start(self, worker: int) -> None:
        told = replace(self._told, worker=worker, epoch_ms=self.epoch_ms, parent_pid=os.getpid())
        command = [sys.executable, "-m", "simulator", *arguments(told)]
        # Its own process group: Ctrl-C reaches the parent alone, which tells the workers once.
        with held():
            self._running[worker] = subprocess.Popen(command, process_group=0)

    def _restart_dead(self) -> None:
        for worker, process in self._running.items():
            status = process.poll()
            if status is None:
                continue
            if status == _BAD_SETTINGS:
                raise SettingsError(f"worker {worker} refuses them, see above")
            now = time.monotonic()
            self._died_at = [at for at in self._died_at if now - at < RESTART_FORGIVEN_S] + [now]
            if len(self._died_at) > RESTARTS_MAX:
                raise WorldDown(f"workers died {len(self._died_at)} times within {RESTART_FORGIVEN_S:.0f} s")
            _log.warning("worker died, starting it again", extra={"worker": worker, "status": status})
            metrics.worker_restarts.inc()
            time.sleep(RESTART_AFTER_S)
            self._start(worker)

    def _cut_when_asked(self) -> None:
        if self._switch.pressed():
            _log.warning("cutting all connections, as asked by a signal")
            metrics.cuts.inc()
            for process in self._running.values():
                process.send_signal(CUT)

    def _look(self, health: Health) -> None:
        total = self._sum.update()
        if time.time() * 1000 - total.beat_ms < STALLED_AFTER_MS:
            health.progress()
        missing = self._told.cars + self._told.workers - total.connected
        if missing <= 0:
            health.ready()
        elif health.not_ready_because:  # once ready, cars may come and go: that is what is simulated
            silent = self._brokers.silent(time.monotonic())
            why = f"; no answer from {silent}" if silent else ""
            health.unready(f"{missing} connections of {self._told.cars} cars are still missing{why}")

    def _drain(self, stop: Stop) -> None:
        stop.request()
        for process in self._running.values():
            process.terminate()
        while stop.left_s and any(process.poll() is None for process in self._running.values()):
            time.sleep(LOOK_S)
            self._sum.update()
        for process in self._running.values():
            if process.poll() is None:
                _log.error("worker does not end in time and is killed", extra={"pid": process.pid})

    def _report(self) -> int:
        """Whatever the end was like: say how far the cars came. Returns the samples not acknowledged."""
        published = self.write_published()
        waiting = int((published["sent"] - published["acknowledged"]).sum())
        total = self._sum.update()
        _log.info(
            "ended",
            extra={
                "sampled": total.sampled,
                "acknowledged": total.acknowledged,
                "unacknowledged": waiting,
                "skipped": total.skipped,
            },
        )
        return waiting


def die_with_parent(parent_pid: int | None) -> None:
    """A worker: be killed when the parent is (Linux, prctl(2)); no orphan goes on driving."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before we could ask
        sys.exit(1)


def give_back_memory() -> None:
    """What only the beginning took: drawing the fleet and its faults took a multiple of what is kept."""
    with contextlib.suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)


def take_all_files() -> None:
    """Raise the soft limit of open files to the hard one: a connection is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
