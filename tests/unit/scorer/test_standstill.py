"""A replica that was suspended, or expelled, writes nothing that its successor writes, too."""

from types import SimpleNamespace
from typing import Any

import pytest

from contract.telemetry import Decoder
from plumbing.life import WorldDown
from scorer import pipeline as pipeline_module
from scorer import standstill as standstill_module
from scorer.model import Model

from .scene import Scene


@pytest.fixture
def scene(consumer: Any, producer: Any, decoder: Decoder, model: Model) -> Scene:
    return Scene(consumer, producer, decoder, model)


def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in a list: it passes where the test says so."""
    clock = [1_000.0]
    stopped = SimpleNamespace(monotonic=lambda: clock[0], time_ns=lambda: 0, perf_counter=lambda: clock[0])
    for module in (pipeline_module, standstill_module):
        monkeypatch.setattr(module, "time", stopped)
    return clock


def test_a_process_that_stood_still_writes_nothing(
    scene: Scene, give: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WorldDown after a suspension in which another replica may have got its partitions."""
    clock = stopped_clock(monkeypatch)

    def suspend() -> None:
        give(("a", 1, 0))
        clock[0] += 9

    with pytest.raises(WorldDown, match="stood still for 9 s"):
        scene.run(suspend)
    assert scene.producer.produced == []


@pytest.mark.parametrize("where", ["loop", "lost"])
def test_results_on_their_way_get_no_audit_record_after_a_standstill(
    scene: Scene,
    telemetry_log: Any,
    telemetry_values: Any,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """The successor has scored those records again: they would be there as scored twice."""
    clock = stopped_clock(monkeypatch)
    scene.per_wait = 0  # Kafka has the dead letter of the batch, and this replica does not know of it yet

    def suspend() -> None:
        clock[0] += 15
        scene.per_wait = None
        if where == "lost":
            scene.lose(0, 1)

    without_key = telemetry_log.append(telemetry_values(["a"], [1])[0], None)
    with pytest.raises(WorldDown, match="stood still for 15 s"):
        scene.run(lambda: scene.consumer.inbox.append(without_key), suspend)
    assert scene.producer.topics() == ["telemetry.rejected"]


def test_a_replica_that_was_expelled_finishes_nothing(
    scene: Scene, telemetry_log: Any, telemetry_values: Any
) -> None:
    """Cut off from the group alone, it was awake all the time: its successor scores those records again."""
    without_key = telemetry_log.append(telemetry_values(["a"], [1])[0], None)
    scene.per_wait = 0

    def lose() -> None:
        scene.per_wait = 1
        scene.lose(0, 1)

    scene.run(lambda: scene.consumer.inbox.append(without_key), lose)
    assert scene.written == ["telemetry.rejected"]
    assert scene.committed == []


def test_a_long_takeover_is_no_standstill(scene: Scene, give: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading back states may take long: the client keeps the session of the group alive in the callback."""
    clock = stopped_clock(monkeypatch)
    resume = scene.resume

    def slowly(committed: dict[int, int]) -> dict[int, int]:
        clock[0] += 9
        return resume(committed)

    scene.resume = slowly  # type: ignore[method-assign]
    scene.run(lambda: give(("a", 1, 0)))
    assert scene.audited == [(0, 0, 0)]
