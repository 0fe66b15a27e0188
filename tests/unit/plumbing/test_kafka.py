"""The settings of the Kafka clients, the properties file, and waiting for topics."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from plumbing import kafka
from plumbing.life import Stop, WorldDown
from plumbing.settings import SettingsError


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The configurations of the clients that the test makes."""
    configs: list[dict[str, Any]] = []
    for name in ("Producer", "Consumer"):
        monkeypatch.setattr(kafka, name, lambda config, logger: configs.append(config))
    return configs


def test_a_producer_keeps_the_order_and_partitions_as_java_does(made: list[dict[str, Any]]):
    """It is idempotent and takes murmur2 for the partition of a key."""
    kafka.producer("k:1")
    assert made[0]["enable.idempotence"] is True
    assert made[0]["partitioner"] == "murmur2_random"
    assert made[0]["bootstrap.servers"] == "k:1"


def test_a_consumer_commits_nothing_by_itself(made: list[dict[str, Any]]):
    """It neither stores offsets nor creates topics by itself, and reads only committed transactions."""
    kafka.consumer("k:1", group_id="scorer")
    assert made[0]["enable.auto.commit"] is made[0]["enable.auto.offset.store"] is False
    assert made[0]["allow.auto.create.topics"] is False
    assert made[0]["isolation.level"] == "read_committed"
    assert made[0]["group.id"] == "scorer"


def test_overrides_win_over_the_file_which_wins_over_the_defaults(made: list[dict[str, Any]], tmp_path: Path):
    """A file can change compression and add security, but not replace the bootstrap servers."""
    file = tmp_path / "client.properties"
    file.write_text("linger.ms=50\ncompression.type=zstd\nsecurity.protocol=SSL\nbootstrap.servers=other:1\n")
    kafka.producer("k:1", file, linger_ms=1)
    config = made[0]
    assert (config["linger.ms"], config["compression.type"]) == (1, "zstd")
    assert (config["security.protocol"], config["bootstrap.servers"]) == ("SSL", "k:1")


def test_librdkafka_accepts_the_settings():
    """Real clients can be made with them: librdkafka knows every name and value."""
    kafka.producer("127.0.0.1:1")
    kafka.consumer("127.0.0.1:1", group_id="g").close()


def test_properties_are_read_as_java_writes_them(tmp_path: Path):
    """Spaces, comments and empty lines are ignored; a value may contain `=`."""
    file = tmp_path / "client.properties"
    file.write_text("# security\n\n sasl.username = bridge\nsasl.password=a=b#c \n")
    assert kafka.read_properties(file) == {"sasl.username": "bridge", "sasl.password": "a=b#c"}


def test_a_bad_properties_file_is_named(tmp_path: Path):
    """SettingsError for a missing file or a line without `=` has file and line, but not the value."""
    with pytest.raises(SettingsError, match=r"nothing\.properties"):
        kafka.read_properties(tmp_path / "nothing.properties")
    file = tmp_path / "client.properties"
    file.write_text("a=b\nsasl.password secret\n")
    with pytest.raises(SettingsError, match=r"client\.properties:2") as refusal:
        kafka.read_properties(file)
    assert "secret" not in str(refusal.value)


class _Broker:
    """Gives one answer after another: topics with their number of partitions, or an error."""

    def __init__(self, *answers: dict[str, int] | KafkaError) -> None:
        self.answers = list(answers)

    def list_topics(self, timeout: float) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, KafkaError):
            raise KafkaException(answer)
        return SimpleNamespace(
            topics={t: SimpleNamespace(partitions=[0] * n, error=None) for t, n in answer.items()}
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only in `sleep`."""
    now = [0.0]
    monkeypatch.setattr(kafka.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(kafka.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))


@pytest.mark.usefixtures("clock")
def test_topics_may_appear_during_the_wait():
    """`wait_for_topics` returns once all topics have partitions."""
    broker: Any = _Broker({"a": 1}, {"a": 1, "b": 0}, {"a": 1, "b": 4})
    kafka.wait_for_topics(broker, ("a", "b"), 10)
    assert len(broker.answers) == 1


@pytest.mark.usefixtures("clock")
def test_missing_topics_are_named():
    """WorldDown after the timeout names the missing topics."""
    with pytest.raises(WorldDown, match="no topic b, c: create"):
        kafka.wait_for_topics(_Broker({"a": 1}), ("a", "b", "c"), 10)  # type: ignore[arg-type]


@pytest.mark.usefixtures("clock")
def test_a_topic_without_partitions_is_named(caplog: pytest.LogCaptureFixture):
    """WorldDown names it; a warning has named it at once."""
    with pytest.raises(WorldDown, match=r"without partitions, create them again.*: b"):
        kafka.wait_for_topics(_Broker({"a": 1, "b": 0}), ("a", "b"), 10)  # type: ignore[arg-type]
    assert [message for message in caplog.messages if "without partitions" in message]


def test_a_stop_ends_the_waiting():
    """A process that is to end does not wait for Kafka."""
    stop = Stop()
    stop.request()
    kafka.wait_for_topics(_Broker({}), ("a",), 1_000, stop)  # type: ignore[arg-type]


@pytest.mark.usefixtures("clock")
def test_a_broker_that_does_not_answer_is_reported():
    """WorldDown has the error and the time that was waited."""
    with pytest.raises(WorldDown, match=r"no Kafka broker answers, is --kafka-bootstrap right.*waited 10 s"):
        kafka.wait_for_topics(_Broker(KafkaError(KafkaError._TRANSPORT)), ("a",), 10)  # type: ignore[arg-type]


def test_what_a_file_sets_in_vain_is_logged(
    made: list[dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Its name, not its value; a line that says the same as the flag is none."""
    file = tmp_path / "client.properties"
    file.write_text("group.protocol=classic\nbootstrap.servers=k:1\nfetch.min.bytes=7\n")
    kafka.consumer("k:1", file, group_protocol="consumer")
    assert made[0]["group.protocol"] == "consumer"
    assert [text for text in caplog.messages if "not used" in text] == [
        f"{file}: group.protocol is not used: a flag or this program itself sets it"
    ]


def test_a_classic_group_moves_partitions_one_by_one(made: list[dict[str, Any]], tmp_path: Path):
    """As groups of the new protocol do, which refuse these settings; a file may change them."""
    file = tmp_path / "client.properties"
    file.write_text("session.timeout.ms=45000\n")
    kafka.consumer("k:1", file, group_protocol="classic")
    kafka.consumer("k:1", group_protocol="consumer")
    assert made[0]["partition.assignment.strategy"] == "cooperative-sticky"
    assert made[0]["session.timeout.ms"] == "45000"
    assert not {"partition.assignment.strategy", "session.timeout.ms"} & made[1].keys()


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_librdkafka_accepts_both_protocols(protocol: str):
    """Real clients can be made."""
    kafka.consumer("127.0.0.1:1", group_id="g", group_protocol=protocol).close()


def test_a_property_that_the_client_refuses_is_a_wrong_setting(tmp_path: Path):
    """No traceback, and no value: it may be a secret."""
    file = tmp_path / "client.properties"
    file.write_text("sasl.pasword=hush\n")
    with pytest.raises(
        SettingsError, match=r'kafka properties: No such configuration property: "sasl.pasword"'
    ):
        kafka.producer("127.0.0.1:1", file)
