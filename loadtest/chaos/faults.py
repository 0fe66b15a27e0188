"""The faults, in the order of a whole run.

A fault ends when what it took away is back; recovery counts from then. The auditor checks what must hold
after every fault: nothing lost, no old record scored after a newer one, none scored twice, the cloud's log
equal to the edge's. What only one fault promises, it checks itself (`scene.claim`).
"""

import signal
from collections.abc import Callable

from contract.topics import TELEMETRY_PARTITIONS
from loadtest.chaos import poison
from loadtest.chaos.scene import Scene

_TRAINING = ("--wait-records", "1", "--records-max", "60000", "--steps-max", "500")
_DECIDED = (0, 3)  # published, or refused by the gate: both are entries in the log of models
# A group's session lasts 10 s, and three scorers must share the partitions of one, or beside another fault.
_SHARED_WITHIN_S = 60.0
FAULTS: dict[str, Callable[[Scene], None]] = {}


def _fault(inject: Callable[[Scene], None]) -> Callable[[Scene], None]:
    FAULTS[inject.__name__.replace("_", "-")] = inject
    return inject


@_fault
def bridge_kill(scene: Scene) -> None:
    """bridge SIGKILL"""
    scene.kill("bridge")


@_fault
def mqtt_stop(scene: Scene) -> None:
    """mosquitto SIGTERM, and started again: it keeps its sessions and queues"""
    for name in _mqtt(scene):
        before = scene.supervisor.children[name].pid
        scene.supervisor.kill(name, signal.SIGTERM)
        scene.until_successor(name, before)


@_fault
def mqtt_kill(scene: Scene) -> None:
    """mosquitto SIGKILL: its memory is lost, and the cars send their last seconds again"""
    for name in _mqtt(scene):
        scene.kill(name)


@_fault
def edge_stall_bridge_kill(scene: Scene) -> None:
    """edge Kafka paused for 2 s, and the bridge killed meanwhile"""
    before = scene.supervisor.children["bridge"].pid
    scene.supervisor.kill("edge", signal.SIGSTOP)
    try:
        scene.wait(1.5)
        scene.supervisor.kill("bridge")
        scene.wait(0.5)
    finally:
        scene.supervisor.kill("edge", signal.SIGCONT)
    scene.until_successor("bridge", before)


@_fault
def scorer_kill(scene: Scene) -> None:
    """scorer SIGKILL: its partitions wait until its session in the group expires (10 s)"""
    scene.kill("scorer-0")


@_fault
def edge_kill(scene: Scene) -> None:
    """edge Kafka SIGKILL"""
    scene.kill("edge")


@_fault
def mirror_kill(scene: Scene) -> None:
    """MirrorMaker SIGKILL"""
    scene.kill("mirror")


@_fault
def bridge_pause(scene: Scene) -> None:
    """bridge SIGSTOP for 20 s"""
    scene.pause("bridge", 20)


@_fault
def scorers_1_3_1(scene: Scene) -> None:
    """scorers 1, then 3, then 1 again, under load"""
    more = (1, 2)
    for number in more:
        scene.deployment.start_scorer(number)
    share = TELEMETRY_PARTITIONS // (1 + len(more))
    try:
        scene.until(
            lambda: all(scene.scorer_metric(n, "scorer_assigned_partitions") == share for n in (0, *more)),
            "three scorers share the partitions",
            _SHARED_WITHIN_S,
        )
        scene.wait(5)
    finally:
        for number in more:
            scene.supervisor.stop(f"scorer-{number}")


@_fault
def cloud_kill(scene: Scene) -> None:
    """cloud Kafka SIGKILL, and away for 30 s"""
    scene.kill("cloud", away_s=30)


@_fault
def cars_cut(scene: Scene) -> None:
    """all connections of the cars cut at once: a storm of reconnects"""
    scene.supervisor.kill("simulator", signal.SIGUSR1)


@_fault
def edge_pause(scene: Scene) -> None:
    """edge Kafka SIGSTOP for 30 s"""
    scene.pause("edge", 30)


@_fault
def link_cut(scene: Scene) -> None:
    """the connection between edge and cloud cut for 60 s"""
    scene.kill("relay-link", away_s=60)


@_fault
def poison_flood(scene: Scene) -> None:
    """invalid messages that no car sends: each becomes a dead letter with its reason, the rest goes on"""
    bootstrap = scene.deployment.edge.bootstrap
    before = poison.dead_letters(bootstrap)
    sent = poison.flood(f"127.0.0.1:{scene.deployment.plan.ports.mqtt(0)}")
    scene.back()
    scene.wait(3)
    rejected = poison.dead_letters(bootstrap) - before
    scene.claim(rejected == sent, f"dead letters {dict(rejected)}, sent {dict(sent)}")


@_fault
def trainer_kill(scene: Scene) -> None:
    """trainer SIGKILL while it publishes: no reader sees half a model, and the next training works"""
    before, version = scene.models(), scene.scorer_metric(0, "scorer_model_version")
    status = scene.train(*_TRAINING, half_way=True)
    scene.claim(status == -signal.SIGKILL, f"the trainer ended with status {status} instead of SIGKILL")
    scene.back()
    scene.wait(3)  # long enough for a half-published model to appear
    scene.claim(scene.models() == before, "a model of which only half was published can be read")
    scene.claim(scene.scorer_metric(0, "scorer_model_version") == version, "the scorer left the old model")
    status = scene.train(*_TRAINING)
    scene.claim(status in _DECIDED, f"the next training ended with status {status}")
    scene.claim(scene.models()[1] == before[1] + 1, "the next training is not in the log of models")


@_fault
def disk_full(scene: Scene) -> None:
    """edge Kafka's disk full until it exits (at least 10 s), then space freed and Kafka started again"""
    child, before = scene.supervisor.children["edge"], scene.supervisor.children["edge"].pid
    scene.volume.fill()
    try:
        scene.wait(10)
        scene.until(lambda: child.pid != before, "Kafka exits on a full disk", 60)
    finally:
        scene.volume.free()
    child.retry_at = 0.0  # start it now, without the supervisor's back-off
    scene.until_successor("edge", before)


def _mqtt(scene: Scene) -> list[str]:
    return [f"mqtt-{shard}" for shard in range(scene.deployment.plan.mqtt_shards)]
