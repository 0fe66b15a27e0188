"""The guarantees of the loop, with clients that the test controls."""

import time
from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from prometheus_client import REGISTRY

from contract import records
from contract.telemetry import Decoder
from plumbing.life import Stop, WorldDown
from scorer import pipeline as pipeline_module
from scorer.model import Model

from .scene import Scene


@pytest.fixture
def scene(consumer: Any, producer: Any, decoder: Decoder, model: Model) -> Scene:
    return Scene(consumer, producer, decoder, model)


def test_nothing_is_read_without_a_model(scene: Scene) -> None:
    """Until the first model arrives the scorer is unready, joins no group, and can be stopped."""
    scene.models.clear()
    scene.pipeline.run()
    assert scene.calls == ["no model yet"]


def test_ready_with_the_first_model(scene: Scene) -> None:
    """With a model the scorer subscribes and is ready; at a stop it is unready first and closes last."""
    ready = []
    scene.run(lambda: ready.append(scene.health.not_ready_because))
    assert ready == [""]
    assert scene.calls[0] == "subscribe"
    assert scene.calls[-2:] == ["close", "incremental_unassign"]
    assert scene.health.not_ready_because == "stopping"


def test_what_is_scored_is_committed(scene: Scene, give: Any) -> None:
    """Offsets are committed after the audit records are delivered, those of the last batch at the end."""
    scene.run(
        lambda: give(("a", 1, 0), ("b", 1, 1), ("a", 2, 0)),
        lambda: give(("a", 3, 0)),
        lambda: None,
        lambda: None,
    )
    assert scene.audited == [(0, 0, 1), (1, 0, 0), (0, 2, 2)]
    assert dict(scene.committed) == {0: 3, 1: 1}


def test_a_newer_model_takes_over_between_two_batches(scene: Scene, give: Any, detector: Any) -> None:
    """The audit record of each batch has the version of the model that scored it."""
    newer = Model.open(detector.record(version=8), "litert")
    scene.run(
        lambda: give(("a", 1, 0)),
        lambda: scene.models.append(newer),
        lambda: give(("a", 2, 0)),
    )
    assert [audit["model_version"] for audit in scene.audits] == [3, 8]


@pytest.mark.parametrize("piece_records", [1, 2, 3, 100])
def test_a_batch_is_taken_in_pieces(
    scene: Scene, give: Any, monkeypatch: pytest.MonkeyPatch, piece_records: int
) -> None:
    """For any size of a piece a batch has all records that are there, up to --batch-records-max."""
    monkeypatch.setattr(pipeline_module, "PIECE_RECORDS", piece_records)
    scene.pipeline.settings = replace(scene.pipeline.settings, batch_records_max=5)
    scene.run(lambda: give(*[("a", seq, 0) for seq in range(1, 8)]), lambda: None)
    assert scene.audited == [(0, 0, 4), (0, 5, 6)]
    assert [audit["scored"] for audit in scene.audits] == [5, 2]


@pytest.mark.parametrize("piece_records", [1, 2, 100])
@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_records_of_a_partition_given_up_while_consuming_are_not_scored(
    scene: Scene, give: Any, monkeypatch: pytest.MonkeyPatch, taken: int, piece_records: int
) -> None:
    """After a rebalance in the middle of a batch only records of the replica's partitions are scored."""
    monkeypatch.setattr(pipeline_module, "PIECE_RECORDS", piece_records)

    def rebalance() -> None:
        give(*[("a", 1, 0), ("b", 1, 1), ("c", 1, 1)][:taken])
        scene.consumer.inbox.append(lambda: scene.revoke(0))
        give(("d", 1, 1))

    scene.run(rebalance)
    assert {partition for partition, _, _ in scene.audited} <= {1}


def test_results_are_delivered_before_a_partition_is_given_up(scene: Scene, give: Any) -> None:
    """Revoking waits for the deliveries and commits, so the successor finds every audit record."""
    scene.per_wait = 1
    scene.run(lambda: give(("a", 1, 0)), lambda: scene.revoke(0))
    assert scene.waits == [1]
    assert scene.committed == [(0, 1)]
    assert scene.calls[:4] == ["subscribe", "incremental_assign", "commit", "incremental_unassign"]


def test_evidence_is_written_once_an_interval_and_at_the_end(scene: Scene, give: Any) -> None:
    """Nothing is counted twice, and the times of two records meet."""
    scene.pipeline.settings = replace(scene.pipeline.settings, evidence_interval_s=0.02)
    scene.run(lambda: give(("a", 1, 0), ("b", 1, 0)), lambda: time.sleep(0.03), lambda: give(("a", 2, 0)))
    mine = [each for each in scene.producer.produced if each[0] == "scores.evidence"]
    written = [records.decode(value)[1] for _, value, _ in mine]
    assert len(written) >= 2
    assert sum(evidence["judged"] for evidence in written) == 3
    assert [evidence["until"] for evidence in written[:-1]] == [evidence["since"] for evidence in written[1:]]
    assert {
        options["key"] for topic, _, options in scene.producer.produced if topic == "scores.evidence"
    } == {"s"}


def remembering_scene(consumer: Any, producer: Any, decoder: Decoder, remembering: Any) -> Scene:
    """A scene whose model has states."""
    return Scene(consumer, producer, decoder, Model.open(remembering.record(1), "litert"))


