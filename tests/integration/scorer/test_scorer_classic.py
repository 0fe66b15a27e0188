"""A Kafka that knows only classic consumer groups, as before 4.0 and as some managed ones."""

from collections.abc import Iterator
from typing import Any

import pytest

from contract.topics import edge_topics
from tests.integration.mock_kafka import MockKafka

from .edge import until

pytestmark = pytest.mark.integration


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    cluster = MockKafka({topic.name: topic.partitions for topic in edge_topics()}, classic=True)
    yield cluster
    cluster.close()


def test_who_is_shut_out_of_the_group_is_not_ready(edge: Any, replica: Any, model_record: Any):
    """It said that it was ready, and scored nothing; now it is unready, or ends naming the setting."""
    edge.publish(model_record())
    scorer, answers = replica(), []

    def shut_out() -> bool:
        answers.append(scorer.probe("/readyz"))
        return "consumer group" in answers[-1][1] or scorer.process.poll() == 1

    until(shut_out, "it has noticed")
    assert (200, "ok\n") not in answers


def test_a_classic_group_scores_every_record_once(edge: Any, replica: Any, model_record: Any, load: Any):
    """The mock cluster takes 10 s for each change of a classic group: `make compat` has those."""
    edge.publish(model_record())
    scorer = replica("--group-protocol", "classic")
    scorer.wait_ready()
    with load(cars=100, per_second=1_000) as sent:
        scorer.wait_scored(500)
    until(edge.scored_once, "every record scored")
    assert edge.counts() == {"scored": sent.sent, "duplicates": 0, "late": 0, "rejected": 0}
