"""What happens in a world: the cars' samples, new models and trials, and faults, at moments from the seed."""

from collections.abc import Callable, Collection
from functools import cache

import numpy as np

from contract.alert_rule import AlertRule
from contract.manifest import Decision
from contract.records import single_object_header
from contract.schema import latest
from contract.telemetry import encode, prefix
from contract.topics import challenger_key
from tests.conftest import MEAN, SPREAD, Remembering
from tests.world.consumers import SESSION_S
from tests.world.processes import EPOCH_S
from tests.world.world import MODEL_NAME, MODELS_TOPIC, Service, World

SAMPLES, INTERVAL_S = 32, 1.0
_CALM_S = 35.0  # from here on nothing breaks: longer than all samples take
_STOP_S, _END_S = 60.0, 100.0
_FAULTS_MAX = 20
_RULE = AlertRule(smoothing=0.5)
_CLOCK_BEHIND_MS, _CLOCK_AHEAD_MS = -3_600_000, 200_000
_PAUSE_S = (0.5, 6.0)  # a scorer that stands still for 8 s ends itself
_SUSPENSION_S = (11.0, 20.0)  # after 10 s another one has its partitions
_KEEP_S = (0.5, 6.0)  # how long Kafka or a broker is away


def play(world: World, only: Collection[str] = ()) -> World:
    """Let all of it happen, and stop everything in an orderly way at the end. `only`: names of faults."""
    chance = world.random
    _publish(world, 1)
    for payloads, car in zip(_payloads(world), world.fleet, strict=True):
        begin_s = chance.choice((0.1, 0.6))
        for number, payload in enumerate(payloads):
            world.schedule.after(
                begin_s + number * INTERVAL_S, lambda car=car, payload=payload: car.sample(payload)
            )
        for number in range(int(_STOP_S / INTERVAL_S)):
            world.schedule.after(number * INTERVAL_S + 0.3, car.send)
    world.schedule.after(0.0, lambda: world.start(world.bridge))
    for service in world.scorers[: chance.randint(1, 3)]:
        world.schedule.after(chance.uniform(0, 2), lambda service=service: world.start(service))
    if chance.random() < 0.5:
        _plan_models(world)
    for _ in range(chance.randint(3, _FAULTS_MAX)):
        name = chance.choice(sorted(only or (set(FAULTS) - SEND_AGAIN if world.brief_memory else FAULTS)))
        world.schedule.after(chance.uniform(1, _CALM_S), lambda name=name: _strike(world, name))
    world.schedule.after(_CALM_S, lambda: _calm(world))
    world.schedule.after(_STOP_S, lambda: _stop(world))
    world.run(_END_S)
    return world


def _strike(world: World, name: str) -> None:
    world.note(name)
    FAULTS[name](world)


def _calm(world: World) -> None:
    """Nothing breaks any more; at least one scorer works."""
    world.note("calm")
    for car in world.fleet:
        car.unreliable = 0.0
    if not any(service.wanted for service in world.scorers):
        world.start(world.scorers[0])


def _stop(world: World) -> None:
    world.note("stop")
    for service in (world.bridge, *world.scorers):
        service.wanted = False
        world.terminate(service)


def _payloads(world: World) -> list[list[bytes]]:
    """The samples of each car: restless ones, of every third car with a fault from some moment on."""
    noise, schema = np.random.default_rng(world.seed), latest("telemetry")
    head = single_object_header(schema)
    seq = np.arange(1, SAMPLES + 1)
    sampled_at_ms = ((EPOCH_S + np.arange(SAMPLES) * INTERVAL_S) * 1_000).astype(np.int64)
    all_payloads = []
    for number, car in enumerate(world.fleet):
        at_ms = sampled_at_ms.copy()
        if number in (1, 2):  # a clock that is wrong from some moment on, or set right
            wrong_from = noise.integers(0, SAMPLES)
            wrong = slice(0, wrong_from) if noise.random() < 0.5 else slice(wrong_from, None)
            at_ms[wrong] += (_CLOCK_BEHIND_MS, _CLOCK_AHEAD_MS)[number - 1]
        away = 0.2 * noise.normal(size=(SAMPLES, len(MEAN)))
        if number % 3:
            begin = noise.integers(9, SAMPLES - 5)
            away[begin : begin + noise.integers(5, 20)] += 3.0
        signals = (MEAN + SPREAD * away).astype(np.float32)[:, : len(schema.names("float"))]
        heads = [head + prefix(schema, car.car_id)] * SAMPLES
        all_payloads.append(encode(heads, seq, at_ms, signals))
    return all_payloads


