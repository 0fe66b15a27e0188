"""The loop's promises, with clients that do as they are told."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from prometheus_client import REGISTRY

from contract.telemetry import Decoder
from plumbing.life import Stop, WorldDown
from scorer import pipeline as pipeline_module
from scorer.model import Model

from .scene import Scene


@pytest.fixture
def scene(consumer: Any, producer: Any, decoder: Decoder, model: Model) -> Scene:
    return Scene(consumer, producer, decoder, model)


@pytest.fixture
def give(consumer: Any, telemetry_log: Any, telemetry_values: Any) -> Callable[..., None]:
    """Puts sound records of (car, seq, partition) into the consumer's hands."""

    def put(*entries: tuple[str, int, int]) -> None:
        for car, seq, partition in entries:
            value = telemetry_values([car], [seq])[0]
            consumer.inbox.append(telemetry_log.append(value, car.encode(), partition))

    return put


def test_nothing_is_read_without_a_model(scene: Scene) -> None:
    """Until the first model is there the scorer is unready and in no group, and can be told to stop."""
    scene.models.clear()
    scene.pipeline.run()
    assert scene.heard == ["no model yet"]


def test_ready_with_the_first_model(scene: Scene) -> None:
    """With a model the scorer subscribes and is ready; told to stop it is unready first and closes last."""
    ready = []
    scene.run(lambda: ready.append(scene.health.not_ready_because))
    assert ready == [""]
    assert scene.heard[0] == "subscribe"
    assert scene.heard[-2:] == ["close", "incremental_unassign"]
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


def test_a_batch_is_scored_by_the_model_of_its_time(scene: Scene, give: Any, detector: Any) -> None:
    """A newer model takes over between two batches; each audit record names the one that scored."""
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
    """Whatever a piece holds: what is there is one batch, up to its greatest size; the rest is another."""
    monkeypatch.setattr(pipeline_module, "PIECE_RECORDS", piece_records)
    scene.pipeline._settings = replace(scene.pipeline._settings, batch_records_max=5)
    scene.run(lambda: give(*[("a", seq, 0) for seq in range(1, 8)]), lambda: None)
    assert scene.audited == [(0, 0, 4), (0, 5, 6)]
    assert [audit["scored"] for audit in scene.audits] == [5, 2]


@pytest.mark.parametrize("piece_records", [1, 2, 100])
@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_a_record_taken_before_its_partition_is_given_up_is_left(
    scene: Scene, give: Any, monkeypatch: pytest.MonkeyPatch, taken: int, piece_records: int
) -> None:
    """Where a rebalance comes while a batch is being taken, only what is still this replica's is scored."""
    monkeypatch.setattr(pipeline_module, "PIECE_RECORDS", piece_records)

    def rebalance() -> None:
        give(*[("a", 1, 0), ("b", 1, 1), ("c", 1, 1)][:taken])
        scene.consumer.inbox.append(lambda: scene.revoke(0))
        give(("d", 1, 1))

    scene.run(rebalance)
    assert {partition for partition, _, _ in scene.audited} <= {1}


def test_what_is_on_its_way_is_delivered_before_a_partition_is_given_up(scene: Scene, give: Any) -> None:
    """The successor finds every audit record: revoking waits for the deliveries, and commits."""
    scene.per_wait = 1
    scene.run(lambda: give(("a", 1, 0)), lambda: scene.revoke(0))
    assert scene.waits == [1]
    assert scene.committed == [(0, 1)]
    assert scene.heard[:4] == ["subscribe", "incremental_assign", "commit", "incremental_unassign"]


def remembering_scene(consumer: Any, producer: Any, decoder: Decoder, remembering: Any) -> Scene:
    """With a model that has states."""
    return Scene(consumer, producer, decoder, Model.open(remembering.record(1), "litert"))


def test_states_are_written_before_a_partition_is_given_up(
    consumer: Any, producer: Any, decoder: Decoder, remembering: Any, give: Any
) -> None:
    """The successor finds what is known of its cars; those of other partitions are not in a hurry."""
    scene = remembering_scene(consumer, producer, decoder, remembering)
    scene.pipeline._snapshots._began_s = 1e12
    scene.run(lambda: give(("a", 1, 0), ("b", 1, 1)), lambda: scene.revoke(0))
    states = [
        (where["partition"], where["key"]) for topic, _, where in producer.produced if topic == "car-state"
    ]
    assert states == [(0, b"a"), (1, b"b")]
    assert scene.heard.index("commit") < scene.heard.index("incremental_unassign")
    assert len(scene.detector.cars) == 0


def test_states_of_a_partition_that_was_lost_are_not_written(
    consumer: Any, producer: Any, decoder: Decoder, remembering: Any, give: Any
) -> None:
    """Who was given up by the group knows less than the successor that is at work."""
    scene = remembering_scene(consumer, producer, decoder, remembering)
    scene.pipeline._snapshots._began_s = 1e12
    scene.run(lambda: give(("a", 1, 0), ("b", 1, 1)), lambda: scene.lose(0, 1))
    assert "car-state" not in producer.topics()
    assert len(scene.detector.cars) == 0


