"""The bridge: a steady load and a backlog, from a real mosquitto into a real Kafka.

Every program, ours and the peers', gets a mosquitto of its own, the same messages and the same measurements:

- steady: `rate` messages a second from 10 000 cars; CPU of the program divided by the messages that arrived
  meanwhile; latency from the time stamp taken when a message is published until a consumer holds it.
- drain: `backlog` messages were queued for its session while it was away. The program starts while the
  broker is paused (SIGSTOP), so that its own start does not count; the broker resumes, and the clock runs
  from the first record in Kafka to the last; CPU counts until the program is idle, all acknowledgements sent.
  Ours is the first program, so it drains a backlog that does not count beforehand: Kafka's JVM compiles code
  that only a backlog runs, which took up to half of Kafka's share of two cores.

Afterwards every (car, seq) must be in Kafka, and in each car's order.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from loadtest import children
from loadtest.bench.arrivals import Ledger, TelemetryReader, percentiles, reconcile
from loadtest.bench.run import BenchRun
from loadtest.bench.traffic import CARS, FIRST_SEQ, Publisher, Traffic
from loadtest.peers import telegraf
from local.deployment import flags
from local.supervisor import Child
from plumbing.life import WorldDown

_WARM_UP_S = 5.0
_WORKS_WITHIN_S, _ARRIVES_WITHIN_S = 60.0, 60.0
_IDLE_S, _IDLE_CPU_S = 0.5, 0.015

# Makes the child that carries from MQTT to Kafka, given a run and the broker's host:port.
Program = Callable[[BenchRun, str], Child]


def measure(run: BenchRun) -> dict[str, float]:
    """Our bridge. Raises WorldDown where a message is missing, doubled or out of order."""
    return figures(run, _ours, ours=True)


def _ours(run: BenchRun, mqtt: str) -> Child:
    settings = {"mqtt_brokers": mqtt, "kafka_bootstrap": run.edge, "metrics_port": run.ports.bridge(0)}
    return children.python("bridge", "bridge", *flags(settings))


def _telegraf(run: BenchRun, mqtt: str) -> Child:
    if not telegraf.PATH.exists():
        run.say("telegraf: building it from its Go module, which takes some minutes once")
    argv = [str(telegraf.binary()), "--config", str(telegraf.CONFIG)]
    return Child("telegraf", argv, restart=False, env={"MQTT": mqtt, "KAFKA": run.edge})


def _paho(acknowledgement: str, run: BenchRun, mqtt: str) -> Child:
    arguments = (*mqtt.split(":"), run.edge, acknowledgement)
    return children.python(f"paho-{acknowledgement}", "loadtest.peers.paho_bridge", *arguments)


def figures(run: BenchRun, program: Program, *, ours: bool = False) -> dict[str, float]:
    """One program under both loads.

    `ours` first drains a backlog that does not count. Raises WorldDown where ours loses, doubles or reorders
    a message.
    """
    mqtt = run.mqtt()
    child = program(run, mqtt)
    try:
        run.supervisor.start(child)
        _carry_one(run, mqtt, child)
        steady, ledger = _steady(run, mqtt, child)
        run.stop(child.name)
        _check(ours, child.name, ledger)
        if ours:
            _drain(run, mqtt, program)
            run.stop(child.name)
            run.say("that did not count: Kafka's JVM compiled meanwhile")
        drain, ledger = _drain(run, mqtt, program)
        _check(ours, child.name, ledger)
        return drain | steady | asdict(ledger)
    finally:
        run.stop(child.name, "traffic", "mqtt-0")


def _steady(run: BenchRun, mqtt: str, child: Child) -> tuple[dict[str, float], Ledger]:
    rate, seconds = run.settings.rate, run.settings.steady_s
    count = int(rate * (_WARM_UP_S + seconds + 1))
    reader = TelemetryReader(run.edge)
    run.say(f"{child.name}: {rate} messages/s for {seconds:.0f} s")
    traffic = run.python("traffic", "loadtest.bench.traffic", mqtt, str(count), str(rate))
    reader.follow(_WARM_UP_S)
    names = (child.name, "mqtt-0", "edge")
    before, from_ms = run.cpu_s(*names), time.time() * 1_000
    reader.follow(seconds)
    after, to_ms = run.cpu_s(*names), time.time() * 1_000
    run.wait_end(traffic)
    cars, seq, sampled_ms, read_ms = reader.read(count, _ARRIVES_WITHIN_S)
    reader.close()
    measured = (read_ms >= from_ms) & (read_ms < to_ms)
    carried = int(measured.sum())
    if not 0.8 < carried / (rate * seconds) < 1.2:
        raise WorldDown(f"{child.name}: {carried / seconds:.0f} messages/s arrived instead of {rate}")
    p50, p99 = percentiles((read_ms - sampled_ms)[measured])
    micros = {name: round(1e6 * (after[name] - before[name]) / carried, 2) for name in names}
    run.say(", ".join(f"{name} {value} µs" for name, value in micros.items()) + " of CPU a message")
    steady = {"steady_us_per_msg": micros[child.name], "steady_p50_ms": p50, "steady_p99_ms": p99}
    return steady, reconcile(cars, seq, count, CARS, FIRST_SEQ)


def _drain(run: BenchRun, mqtt: str, program: Program) -> tuple[dict[str, float], Ledger]:
    child, backlog = program(run, mqtt), run.settings.backlog
    run.say(f"{child.name}: a backlog of {backlog} messages")
    run.wait_end(run.python("traffic", "loadtest.bench.traffic", mqtt, str(backlog), "0"))
    reader = TelemetryReader(run.edge)
    broker = run.supervisor.children["mqtt-0"].pid
    assert broker is not None
    os.kill(broker, signal.SIGSTOP)
    try:
        run.supervisor.start(child)
        before = {child.name: _idle_cpu_s(run, child)} | run.cpu_s("mqtt-0", "edge")
    finally:
        os.kill(broker, signal.SIGCONT)
    rate = round(reader.drain_rate(backlog, _ARRIVES_WITHIN_S))
    after = run.cpu_s("mqtt-0", "edge")
    after[child.name] = _idle_cpu_s(run, child)
    cars, seq, _, _ = reader.read(backlog, _ARRIVES_WITHIN_S)
    reader.close()
    micros = {name: round(1e6 * (after[name] - cpu_s) / backlog, 2) for name, cpu_s in before.items()}
    shown = ", ".join(f"{name} {value:.2f} µs" for name, value in micros.items())
    run.say(f"{rate} messages/s; {shown} of CPU a message")
    drain = {"drain_msgs_per_s": rate, "drain_us_per_msg": micros[child.name]}
    return drain, reconcile(cars, seq, backlog, CARS, FIRST_SEQ)


def _carry_one(run: BenchRun, mqtt: str, child: Child) -> None:
    """Publish messages until one of them is in Kafka: then the program has subscribed and works."""
    reader, traffic, publisher = TelemetryReader(run.edge), Traffic(1, 1), Publisher(mqtt, "bench-first")

    def carried() -> bool:
        publisher.send(traffic.take(1), 1)
        return len(reader.read(1, 0.3)[0]) > 0

    run.wait_until(carried, child, _WORKS_WITHIN_S, f"{child.name} carries a message to Kafka")
    publisher.finish()
    reader.close()


def _idle_cpu_s(run: BenchRun, child: Child) -> float:
    """CPU time of the program once it is idle. Raises WorldDown where it never is."""
    deadline = time.monotonic() + _WORKS_WITHIN_S
    earlier, now = -1.0, 0.0
    while now - earlier > _IDLE_CPU_S:
        time.sleep(_IDLE_S)
        earlier, now = now, run.cpu_s(child.name)[child.name]
        if time.monotonic() > deadline:
            raise WorldDown(f"{child.name} does not become idle")
    return now


def _check(ours: bool, name: str, ledger: Ledger) -> None:
    if ours and ledger != Ledger(0, 0, 0):
        raise WorldDown(f"{name} did not carry every message once and in order: {ledger}")


PEERS = {
    "telegraf": partial(figures, program=_telegraf),
    "paho-manual": partial(figures, program=partial(_paho, "manual")),
    "paho-auto": partial(figures, program=partial(_paho, "auto")),
}