def test_states_are_written_before_a_partition_is_given_up(
    consumer: Any, producer: Any, decoder: Decoder, remembering: Any, give: Any
) -> None:
    """The successor finds the changed states of the partition's cars."""
    scene = remembering_scene(consumer, producer, decoder, remembering)
    scene.pipeline.snapshots._began_s = 1e12
    scene.run(lambda: give(("a", 1, 0), ("b", 1, 1)), lambda: scene.revoke(0))
    written = [options for topic, _, options in producer.produced if topic == "car-state"]
    states = [(options["partition"], options["key"]) for options in written]
    assert states == [(0, b"a"), (1, b"b")]
    assert scene.calls.index("commit") < scene.calls.index("incremental_unassign")
    assert len(scene.detector.cars) == 0


def test_states_of_a_partition_that_was_lost_are_not_written(
    consumer: Any, producer: Any, decoder: Decoder, remembering: Any, give: Any
) -> None:
    """The successor is already at work, and its states are newer."""
    scene = remembering_scene(consumer, producer, decoder, remembering)
    scene.pipeline.snapshots._began_s = 1e12
    scene.run(lambda: give(("a", 1, 0), ("b", 1, 1)), lambda: scene.lose(0, 1))
    assert "car-state" not in producer.topics()
    assert len(scene.detector.cars) == 0


def test_states_are_written_while_no_records_come(
    consumer: Any, producer: Any, decoder: Decoder, remembering: Any, give: Any
) -> None:
    """The last changed states are written without another batch."""
    scene = remembering_scene(consumer, producer, decoder, remembering)
    written = []
    scene.run(
        lambda: give(("a", 1, 0)),
        *[lambda: time.sleep(0.01)] * 5,
        lambda: written.extend(topic for topic in producer.topics() if topic == "car-state"),
    )
    assert written == ["car-state"]


def test_a_record_without_a_key_is_a_dead_letter(
    scene: Scene, telemetry_log: Any, telemetry_values: Any
) -> None:
    """It is not mistaken for an error report of the client."""
    value = telemetry_values(["a"], [1])[0]
    scene.run(lambda: scene.consumer.inbox.append(telemetry_log.append(value, None)))
    assert scene.written == ["telemetry.rejected", "scores.audit"]


def test_a_passing_error_is_logged(scene: Scene, give: Any) -> None:
    """An error reported among the records is logged, and the records are scored."""

    def report() -> None:
        give(("a", 1, 0))
        scene.consumer.inbox.append(Message(error=KafkaError(KafkaError._TRANSPORT), topic="telemetry"))
        give(("a", 2, 0))

    scene.run(report)
    assert scene.audited == [(0, 0, 1)]


@pytest.mark.parametrize("code", pipeline_module._LASTING_ERRORS)
def test_a_lasting_error_ends_the_process(scene: Scene, code: int) -> None:
    """WorldDown where the topic or a permission is missing, or Kafka does not know the group's protocol."""
    with pytest.raises(WorldDown):
        scene.run(lambda: scene.consumer.inbox.append(Message(error=KafkaError(code), topic="telemetry")))


def test_a_kafka_that_does_not_answer_ends_the_process(scene: Scene) -> None:
    """An exception of the client becomes WorldDown: it is not a bug."""

    def fail() -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    with pytest.raises(WorldDown, match="Kafka"):
        scene.run(fail)


def test_the_end_waits_no_longer_than_the_deadline(scene: Scene, give: Any) -> None:
    """WorldDown where Kafka has not taken the results by then, without closing the consumer."""
    scene.per_wait = 0
    scene.stop = scene.pipeline.stop = Stop(deadline_s=0.03)
    with pytest.raises(WorldDown, match="results of 5 batches"):
        scene.run(*[lambda seq=seq: give(("a", seq, 0)) for seq in range(1, 6)])
    assert "close" not in scene.calls


def test_partitions_assigned_during_a_stop_are_not_read(scene: Scene, give: Any) -> None:
    """Their state is not read back, and their records are not scored."""
    requests: list[Any] = []
    scene.consumer.committed = lambda partitions, timeout: requests.append(partitions) or partitions

    def stop_and_assign() -> None:
        scene.stop.request()
        scene.assign()
        give(("a", 1, 0))

    scene.rounds = deque([stop_and_assign])
    scene.pipeline.run()
    assert requests == []
    assert scene.written == []
    assert scene.calls[:2] == ["subscribe", "incremental_assign"]


def test_a_failed_takeover_ends_the_process(scene: Scene) -> None:
    """The callback raises WorldDown: the client does not pass on its own exceptions."""

    def fail(partitions: Any, timeout: float) -> Any:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    scene.consumer.committed = fail
    scene.consumer.subscribe([], on_assign=scene.pipeline._on_assign, on_revoke=scene.pipeline._on_revoke)
    with pytest.raises(WorldDown):
        scene.assign()


def test_lag_counts_the_records_that_are_not_scored(scene: Scene, give: Any) -> None:
    """The end of the log minus the next offset, also for partitions without new records."""
    scene.starts = {0: 100, 1: 97}
    scene.run(lambda: None)
    assert REGISTRY.get_sample_value("scorer_lag_records") == 3.0


def test_consuming_waits_for_deliveries(scene: Scene, give: Any) -> None:
    """Above --in-flight-batches-max nothing is consumed until Kafka has taken results."""
    scene.per_wait = 1
    scene.run(*[lambda seq=seq: give(("a", seq, 0)) for seq in range(1, 111)])
    assert max(scene.waits) == 101
    assert [last for _, _, last in scene.audited] == list(range(110))
