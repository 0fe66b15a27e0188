"""One test an arrow, in the order in which a deployment comes to life; at the end the ledger."""

import contextlib
import dataclasses
import socket
import subprocess
import time

import pytest
from confluent_kafka import Producer

from contract.foresight import JudgedAlert
from contract.topics import MODELS, mirrored
from local import ledger
from local.scorecard import draw_up
from tests.e2e.conftest import CARS, SCORERS, Running
from tests.e2e.monitoring import Monitoring
from trainer import trial
from trainer.publication import Publication

pytestmark = pytest.mark.e2e


def test_cars_reach_edge_kafka(running: Running) -> None:
    """Every car is connected, and what it publishes is acknowledged only once Kafka has it."""
    running.until(
        lambda: running.metric("simulator_connected_clients", service="simulator") >= CARS, "all cars connect"
    )
    running.until(
        lambda: running.metric("bridge_acknowledged_messages_total", service="bridge") > 2 * CARS,
        "messages are acknowledged to the brokers",
    )


def test_scorers_wait_for_a_model(running: Running) -> None:
    """Without a model a scorer is alive, not ready, and scores nothing."""
    assert running.model_versions() == {0}
    states = {running.deployment.supervisor.children[f"scorer-{n}"].state for n in range(SCORERS)}
    assert states == {"starting"}


def test_telemetry_reaches_the_cloud(running: Running) -> None:
    """MirrorMaker brings the records that edge Kafka has to the cloud."""
    running.until(lambda: running.watch.seen.cloud_records > 5 * CARS, "records arrive in the cloud", 90)


def test_first_model_comes_from_the_log(running: Running) -> None:
    """The trainer publishes a model made of the replicated log, and every scorer takes it into use."""
    status = running.train(wait_records=20_000)
    log = running.deployment.supervisor.last_lines("trainer")
    assert status == 0, log
    running.until(lambda: running.model_versions() == {1}, "both scorers use version 1")


def test_scorers_score_from_the_earliest_offset(running: Running) -> None:
    """What came before the first model is scored as well, and anomalies appear with their signals."""
    audits = running.until(
        lambda: ledger.read_audits(running.deployment.edge.bootstrap), "audit records are written"
    )
    assert min(audit["first_offset"] for audit in audits) == 0
    running.until(lambda: running.watch.seen.anomalies, "an anomaly is seen")
    anomaly = running.watch.seen.recent[0]
    assert anomaly["model_version"] == 1
    assert not anomaly["score"] <= anomaly["threshold"]
    assert anomaly["signals"]


def test_alerts_are_matched_with_workshop_reports(running: Running) -> None:
    """Cars fail after an alert, their workshops report it, and the plan says that it was so."""

    def confirmed() -> list[JudgedAlert]:
        return [alert for alert in running.hear().alerts(time.time()) if alert.verdict == "confirmed"]

    alerts = running.until(lambda: len(confirmed()) >= 3 and confirmed(), "alerts are confirmed", 120)
    incidents = {(i["car_id"], i["component"], i["failed_at"]): i for i in running.deployment.truth()}
    failures = running.foresight.failures(0)
    assert {(f.car_id, f.component, round(1000 * f.failed_s)) for f in failures} <= set(incidents)
    for alert in alerts:
        assert alert.lead_s is not None
        failed_ms = round(1000 * (alert.told_s + alert.lead_s))
        assert (alert.car_id, alert.failed, failed_ms) in incidents
    card = draw_up(
        incidents.values(), running.foresight.alerts(time.time()), cars=CARS, from_s=0, to_s=time.time()
    )
    assert card.as_dict()["faults_foreseen"] > 0


def test_damaged_model_is_refused_and_the_old_one_serves(running: Running) -> None:
    """A record on the models topic that is no model changes nothing but a counter."""
    producer = Producer({"bootstrap.servers": running.deployment.edge.bootstrap})
    producer.produce(mirrored("cloud", MODELS), b"\x00\x00\x00\x00\x06 no model", b"failure-detector")
    assert producer.flush(20) == 0
    for number in range(SCORERS):
        running.until(
            lambda number=number: running.metric(
                "scorer_model_refusals_total", service="scorer", number=number
            ),
            "the record is refused",
        )
    scored = running.metric("scorer_scored_records_total", service="scorer")
    running.until(
        lambda: running.metric("scorer_scored_records_total", service="scorer") > scored, "scoring goes on"
    )
    assert running.model_versions() == {1}