def _plan_models(world: World) -> None:
    """A newer model, a trial that ends or is promoted, in the middle of everything."""
    chance = world.random
    moments = sorted(chance.uniform(3, _CALM_S) for _ in range(4))
    share = chance.choice((0.0, 0.3, 1.0))
    way = chance.choice(("swap", "swaps", "trial", "promotion"))
    steps: dict[str, list[Callable[[], None]]] = {
        "swap": [lambda: _publish(world, 2)],
        "swaps": [lambda version=version: _publish(world, version) for version in (2, 3, 4, 5)],
        "trial": [lambda: _publish(world, 2, share), lambda: _end_trial(world), lambda: _publish(world, 3)],
        "promotion": [lambda: _publish(world, 2, share), lambda: _publish(world, 2)],
    }
    for moment, step in zip(moments, steps[way], strict=False):
        world.schedule.after(moment, step)


def _publish(world: World, version: int, share: float | None = None) -> None:
    """A model, or a challenger that scores a share of the cars."""
    world.note(f"model {version}" if share is None else f"challenger {version}, share {share}")
    key = MODEL_NAME if share is None else challenger_key(MODEL_NAME)
    world.log.append(MODELS_TOPIC, _record(version, share), key.encode(), 0)


def _end_trial(world: World) -> None:
    world.note("no challenger")
    world.log.append(MODELS_TOPIC, None, challenger_key(MODEL_NAME).encode(), 0)


@cache
def _record(version: int, share: float | None) -> bytes:
    model = Remembering.of(MEAN, SPREAD).shifted(0.1 * (version - 1))
    return model.record(version, threshold=4.0, alert=_RULE, decision=Decision(published=True, share=share))


def _some_scorer(world: World) -> Service:
    return world.random.choice([each for each in world.scorers if each.wanted] or world.scorers[:1])


def _kill(world: World, service: Service) -> None:
    """Now, or after some more calls of its clients."""
    if service.process is None or service.process.died_at is not None:
        return
    if world.random.random() < 0.3:
        service.process.kill()
    else:
        service.process.calls_left = world.random.randint(0, 60)


def bridge_kill(world: World) -> None:
    _kill(world, world.bridge)


def bridge_stop(world: World) -> None:
    world.terminate(world.bridge)


def scorer_kill(world: World) -> None:
    _kill(world, _some_scorer(world))


def scorer_kill_in_take_over(world: World) -> None:
    """The next time that this scorer takes partitions over, it is killed after some calls."""
    process = _some_scorer(world).process
    if process is not None:
        process.calls_left_in_take_over = world.random.randint(0, 40)
        scorers_more_or_less(world)


def scorer_stop(world: World) -> None:
    world.terminate(_some_scorer(world))


def scorers_more_or_less(world: World) -> None:
    """One more replica, or one less."""
    idle = [each for each in world.scorers if not each.wanted]
    if idle and (world.random.random() < 0.6 or len(idle) == len(world.scorers) - 1):
        world.start(idle[0])
    else:
        service = _some_scorer(world)
        service.wanted = False
        world.terminate(service)


def pause(world: World) -> None:
    """SIGSTOP, and SIGCONT some seconds later."""
    _pause(world, world.random.choice((world.bridge, _some_scorer(world))), _PAUSE_S)


def suspension(world: World) -> None:
    """A scorer sleeps for longer than its session, and wakes up."""
    _pause(world, _some_scorer(world), _SUSPENSION_S)


def _pause(world: World, service: Service, between_s: tuple[float, float]) -> None:
    process, now = service.process, world.schedule.now
    if process is not None and process.paused_until_s + _PAUSE_S[1] < now:  # two in a row are a long one
        process.pause(world.random.uniform(*between_s))
        world.schedule.after(SESSION_S, world.group.expel_silent)


def kafka_away(world: World) -> None:
    world.log.away_until_s = world.schedule.now + world.random.uniform(*_KEEP_S)


def connection_cut(world: World) -> None:
    world.random.choice(world.brokers).stop(0.0, forget=False)


def broker_stop(world: World) -> None:
    world.random.choice(world.brokers).stop(world.random.uniform(*_KEEP_S), forget=False)


def broker_kill(world: World) -> None:
    """The broker forgets its sessions; not where that is more than the cars send again."""
    broker = world.random.choice(world.brokers)
    if broker.samples_held_max <= _FORGOTTEN_SAMPLES_MAX:
        broker.stop(world.random.uniform(*_KEEP_S), forget=True)


def cars_flap(world: World) -> None:
    """The cars' connections break before half of the acknowledgements arrive."""
    for car in world.fleet:
        car.unreliable = 0.5
    world.schedule.after(5.0, lambda: [setattr(car, "unreliable", 0.0) for car in world.fleet])


_FORGOTTEN_SAMPLES_MAX = 15
# After these faults records come again that may be older than what a scorer with a brief memory reads back.
SEND_AGAIN = {"bridge-kill", "connection-cut", "broker-stop", "broker-kill", "cars-flap"}
FAULTS: dict[str, Callable[[World], None]] = {
    fault.__name__.replace("_", "-"): fault
    for fault in (
        bridge_kill, bridge_stop, scorer_kill, scorer_kill_in_take_over, scorer_stop, scorers_more_or_less,
        pause, suspension, kafka_away, connection_cut, broker_stop, broker_kill, cars_flap,
    )
}  # fmt: skip
