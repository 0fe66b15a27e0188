"""A broker that was killed and has forgotten open transactions: the supervisor's job ends them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from contract.topics import Topic
from local import kafka, topics
from local.ledger import read_topic
from local.supervisor import Supervisor
from tests.integration.ports import free_port

pytestmark = pytest.mark.integration

LOG = "__transaction_state"
TOPIC = Topic("t", 3)
UNDECIDED, DECIDED, LIVING = range(3)  # a partition of the topic for each transaction
ONGOING, PREPARE_COMMIT, STATE_AT = 1, 2, 16
READY_WITHIN_S, MENDED_WITHIN_S = 60.0, 60.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Supervisor, str]]:
    """A cluster of the test's own, because it is killed: its supervisor and its address."""
    port = free_port()
    assert free_port() == port + 1, "for its controller"
    supervisor, broker = Supervisor(tmp_path / "logs"), kafka.Broker("cloud", port, tmp_path / "cloud")
    try:
        supervisor.start(broker.child())
        supervisor.wait_ready(["cloud"], READY_WITHIN_S)
        topics.create("cloud", broker.bootstrap, [TOPIC])
        yield supervisor, broker.bootstrap
    finally:
        supervisor.stop_all()


def begin(bootstrap: str, partition: int, value: bytes) -> Producer:
    """The writer of a transaction that is left open."""
    writer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": f"writer-{partition}", "log_level": 0}
    )
    writer.init_transactions(30)
    writer.begin_transaction()
    writer.produce(TOPIC.name, value, partition=partition)
    assert writer.flush(30) == 0
    return writer


def forget(bootstrap: str) -> None:
    """Have the coordinator forget all transactions at its next start, that of DECIDED after its decision.

    The end of Kafka's fault (KAFKA-20734) without its race. Clients of this name may write internal topics.
    """
    admin = Producer({"bootstrap.servers": bootstrap, "client.id": "__admin_client", "log_level": 0})
    for entry in [entry for batch in read_topic(bootstrap, LOG) for entry in batch]:
        if entry.key().endswith(b"writer-%d" % DECIDED) and entry.value()[STATE_AT] == ONGOING:
            decided = bytearray(entry.value())
            decided[STATE_AT] = PREPARE_COMMIT
            admin.produce(LOG, bytes(decided), entry.key(), partition=entry.partition())
        admin.produce(LOG, None, entry.key(), partition=entry.partition())
    assert admin.flush(30) == 0


def committed(bootstrap: str, partition: int, seconds: float = 1.0) -> list[bytes]:
    """What a reader of committed records finds in a partition."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "g", "isolation.level": "read_committed", "log_level": 0}
    )
    consumer.assign([TopicPartition(TOPIC.name, partition, 0)])
    messages: list[Any] = consumer.consume(100, seconds)
    consumer.close()
    return [message.value() for message in messages if message.error() is None]


def test_a_forgotten_transaction_gets_the_end_that_was_decided(broker: tuple[Supervisor, str]):
    """Its readers go on: a decided commit is there, the rest is aborted, a living transaction goes on."""
    supervisor, bootstrap = broker
    forgotten = [begin(bootstrap, UNDECIDED, b"undecided"), begin(bootstrap, DECIDED, b"decided")]
    forget(bootstrap)
    before = supervisor.children["cloud"].pid
    supervisor.kill("cloud")
    deadline = time.monotonic() + READY_WITHIN_S
    while supervisor.children["cloud"].pid in (None, before) or supervisor.children["cloud"].state != "ready":
        assert time.monotonic() < deadline
        supervisor.tick()
        time.sleep(0.02)
    living = begin(bootstrap, LIVING, b"living")
    job, deadline = supervisor.children["cloud-transactions"], time.monotonic() + MENDED_WITHIN_S
    while sum("ended a transaction" in event for event in supervisor.events) < len(forgotten):
        assert time.monotonic() < deadline, (job.status, supervisor.last_lines(job.name))
        supervisor.tick()
        time.sleep(0.05)
    assert committed(bootstrap, DECIDED) == [b"decided"]
    living.commit_transaction(30)
    assert committed(bootstrap, LIVING) == [b"living"]
    for partition, values in ((UNDECIDED, [b"next"]), (DECIDED, [b"decided", b"next"])):
        begin(bootstrap, partition, b"next").commit_transaction(30)
        assert committed(bootstrap, partition) == values
