"""Faults that are planted in the services: a few worlds see each of them."""

from collections.abc import Callable
from typing import Any

import pytest

from bridge.pipeline import Pipeline as BridgePipeline
from contract.topics import CAR_STATE
from plumbing.mqtt import ConnectionLost
from scorer.assignment import Assignment
from scorer.pipeline import Pipeline as ScorerPipeline
from scorer.results import Results
from scorer.standstill import Standstill
from tests.world.story import play
from tests.world.verdict import judge
from tests.world.world import World

_SEEDS_MAX = 40
Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledged_before_delivery(plant: pytest.MonkeyPatch) -> None:
    """The bridge sends PUBACKs when Kafka's client has the messages, not Kafka."""

    def deliver(self: Any, now: float) -> None:
        for shard in self._shards:
            try:
                shard.acknowledge(now)
            except ConnectionLost as error:
                self._lose(shard, error, now)

    plant.setattr(BridgePipeline, "_deliver", deliver)


def nothing_remembered(plant: pytest.MonkeyPatch) -> None:
    """A take-over does not read the last scored records again."""
    plant.setattr(Assignment, "_remember", lambda self, tails: None)


def no_states_restored(plant: pytest.MonkeyPatch) -> None:
    """A take-over reads no states of cars."""
    plant.setattr(Assignment, "_restore", lambda self, partitions: None)


def committed_offsets_believed(plant: pytest.MonkeyPatch) -> None:
    """A take-over does not look into the audit log."""
    plant.setattr(Assignment, "_audited", lambda self, committed: ({}, set()))


def audited_before_delivery(plant: pytest.MonkeyPatch) -> None:
    """Audit records do not wait for the anomalies that they stand for."""
    settle = Results.settle

    def hasty(self: Any, wait_s: float = 0.0) -> None:
        for batch in self._first:
            batch.pending = 0
        settle(self, wait_s)

    plant.setattr(Results, "settle", hasty)


def states_before_audits(plant: pytest.MonkeyPatch) -> None:
    """States of cars do not wait for the audit records of the samples in them."""
    write = Results.write

    def hasty(self: Any, scored: Any, snapshots: Any = ()) -> None:
        for partition, key, value in snapshots:
            self._producer.produce(CAR_STATE, value, key=key, partition=partition)
        write(self, scored)

    plant.setattr(Results, "write", hasty)


def given_up_before_delivery(plant: pytest.MonkeyPatch) -> None:
    """Partitions go to a successor while results of them are on their way."""
    plant.setattr(ScorerPipeline, "_deliver_all", lambda self: None)


def asleep_unnoticed(plant: pytest.MonkeyPatch) -> None:
    """A scorer that was suspended for longer than its session goes on as if nothing had happened."""
    plant.setattr(Standstill, "check", Standstill.moved)


_KILLS = ("scorer-kill", "kafka-away")
# Each with the faults that show it soonest; none: all.
PLANTED: dict[Plant, tuple[str, ...]] = {
    acknowledged_before_delivery: ("bridge-kill", "kafka-away"),
    nothing_remembered: (),
    no_states_restored: ("scorer-kill", "scorers-more-or-less"),
    committed_offsets_believed: (),
    audited_before_delivery: _KILLS,
    states_before_audits: _KILLS,
    given_up_before_delivery: (),
    asleep_unnoticed: ("suspension",),
}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("planted", "faults"), PLANTED.items(), ids=lambda each: getattr(each, "__name__", "")
)
def test_a_planted_fault_is_seen(monkeypatch: pytest.MonkeyPatch, planted: Plant, faults: tuple[str, ...]):
    """A promise is broken in one of a few worlds."""
    planted(monkeypatch)
    for seed in range(_SEEDS_MAX):
        if judge(play(World(seed), faults))[0].wrong:
            return
    pytest.fail(f"nothing is wrong in {_SEEDS_MAX} worlds")
