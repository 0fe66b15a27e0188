"""The fleet: CPU of its processes for each QoS 1 publish with its acknowledgement, against a real mosquitto.

Everything counts that a car does: physics, encoding, its record in the journal, sending, reading the PUBACK;
and the parent process that sums up the counts. Twice:

- a thousand busy cars that make the steady rate together (1 000 cars at 10 Hz: 10 000 messages a second);
- as many cars as one process holds at 0.1 Hz, which is what each process of a fleet of 100 000 does.

All are connected before the clock starts, and a subscriber takes everything: without one the PUBACKs would
say "no matching subscribers", and cars send again what nobody has.
"""

import contextlib
import resource
import socket
import sys
import threading
import time
from dataclasses import dataclass

import mqtt5

from contract.topics import TELEMETRY, mqtt_topic
from loadtest.bench.run import Run
from loadtest.scale.timeline import histogram, quantile
from local.java import ROOT
from local.supervisor import Child, pss_mib
from local.usage import cpu_s
from local.watch import scrape
from plumbing.life import WorldDown
from plumbing.settings import address

BUSY_CARS = 1_000
QUIET_CARS_MAX, QUIET_RATE_HZ = 15_000, 0.1
_SPARE_FILES = 1_000  # of the broker, of the simulator
_CONNECTS_PER_S = 2_000
_CONNECTED_WITHIN_S = 120.0
_WARM_UP_S = 3.0
_LOOK_S = 0.25
_ANSWER_WITHIN_S = 10.0
_RECEIVE_BYTES, _PAUSE_S = 1 << 18, 0.02


@dataclass(frozen=True)
class Load:
    """A fleet, and for how long it is measured."""

    name: str
    cars: int
    rate_hz: float
    seconds: float


@dataclass(frozen=True)
class Figures:
    """Of a fleet under load."""

    us_per_publish: float
    msgs_per_s: float
    puback_ms: tuple[float, float]  # p50, p99
    memory_mib: float


def measure(run: Run) -> dict[str, float]:
    """Both loads. Raises WorldDown where cars do not connect, or send again, or fall behind."""
    told = run.settings
    quiet_cars = max(1, min(QUIET_CARS_MAX, _hard_limit() - _SPARE_FILES))
    busy = _figures(run, 0, Load("busy", BUSY_CARS, told.rate / BUSY_CARS, told.steady_s))
    quiet = _figures(run, 1, Load("quiet", quiet_cars, QUIET_RATE_HZ, told.steady_s))
    return {
        "us_per_publish": busy.us_per_publish,
        "puback_p50_ms": busy.puback_ms[0],
        "puback_p99_ms": busy.puback_ms[1],
        "quiet_cars": quiet_cars,
        "quiet_us_per_publish": quiet.us_per_publish,
        "quiet_puback_p50_ms": quiet.puback_ms[0],
        "quiet_puback_p99_ms": quiet.puback_ms[1],
        "quiet_memory_mib": quiet.memory_mib,
    }


def peers(run: Run) -> dict[str, dict[str, float]]:
    """None: others' clients are compared in docs/measurements.md, on prototypes."""
    return {}


def _hard_limit() -> int:
    """Files that a process may have open at most."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def _figures(run: Run, number: int, load: Load) -> Figures:
    mqtt = run.mqtt(number)
    with Taker(mqtt):
        run.say(f"{load.name}: {load.cars} cars connect, {load.cars * load.rate_hz:.0f} messages a second")
        fleet = _start(run, mqtt, load)
        try:
            time.sleep(_WARM_UP_S)
            return _watch(run, fleet, load)
        finally:
            run.supervisor.stop(fleet.name)
            run.supervisor.stop(f"mqtt-{number}")


def _start(run: Run, mqtt: str, load: Load) -> Child:
    """The fleet, once every car is connected."""
    port = run.ports.simulator
    flags = {
        "--mqtt-brokers": mqtt,
        "--run-dir": run.folder / load.name,
        "--cars": load.cars,
        "--rate-hz": load.rate_hz,
        "--connects-per-s": _CONNECTS_PER_S,
        "--metrics-port": port,
    }
    argv = [sys.executable, "-m", "simulator", *(str(word) for flag in flags.items() for word in flag)]

    def connected() -> bool:
        return scrape(port).get("simulator_connected_clients", 0.0) > load.cars

    child = Child(f"simulator-{load.name}", argv, connected, restart=False, env={"PYTHONPATH": str(ROOT)})
    run.supervisor.start(child)
    run.supervisor.wait_ready([child.name], _CONNECTED_WITHIN_S)
    return child


def _watch(run: Run, fleet: Child, load: Load) -> Figures:
    """CPU and counts over the load's time. Raises WorldDown where it was not the load that was asked for."""
    port, pids = run.ports.simulator, fleet.tree()
    before, cpu_before, began = scrape(port), sum(map(cpu_s, pids)), time.monotonic()
    while time.monotonic() < began + load.seconds:
        run.supervisor.tick()
        if fleet.process is None:
            raise WorldDown(f"{fleet.name} ended: {run.supervisor.last_lines(fleet.name)}")
        time.sleep(_LOOK_S)
    after, cpu, seconds = scrape(port), sum(map(cpu_s, pids)) - cpu_before, time.monotonic() - began
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    counted = {
        name: grown[f"simulator_{name}_total"]
        for name in ("acknowledged_messages", "resent_messages", "samples_skipped", "connection_losses")
    }
    acknowledged = counted.pop("acknowledged_messages")
    if any(counted.values()) or acknowledged < 0.9 * load.cars * load.rate_hz * seconds:
        raise WorldDown(f"{load.name}: {acknowledged:.0f} acknowledged in {seconds:.0f} s, and {counted}")
    times = histogram(grown, "simulator_puback_seconds_bucket")
    return Figures(
        us_per_publish=1e6 * cpu / acknowledged,
        msgs_per_s=acknowledged / seconds,
        puback_ms=(quantile(times, 0.5) or 0.0, quantile(times, 0.99) or 0.0),
        memory_mib=sum(map(pss_mib, pids)),
    )


class Taker:
    """Subscribes to all telemetry at QoS 0 and throws it away, in a thread of its own."""

    def __init__(self, mqtt: str) -> None:
        self._socket = socket.create_connection(address(mqtt, "--mqtt-brokers"), _ANSWER_WITHIN_S)
        everything = mqtt5.SubscribePacket(
            1, [mqtt5.TopicFilter(mqtt_topic("+", TELEMETRY), max_qos=mqtt5.QoS.AT_MOST_ONCE)]
        )
        for packet in (mqtt5.ConnectPacket("bench-taker", clean_start=True, keep_alive=0), everything):
            self._socket.sendall(packet.write())
            self._socket.recv(_RECEIVE_BYTES)  # the answer; what it says shows when the first PUBACKs come
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._take, name="taker", daemon=True)

    def __enter__(self) -> "Taker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the broker was first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):  # the broker has ended
            while self._socket.recv(_RECEIVE_BYTES):
                time.sleep(_PAUSE_S)  # few large reads: this is not what is measured
