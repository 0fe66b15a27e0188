"""A deployment under test: started with a model in use, which a small fleet trains where none is kept."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from contract.errors import Malformed
from contract.manifest import unpack
from local import champion
from local.deployment import Deployment, Plan
from plumbing.life import WorldDown

# A model comes to the scorers through replication, which takes some seconds to start.
_READY_WITHIN_S = 120.0
# As in the demo (local/demo.py), a sample shows 20 minutes of driving, and a car's state learns from ten.
_SAMPLE_SHOWS_S, _LEARNING_SAMPLES = 1_200.0, 10
# The fleet of the first model sends one sample a car and second: at one in ten seconds it would take minutes.
_FIRST_CARS, _FIRST_SAMPLES = 2_000, 40
_TRAININGS_MAX, _RECORDS_WITHIN_S, _TRAINED_WITHIN_S = 3, 120, 240.0


def require_fleet(cars: int, rate: float) -> None:
    """Raises ValueError where a car would have to send more than 10 messages a second."""
    if rate > 10 * cars:
        raise ValueError(
            f"--rate {rate:.0f} for {cars} --cars is more than 10 messages a second from each car; "
            "give more --cars"
        )


def paced_like_demo(plan: Plan) -> Plan:
    """The plan with samples that show as much driving as those of the demo, so that its model fits."""
    return replace(
        plan,
        time_lapse=_SAMPLE_SHOWS_S * plan.rate_hz,
        learning_s=_LEARNING_SAMPLES / plan.rate_hz,
        memory_s=_LEARNING_SAMPLES / 2 / plan.rate_hz,
    )


def ensure_model(model: Path, run_dir: Path, port_offset: int, say: Callable[[str], Any]) -> None:
    """Train a model with a small fleet and keep it at `model`, unless there is one that the scorers read.

    Raises WorldDown where the training fails.
    """
    with contextlib.suppress(FileNotFoundError, Malformed):
        unpack(model.read_bytes())
        return
    say(f"{model} holds no model that the scorers read: training one with a small fleet first")
    plan = Plan(run_dir, cars=_FIRST_CARS, ageing=24_000, healthy_s=34, port_offset=port_offset)
    deployment = Deployment(paced_like_demo(plan))
    try:
        deployment.start(say)
        for attempt in range(_TRAININGS_MAX):
            records = _FIRST_CARS * _FIRST_SAMPLES * 2**attempt
            trainer = deployment.train(wait_records=records, wait_seconds=_RECORDS_WITHIN_S)
            deadline = time.monotonic() + _TRAINED_WITHIN_S
            while trainer.process is not None and time.monotonic() < deadline:
                deployment.supervisor.tick()
                time.sleep(0.1)
            if trainer.status == 0 and champion.keep(deployment.cloud.bootstrap, model):
                say(f"a model was trained, and is kept in {model}")
                return
            deployment.supervisor.stop(trainer.name)
        raise WorldDown(f"no training succeeded:\n{deployment.supervisor.last_lines('trainer')}")
    finally:
        deployment.stop()


def start(deployment: Deployment, model: Path, say: Callable[[str], Any]) -> None:
    """Start everything but the fleet, and wait until all scorers use the model kept at `model`.

    Raises WorldDown where that takes too long.
    """
    plan, supervisor = deployment.plan, deployment.supervisor
    say(f"starting {plan.mqtt_shards} mosquitto, 2 Kafka (logs: {supervisor.logs})")
    deployment.start_brokers()
    if champion.publish(deployment.cloud.bootstrap, model) is None:
        raise WorldDown(f"{model} holds no model that the scorers read")
    say(f"starting MirrorMaker 2, {plan.bridges} bridge(s), {plan.scorers} scorer(s); model: {model}")
    deployment.start_mirror()
    deployment.start_bridge()
    for number in range(plan.scorers):
        deployment.start_scorer(number)
    scorers = [f"scorer-{number}" for number in range(plan.scorers)]
    supervisor.wait_ready([*plan.bridge_names, *scorers], _READY_WITHIN_S)
