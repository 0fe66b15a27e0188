"""The fleet: CPU of its processes for each QoS 1 publish with its acknowledgement, against a real mosquitto.

Everything counts that a car does: physics, encoding, its record in the journal, sending, reading the PUBACK;
and the parent process that adds up the counts. Twice:

- busy: 1 000 cars that make the steady rate together (10 Hz each for 10 000 messages a second);
- quiet: as many cars as one process holds at 0.1 Hz, as in each process of a fleet of 100 000.

All cars are connected before the clock starts. A subscriber takes everything: without one the PUBACKs would
say "no matching subscribers", and cars send such messages again.
"""

import contextlib
import socket
import threading
import time

import mqtt5

from contract.topics import TELEMETRY, mqtt_topic
from loadtest import children
from loadtest.bench.run import BenchRun
from loadtest.scale.timeline import growth, latency
from local import preflight
from local.supervisor import Child, pss_mib
from local.watch import scrape
from plumbing.life import WorldDown
from plumbing.settings import address

BUSY_CARS = 1_000
QUIET_CARS_MAX, QUIET_RATE_HZ = 15_000, 0.1
_CONNECTS_PER_S = 2_000
_CONNECTED_WITHIN_S = 120.0
_WARM_UP_S = 3.0
_POLL_S = 0.25
_ANSWER_WITHIN_S = 10.0
_RECEIVE_BYTES, _PAUSE_S = 1 << 18, 0.02


def measure(run: BenchRun) -> dict[str, float]:
    """Both loads. Raises WorldDown where cars do not connect, send again, or fall behind."""
    quiet_cars = min(QUIET_CARS_MAX, preflight.cars_per_shard())
    busy = _figures(run, "busy", 0, BUSY_CARS, run.settings.rate / BUSY_CARS)
    quiet = _figures(run, "quiet", 1, quiet_cars, QUIET_RATE_HZ)
    del busy["memory_mib"]
    return busy | {"quiet_cars": quiet_cars} | {f"quiet_{name}": value for name, value in quiet.items()}


def _figures(run: BenchRun, name: str, shard: int, cars: int, rate_hz: float) -> dict[str, float]:
    """One fleet under load, against a mosquitto of its own."""
    mqtt, port = run.mqtt(shard), run.ports.simulator
    run.say(f"{name}: {cars} cars connect, {cars * rate_hz:.0f} messages a second")
    fleet = children.fleet(
        f"simulator-{name}", port, cars=cars, mqtt_brokers=mqtt, run_dir=run.folder / name,
        rate_hz=rate_hz, connects_per_s=_CONNECTS_PER_S,
    )  # fmt: skip
    with Taker(mqtt):
        try:
            run.supervisor.start(fleet)
            run.supervisor.wait_ready([fleet.name], _CONNECTED_WITHIN_S)
            time.sleep(_WARM_UP_S)
            return _watch(run, fleet, port, cars * rate_hz)
        finally:
            run.stop(fleet.name, f"mqtt-{shard}")


def _watch(run: BenchRun, fleet: Child, port: int, rate: float) -> dict[str, float]:
    """CPU and counts over the steady time. Raises WorldDown where the load differed from `rate` a second."""
    before, cpu_before, began = scrape(port), run.cpu_s(fleet.name), time.monotonic()
    while time.monotonic() < began + run.settings.steady_s:
        run.check(fleet)
        time.sleep(_POLL_S)
    after, cpu_after, seconds = scrape(port), run.cpu_s(fleet.name), time.monotonic() - began
    grown = growth(before, after)
    acknowledged = grown["simulator_acknowledged_messages_total"]
    failed = {
        name: grown[f"simulator_{name}_total"]
        for name in ("resent_messages", "samples_skipped", "connection_losses")
    }
    if any(failed.values()) or acknowledged < 0.9 * rate * seconds:
        raise WorldDown(f"{fleet.name}: {acknowledged:.0f} acknowledged in {seconds:.0f} s, and {failed}")
    puback = latency(grown, "simulator_puback_seconds_bucket")
    return {
        "us_per_publish": 1e6 * (cpu_after[fleet.name] - cpu_before[fleet.name]) / acknowledged,
        "puback_p50_ms": puback.p50_ms or 0.0,
        "puback_p99_ms": puback.p99_ms or 0.0,
        "memory_mib": sum(map(pss_mib, fleet.tree())),
    }


class Taker:
    """A subscriber that reads all telemetry at QoS 0 and discards it, on a thread of its own."""

    def __init__(self, mqtt: str) -> None:
        self._socket = socket.create_connection(address(mqtt, "--mqtt-brokers"), _ANSWER_WITHIN_S)
        everything = mqtt5.SubscribePacket(
            1, [mqtt5.TopicFilter(mqtt_topic("+", TELEMETRY), max_qos=mqtt5.QoS.AT_MOST_ONCE)]
        )
        for packet in (mqtt5.ConnectPacket("bench-taker", clean_start=True, keep_alive=0), everything):
            self._socket.sendall(packet.write())
            self._socket.recv(_RECEIVE_BYTES)  # a refusal would show in the reason codes of the PUBACKs
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._take, name="taker", daemon=True)

    def __enter__(self) -> "Taker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the broker has closed the connection already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):  # the broker has ended
            while self._socket.recv(_RECEIVE_BYTES):
                time.sleep(_PAUSE_S)  # few large reads, because this CPU is not measured but shared
