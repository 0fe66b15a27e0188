"""The parent process: starts, restarts and ends the workers and serves the sum of their counts."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np

from plumbing.health import Health
from plumbing.life import Stop, WorldDown
from plumbing.settings import SettingsError
from simulator import chance, journal, metrics
from simulator.faults import FaultPlan
from simulator.metrics import CountsTable
from simulator.settings import Settings, WorkerJob

TRUTH, PUBLISHED = "truth.json", "published.npy"
CUT = signal.SIGUSR1  # cuts all connections of the fleet at once, a fault of `make chaos`
POLL_S = 0.2
RESTART_AFTER_S = 1.0
RESTARTS_MAX, RESTARTS_WITHIN_S = 10, 60.0
STALLED_AFTER_MS = 20_000
END_MARGIN_S = 3.0  # time that a worker needs after its drain to disconnect and to flush its journal
BROKER_PROBE_EVERY_S, BROKER_PROBE_TIMEOUT_S = 5.0, 0.3

_EXIT_BAD_SETTINGS = 2

_log = logging.getLogger("simulator")


class WorkerPool:
    """The worker processes of one fleet."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError if the run folder cannot be made, is in use or belongs to another fleet."""
        self._settings = settings
        try:
            settings.run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"--run-dir {settings.run_dir}: {error}") from error
        self._lock = journal.locked(settings.run_dir / "lock")  # held as long as this process lives
        begun = journal.identity_of(journal.path_of(settings.run_dir, settings.first_car))
        self.epoch_ms = begun.epoch_ms if begun else int(time.time() * 1000)
        self._jobs = [WorkerJob(settings, worker, self.epoch_ms) for worker in range(settings.workers)]
        for job in self._jobs:
            journal.refuse_other(journal.path_of(settings.run_dir, job.cars.start), job.identity)
        self._counts = CountsTable(settings.run_dir / "counts", settings.workers, new=True)
        metrics.cars.set(settings.cars)
        metrics.workers.set(settings.workers)
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._died_at: list[float] = []
        self._probe_due, self._unreachable = 0.0, ""
        self._probe: threading.Thread | None = None
        signal.signal(CUT, self._request_cut)

    def write_truth(self) -> None:
        """Write every fault of the fleet to a file for the scorecard; no telemetry contains them."""
        settings = self._settings
        keys = chance.keys(settings.seed, settings.first_car, settings.cars)
        plan = FaultPlan(keys, settings.first_car, settings)
        partial = settings.run_dir / f"{TRUTH}.partial"
        partial.write_text(json.dumps(plan.truth(self.epoch_ms), indent=0), encoding="utf-8")
        partial.replace(settings.run_dir / TRUTH)

    def run(self, stop: Stop, health: Health) -> None:
        """Run the workers until `stop` is requested.

        Raises WorldDown if workers keep dying or samples stay unacknowledged, SettingsError if a worker
        refuses its settings.
        """
        try:
            for job in self._jobs:
                self._start(job)
            stop.started()
            while not stop.requested:
                time.sleep(POLL_S)
                self._restart_dead()
                self._update(health)
            health.unready("ending")
            self._drain(stop)
        finally:
            for process in self._running.values():
                process.kill()
                process.wait()
            unacknowledged = self._write_published()
        if unacknowledged:
            raise WorldDown(
                f"{unacknowledged} samples were not acknowledged; the next start sends them again"
            )

    def _start(self, job: WorkerJob) -> None:
        # It has the flags and the environment of this process, so it loads the same settings.
        numbers = map(str, (job.worker, job.epoch_ms, os.getpid()))
        command = [sys.executable, "-m", "simulator.worker", *numbers, *sys.argv[1:]]
        # In a process group of its own a worker does not receive Ctrl-C; the parent terminates it once.
        self._running[job.worker] = subprocess.Popen(command, process_group=0)

    def _request_cut(self, _number: int, _frame: object) -> None:
        self._counts.cut_requests += 1

    def _restart_dead(self) -> None:
        for worker, process in self._running.items():
            status = process.poll()
            if status is None:
                continue
            if status == _EXIT_BAD_SETTINGS:
                raise SettingsError(f"worker {worker} refuses its settings, see its message above")
            now = time.monotonic()
            self._died_at = [at for at in self._died_at if now - at < RESTARTS_WITHIN_S] + [now]
            if len(self._died_at) > RESTARTS_MAX:
                raise WorldDown(f"workers died {len(self._died_at)} times within {RESTARTS_WITHIN_S:.0f} s")
            _log.warning("worker died, restarting it", extra={"worker": worker, "status": status})
            metrics.worker_restarts.inc()
            time.sleep(RESTART_AFTER_S)
            self._start(self._jobs[worker])

    def _update(self, health: Health) -> None:
        """Update metrics and health from the counts of the workers."""
        total = self._counts.update_metrics()
        if time.time() * 1000 - total.beat_ms < STALLED_AFTER_MS:
            health.progress()
        missing = self._settings.cars + self._settings.workers - total.connected
        if missing <= 0:
            health.ready()
        elif health.not_ready_because:  # once ready, stay ready: cars that come and go are simulated
            self._probe_when_due()
            why = f"; no answer from {self._unreachable}" if self._unreachable else ""
            health.unready(f"{missing} connections of {self._settings.cars} cars are still missing{why}")

    def _probe_when_due(self) -> None:
        """Probe the brokers on a thread of its own: looking up their names can take long."""
        now = time.monotonic()
        if now >= self._probe_due and not (self._probe and self._probe.is_alive()):
            self._probe_due = now + BROKER_PROBE_EVERY_S
            self._probe = threading.Thread(target=self._probe_brokers, daemon=True)
            self._probe.start()

    def _probe_brokers(self) -> None:
        """Find the brokers that accept no connection, to name them while the fleet is connecting."""
        brokers = dict.fromkeys(self._settings.brokers)
        self._unreachable = ", ".join(filter(None, map(_why_unreachable, brokers)))
        if self._unreachable:
            _log.warning(
                "no answer from %s; start it or correct --mqtt-brokers; the cars keep trying",
                self._unreachable,
            )

    def _drain(self, stop: Stop) -> None:
        for process in self._running.values():
            process.terminate()
        while stop.left_s and any(process.poll() is None for process in self._running.values()):
            time.sleep(POLL_S)
            self._counts.update_metrics()
        for process in self._running.values():
            if process.poll() is None:
                _log.error("worker did not end in time and is killed", extra={"pid": process.pid})

    def _write_published(self) -> int:
        """Write for the ledger what each car sent. Returns the number of unacknowledged samples."""
        published = journal.published(self._settings.run_dir, [job.cars for job in self._jobs])
        np.save(self._settings.run_dir / PUBLISHED, published)
        unacknowledged = int((published["sent"] - published["acknowledged"]).sum())
        total = self._counts.update_metrics()
        _log.info(
            "ended",
            extra={
                "sampled": total.sampled,
                "acknowledged": total.acknowledged,
                "unacknowledged": unacknowledged,
                "skipped": total.skipped,
            },
        )
        return unacknowledged


def _why_unreachable(broker: tuple[str, int]) -> str:
    try:
        socket.create_connection(broker, BROKER_PROBE_TIMEOUT_S).close()
    except OSError as error:
        return f"{broker[0]}:{broker[1]} ({error.strerror or error})"
    return ""
