"""The bridge: a steady load and a backlog, from a real mosquitto into a real Kafka.

Every program, ours and the peers', gets a mosquitto of its own, the same messages, and the same questions:

- steady: `rate` messages a second from 10 000 cars; CPU of the program by the messages that arrived
  meanwhile; latency from the stamp taken as a message is published to the moment a consumer holds it.
- drain: `backlog` messages queued for its session while it is away. It starts while the broker stands still
  (SIGSTOP), so that its own start does not count; the broker goes on, and the clock runs from the first
  record in Kafka to the last; CPU until the program idles again, all acknowledgements sent. Before ours,
  which is the first, a backlog that is not counted: Kafka's JVM compiles what only a backlog calls, and that
  took up to half of Kafka's share of two cores.

Afterwards every (car, seq) must be in Kafka, and in each car's order.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from loadtest.bench.arrivals import Ledger, Tail, percentiles, reconcile
from loadtest.bench.run import Run
from loadtest.bench.traffic import Publisher, Traffic
from loadtest.peers import telegraf
from local.java import ROOT
from local.supervisor import Child
from local.usage import cpu_s
from plumbing.life import WorldDown

CARS = 10_000
_FIRST_SEQ = 1_001  # smaller ones are those of the first message that proves that a program works
_WARM_UP_S = 5.0
_WORKS_WITHIN_S, _ARRIVES_WITHIN_S = 60.0, 60.0
_IDLE_S, _IDLE_CPU_S = 0.5, 0.015


@dataclass(frozen=True)
class Program:
    """Something that carries from MQTT to Kafka: its process, given a run and the broker's host:port."""

    name: str
    child: Callable[[Run, str], Child]


def ours(run: Run, mqtt: str) -> Child:
    """`python -m bridge` as it is deployed."""
    told = ["--mqtt-brokers", mqtt, "--kafka-bootstrap", run.edge, "--metrics-port", str(run.ports.bridge(0))]
    argv = [sys.executable, "-m", "bridge", *told]
    return Child("bridge", argv, restart=False, env={"PYTHONPATH": str(ROOT)})


def measure(run: Run) -> dict[str, float]:
    """Our bridge. Raises WorldDown where a message is missing, doubled or out of order."""
    return figures(run, Program("bridge", ours), strict=True, warm_up=True)


def peers(run: Run) -> dict[str, dict[str, float]]:
    """Others' programs; one that does not run here is said not to be measured."""
    found = {}
    programs = [Program("telegraf", _telegraf)]
    programs += [Program(f"paho-{how}", _paho(how)) for how in ("manual", "auto")]
    for program in programs:
        try:
            found[program.name] = figures(run, program)
        except WorldDown as error:
            run.not_measured(program.name, str(error))
    return found


def _telegraf(run: Run, mqtt: str) -> Child:
    if not telegraf.PATH.exists():
        run.say("telegraf: building it from its Go module, once; some minutes")
    argv = [str(telegraf.binary()), "--config", str(telegraf.CONFIG)]
    return Child("telegraf", argv, restart=False, env={"MQTT": mqtt, "KAFKA": run.edge})


def _paho(acknowledgement: str) -> Callable[[Run, str], Child]:
    def child(run: Run, mqtt: str) -> Child:
        argv = [
            sys.executable,
            "-m",
            "loadtest.peers.paho_bridge",
            *mqtt.split(":"),
            run.edge,
            acknowledgement,
        ]
        return Child(f"paho-{acknowledgement}", argv, restart=False, env={"PYTHONPATH": str(ROOT)})

    return child


def figures(run: Run, program: Program, *, strict: bool = False, warm_up: bool = False) -> dict[str, float]:
    """One program under both loads; `strict`: it must lose, double and reorder nothing.

    `warm_up`: it drains a backlog first that is not counted.
    """
    mqtt = run.mqtt()
    try:
        child = run.supervisor.start(program.child(run, mqtt))
        _carry_one(run, mqtt, child)
        steady, ledger = _steady(run, mqtt, child)
        run.supervisor.stop(child.name)
        _demand(strict, program.name, ledger)
        if warm_up:
            _drain(run, mqtt, program)
            run.supervisor.stop(child.name)
            run.say("that was not counted: Kafka's JVM compiled meanwhile")
        drain, ledger = _drain(run, mqtt, program)
        _demand(strict, program.name, ledger)
        return drain | steady | ledger.as_figures()
    finally:
        for name in (program.name, "traffic", "mqtt-0"):
            if name in run.supervisor.children:
                run.supervisor.stop(name)