def test_states_are_written_where_nothing_comes(
    consumer: Any, producer: Any, decoder: Decoder, remembering: Any, give: Any
) -> None:
    """The last states before a silence are written in it."""
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
    """It is not taken for a report of the client's."""
    value = telemetry_values(["a"], [1])[0]
    scene.run(lambda: scene.consumer.inbox.append(telemetry_log.append(value, None)))
    assert scene.producer.topics() == ["telemetry.rejected", "scores.audit"]


def test_a_report_that_passes_is_no_record(scene: Scene, give: Any) -> None:
    """What the client reports among the records is logged, the records are scored."""

    def report() -> None:
        give(("a", 1, 0))
        scene.consumer.inbox.append(Message(error=KafkaError(KafkaError._TRANSPORT), topic="telemetry"))
        give(("a", 2, 0))

    scene.run(report)
    assert scene.audited == [(0, 0, 1)]


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_report_that_does_not_pass_ends_the_process(scene: Scene, code: int) -> None:
    """Without the topic, or the right to read it, waiting does not help."""
    with pytest.raises(WorldDown):
        scene.run(lambda: scene.consumer.inbox.append(Message(error=KafkaError(code), topic="telemetry")))


def test_a_kafka_that_does_not_answer_is_to_blame(scene: Scene) -> None:
    """An exception of the client's is the world, not a bug."""

    def fail() -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    with pytest.raises(WorldDown, match="Kafka"):
        scene.run(fail)


def test_the_end_is_not_waited_for_without_end(scene: Scene, give: Any) -> None:
    """Where Kafka takes no results the deadline ends the process: nothing more is asked of Kafka."""
    scene.per_wait = 0
    scene.stop = scene.pipeline._stop = Stop(deadline_s=0.03)
    with pytest.raises(WorldDown, match="results of 5 batches"):
        scene.run(*[lambda seq=seq: give(("a", seq, 0)) for seq in range(1, 6)])
    assert "close" not in scene.heard


def test_a_process_that_stood_still_writes_nothing(
    scene: Scene, give: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suspended for so long that others may have its partitions, it ends before it scores what it holds."""
    clock = [1_000.0]
    monkeypatch.setattr(pipeline_module, "time", SimpleNamespace(
        monotonic=lambda: clock[0], time_ns=lambda: 0, perf_counter=lambda: clock[0]
    ))  # fmt: skip

    def suspend() -> None:
        give(("a", 1, 0))
        clock[0] += 9

    with pytest.raises(WorldDown, match="stood still for 9 s"):
        scene.run(suspend)
    assert scene.producer.produced == []


def test_a_long_assignment_is_no_standstill(scene: Scene, give: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading back state may take its time: the client keeps the group's session meanwhile."""
    clock = [1_000.0]
    monkeypatch.setattr(pipeline_module, "time", SimpleNamespace(
        monotonic=lambda: clock[0], time_ns=lambda: 0, perf_counter=lambda: clock[0]
    ))  # fmt: skip
    resume = scene.resume

    def slowly(committed: dict[int, int]) -> dict[int, int]:
        clock[0] += 9
        return resume(committed)

    scene.resume = slowly  # type: ignore[method-assign]
    scene.run(lambda: give(("a", 1, 0)))
    assert scene.audited == [(0, 0, 0)]


def test_partitions_that_come_while_stopping_are_not_taken_up(scene: Scene, give: Any) -> None:
    """Nothing is asked of Kafka for them, and what comes of them with the assignment is not scored."""
    asked: list[Any] = []
    scene.consumer.committed = lambda places, timeout: asked.append(places) or places

    def stop_and_assign() -> None:
        scene.stop.request()
        scene.assign()
        give(("a", 1, 0))

    scene.rounds = deque([stop_and_assign])
    scene.pipeline.run()
    assert asked == []
    assert scene.producer.produced == []
    assert scene.heard[:2] == ["subscribe", "incremental_assign"]


def test_a_takeover_that_fails_is_the_world(scene: Scene) -> None:
    """Kafka's silence leaves the callback as WorldDown: of its own exceptions the client loses the type."""

    def fail(places: Any, timeout: float) -> Any:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    scene.consumer.committed = fail
    scene.consumer.subscribe([], on_assign=scene.pipeline._on_assign, on_revoke=scene.pipeline._on_revoke)
    with pytest.raises(WorldDown):
        scene.assign()


def test_lag_is_what_is_not_scored_yet(scene: Scene, give: Any) -> None:
    """Also of partitions where nothing has come since the start: the log's end less the next offset."""
    scene.starts = {0: 100, 1: 97}
    scene.run(lambda: None)
    assert REGISTRY.get_sample_value("scorer_lag_records") == 3.0


def test_consuming_waits_for_deliveries(scene: Scene, give: Any) -> None:
    """With too many batches on their way nothing more is taken, until Kafka has taken some."""
    scene.per_wait = 1
    scene.run(*[lambda seq=seq: give(("a", seq, 0)) for seq in range(1, 111)])
    assert max(scene.waits) == 101
    assert [last for _, _, last in scene.audited] == list(range(110))