def test_prometheus_sees_all_and_alertmanager_hears_of_the_damaged_model(running: Running) -> None:
    """With a model on trial every expression of every board has data, and every target answers."""
    deployment = running.deployment
    deployment.start_mirror_watch()
    deployment.start_watcher(promote="by-hand", train_with="none")
    monitoring = Monitoring(deployment)
    publication = Publication(deployment.cloud.bootstrap, None, "failure-detector")
    champion = publication.champion()
    assert champion is not None
    publication.open()
    on_trial = dataclasses.replace(champion.manifest.decision, share=0.0)
    challenger = dataclasses.replace(champion.manifest, version=2, parent=1, decision=on_trial)
    publication.write(challenger, champion.tflite)
    running.until(lambda: not monitoring.down(), "all targets are up")
    left: dict[str, str] = {}

    def all_have_data() -> bool:
        left.clear()
        left.update(monitoring.without_data())
        return not left

    with contextlib.suppress(AssertionError):  # the next line says which have none
        running.until(all_have_data, "every expression has data", 40)
    assert left == {}
    running.until(lambda: "ModelRefused" in monitoring.received(), "the alert arrives")
    assert monitoring.failed_rules() == []
    trial.withdraw(publication, 2, ("by hand",))
    for name in ("prometheus", "alertmanager", "watcher", "mirror-watch"):
        deployment.supervisor.stop(name)


def test_killed_services_come_back(running: Running) -> None:
    """Services and brokers killed with SIGKILL are started again; the ledger below counts."""
    supervisor = running.deployment.supervisor
    for name in ("bridge", "scorer-0", "mirror", "mqtt-0", "edge"):
        before = supervisor.children[name].restarts
        supervisor.kill(name)
        running.until(
            lambda name=name, before=before: (
                supervisor.children[name].restarts > before and supervisor.children[name].state == "ready"
            ),
            f"{name} is ready again",
            90,
        )


def test_model_is_rolled_back(running: Running) -> None:
    """A second model is swapped in while scoring goes on, and the first one returns by one command."""
    publication = Publication(running.deployment.cloud.bootstrap, None, "failure-detector")
    champion = publication.champion()
    assert champion is not None
    publication.open()
    publication.write(dataclasses.replace(champion.manifest, version=3, parent=1), champion.tflite)
    running.until(lambda: running.model_versions() == {3}, "both scorers use version 3")
    run = subprocess.run(
        running.deployment.trainer_command("rollback", "1"), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    running.until(lambda: running.model_versions() == {1}, "both scorers use version 1 again")
    listed = subprocess.run(
        running.deployment.trainer_command("list"), capture_output=True, text=True, check=True
    ).stdout
    assert len(listed.splitlines()) >= 6


def test_nothing_is_lost(running: Running) -> None:
    """After all of the above every record that a car sent is at every stage, and none was scored twice."""
    deployment = running.deployment
    deployment.supervisor.stop("simulator")
    sent = int(deployment.published().sent.sum())
    stages = []

    def complete() -> bool:
        stages[:] = ledger.reconcile(
            deployment.published(),
            ledger.read_audits(deployment.edge.bootstrap),
            deployment.edge.bootstrap,
            deployment.cloud.bootstrap,
        )
        return not any(stage.lost for stage in stages)

    running.until(complete, "no stage misses a record", 60)
    assert sent > 0
    assert [stage.stage for stage in stages] == ["acknowledged", "edge_kafka", "scored", "cloud_kafka"]
    assert all(stage.expected == sent for stage in stages)
    by_name = {stage.stage: stage for stage in stages}
    assert by_name["scored"].duplicates == 0
    # The bridge was killed: the edge may have duplicates, and the cloud has exactly the edge's.
    assert by_name["cloud_kafka"].duplicates == by_name["edge_kafka"].duplicates


def test_nothing_is_left_behind(running: Running) -> None:
    """After the end no process of the deployment runs and no port is open."""
    deployment = running.deployment
    pids = [pid for child in deployment.supervisor.children.values() for pid in child.tree()]
    running.watch.close()
    deployment.stop()
    assert pids
    alive = [
        pid
        for pid in pids
        if subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode == 0
    ]
    assert alive == []
    for port in deployment.plan.ports.all(shards=2, scorers=SCORERS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
