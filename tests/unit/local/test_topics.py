"""The topics of a cluster that is there already."""

import pytest

from contract.topics import edge_topics
from local.topics import refuse_repartitioned
from plumbing.life import WorldDown

THERE = {topic.name: topic.partitions for topic in edge_topics()}


def test_what_is_there_already_is_fine():
    """A second start, and topics of others."""
    refuse_repartitioned("edge", THERE | {"other": 3}, edge_topics())
    refuse_repartitioned("edge", {}, edge_topics())


def test_another_number_of_partitions_is_refused():
    """A car's records would go to two partitions: no order, and doubles unseen."""
    with pytest.raises(WorldDown, match=r"edge Kafka has telemetry with 3 partitions.* says 12"):
        refuse_repartitioned("edge", THERE | {"telemetry": 3}, edge_topics())