def _steady(run: Run, mqtt: str, child: Child) -> tuple[dict[str, float], Ledger]:
    rate, seconds = run.settings.rate, run.settings.steady_s
    count = int(rate * (_WARM_UP_S + seconds + 1))
    tail = Tail(run.edge)
    run.say(f"{child.name}: {rate} messages/s for {seconds:.0f} s")
    traffic = _publish(run, mqtt, count, rate)
    tail.follow(_WARM_UP_S)
    watched = {name: run.supervisor.children[name] for name in (child.name, "mqtt-0", "edge", "traffic")}
    before, from_ms = _spent(watched), time.time() * 1_000
    tail.follow(seconds)
    after, to_ms = _spent(watched), time.time() * 1_000
    _wait_for(run, traffic)
    cars, seq, sampled_ms, read_ms = tail.read(count, _ARRIVES_WITHIN_S).decoded()
    tail.close()
    meanwhile = (read_ms >= from_ms) & (read_ms < to_ms)
    carried = int(meanwhile.sum())
    if not 0.8 < carried / (rate * seconds) < 1.2:
        raise WorldDown(f"{child.name}: {carried / seconds:.0f} messages/s arrived instead of {rate}")
    p50, p99 = percentiles((read_ms - sampled_ms)[meanwhile])
    micros = {name: round(1e6 * (after[name] - before[name]) / carried, 2) for name in watched}
    run.say(", ".join(f"{name} {value} µs" for name, value in micros.items()) + " of CPU a message")
    steady = {"steady_us_per_msg": micros[child.name], "steady_p50_ms": p50, "steady_p99_ms": p99}
    return steady, reconcile(cars, seq, count, CARS, _FIRST_SEQ)


def _drain(run: Run, mqtt: str, program: Program) -> tuple[dict[str, float], Ledger]:
    backlog = run.settings.backlog
    run.say(f"{program.name}: a backlog of {backlog} messages")
    _wait_for(run, _publish(run, mqtt, backlog, rate=0))
    tail = Tail(run.edge)
    broker = run.supervisor.children["mqtt-0"].pid
    assert broker is not None
    os.kill(broker, signal.SIGSTOP)
    try:
        child = run.supervisor.start(program.child(run, mqtt))
        before = _idle_cpu_s(run, child)
        watched = {name: run.supervisor.children[name] for name in ("mqtt-0", "edge")}
        beside = _spent(watched)
    finally:
        os.kill(broker, signal.SIGCONT)
    rate = tail.watch(backlog, _ARRIVES_WITHIN_S)
    beside = {name: cpu_s - beside[name] for name, cpu_s in _spent(watched).items()}
    spent = _idle_cpu_s(run, child) - before
    cars, seq, _, _ = tail.read(backlog, _ARRIVES_WITHIN_S).decoded()
    tail.close()
    drain = {
        "drain_msgs_per_s": round(rate),
        "drain_us_per_msg": round(1e6 * spent / backlog, 2),
    }
    micros = {program.name: spent} | beside
    run.say(
        f"{drain['drain_msgs_per_s']} messages/s; "
        + ", ".join(f"{name} {1e6 * value / backlog:.2f} µs" for name, value in micros.items())
        + " of CPU a message"
    )
    return drain, reconcile(cars, seq, backlog, CARS, _FIRST_SEQ)


def _carry_one(run: Run, mqtt: str, child: Child) -> None:
    """Publish one message after the other until one is in Kafka: the program is subscribed and works."""
    tail, traffic, publisher = Tail(run.edge), Traffic(1, 1), Publisher(mqtt, "bench-first")
    deadline = time.monotonic() + _WORKS_WITHIN_S
    while not tail.read(1, 0.3).keys:
        _must_run(run, child)
        if time.monotonic() > deadline:
            raise WorldDown(f"{child.name} carries nothing; the end of {run.supervisor.log_of(child.name)}:\n"
                            f"{run.supervisor.last_lines(child.name)}")  # fmt: skip
        publisher.send(traffic.take(1), 1)
    publisher.finish()
    tail.close()


def _publish(run: Run, mqtt: str, count: int, rate: int) -> Child:
    told = {"mqtt": mqtt, "count": count, "rate": rate, "cars": CARS, "first-seq": _FIRST_SEQ}
    flags = [part for name, value in told.items() for part in (f"--{name}", str(value))]
    return run.python("traffic", "loadtest.bench.traffic", *flags)


def _wait_for(run: Run, traffic: Child) -> None:
    """Until the traffic has ended. Raises WorldDown where it failed."""
    while traffic.process is not None:
        run.supervisor.tick()
        time.sleep(0.05)
    if traffic.status != 0:
        raise WorldDown(f"the traffic failed: {run.supervisor.last_lines(traffic.name)}")


def _idle_cpu_s(run: Run, child: Child) -> float:
    """CPU time of the program once it does nothing more."""
    deadline = time.monotonic() + _WORKS_WITHIN_S
    earlier, now = -1.0, 0.0
    while now - earlier > _IDLE_CPU_S:
        time.sleep(_IDLE_S)
        _must_run(run, child)
        earlier, now = now, _cpu_s(child)
        if time.monotonic() > deadline:
            raise WorldDown(f"{child.name} does not come to rest")
    return now


def _must_run(run: Run, child: Child) -> None:
    run.supervisor.tick()
    if child.process is None:
        raise WorldDown(
            f"{child.name} ended with status {child.status}: {run.supervisor.last_lines(child.name)}"
        )


def _spent(children: dict[str, Child]) -> dict[str, float]:
    return {name: _cpu_s(child) for name, child in children.items()}


def _cpu_s(child: Child) -> float:
    return sum(map(cpu_s, child.tree()))


def _demand(strict: bool, name: str, ledger: Ledger) -> None:
    """Raises WorldDown where a program that must not lose, double or reorder messages did."""
    if strict and ledger != Ledger(0, 0, 0):
        raise WorldDown(f"{name}: of the messages are {ledger}")
