"""Kafka clients with settings that were chosen by measuring; each of them can be overridden."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
)
from confluent_kafka.admin import AdminClient

from plumbing.life import Stop, WorldDown
from plumbing.settings import SettingsError, addresses, setting

_log = logging.getLogger(__name__)

C = TypeVar("C", Consumer, Producer)

# Short, because the process does nothing else in this time, not even stop after a SIGTERM.
_ANSWER_S_MAX, _ASK_AGAIN_S = 2.0, 0.5
_TOPICS_S_MAX = 30.0
_NO_ID = "A" * 22  # the topic id 0

_COMMON: dict[str, Any] = {
    "log.connection.close": False,  # the broker closes idle connections; that is not worth a line
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 2_000,
}
_PRODUCER: dict[str, Any] = _COMMON | {
    "enable.idempotence": True,  # acks=all; retries neither reorder nor repeat
    "partitioner": "murmur2_random",  # as Java's client: all put a car into the same partition
    "compression.type": "lz4",
    "linger.ms": 5,
}
_CONSUMER: dict[str, Any] = _COMMON | {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "allow.auto.create.topics": False,
    # The default waits 1 s after a full queue, which limits a consumer that catches up to 200 000 records/s.
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 16_384,
}
# What the broker decides for groups of the new protocol, KIP-848. Partitions move one by one, as there.
_CLASSIC_GROUP: dict[str, Any] = {
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 500,  # a member learns so soon of a change; the default is 3 s
}
GroupProtocol = Literal["consumer", "classic"]


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """The settings of a service that reads or writes Kafka. Raises ValueError for an address that is none."""

    kafka_bootstrap: str = setting("Kafka of the edge, for the trainer of the cloud: host:port,host:port,…")
    kafka_properties: Path | None = setting(
        "file with more Kafka client settings (security, …)", default=None
    )
    schema_registry_url: str | None = setting(
        "URL of a schema registry (Confluent API) that assigns schema ids; none: the ids in the schema files",
        default=None,
    )

    def __post_init__(self) -> None:
        addresses(self.kafka_bootstrap.split(","), "--kafka-bootstrap")


def producer(
    bootstrap: str,
    properties: Path | None = None,
    on_failure: Callable[[KafkaError, Any], None] | None = None,
    **overrides: Any,
) -> Producer:
    """A producer. `overrides` are librdkafka's settings with `_` for `.`; they win over the properties file.

    What the file has in vain is logged. Raises SettingsError for a file that the client refuses.

    `on_failure` is called only for messages that Kafka did not take: a report for every message would cost
    as much CPU as everything else. When the producer holds no messages (`len`, `flush`), Kafka has them all.
    """
    config = _config(_PRODUCER, bootstrap, properties, overrides)
    if on_failure is not None:
        config |= {"on_delivery": on_failure, "delivery.report.only.error": True}
    return _made(Producer, config)


def consumer(bootstrap: str, properties: Path | None = None, **overrides: Any) -> Consumer:
    """A consumer that commits nothing by itself; `overrides` as for `producer`."""
    group = _CLASSIC_GROUP if overrides.get("group_protocol") == "classic" else {}
    return _made(Consumer, _config(_CONSUMER | group, bootstrap, properties, overrides))


def admin(bootstrap: str, properties: Path | None = None) -> AdminClient:
    """A client for topics, groups and offsets."""
    return AdminClient(_config(_COMMON | {"log_level": 4}, bootstrap, properties, {}))


def topic_ids(bootstrap: str, properties: Path | None, topics: Iterable[str]) -> dict[str, str]:
    """The id that Kafka gave each topic when it was made; one that does not exist is left out.

    A topic that is deleted and made anew has another id, and its offsets begin at 0 again. Brokers that give
    no ids (before Kafka 2.8) answer with a zero, which is an empty id here. Raises WorldDown.
    """
    client = admin(bootstrap, properties)  # in a variable: with the client its answers would end
    ids = {}
    for topic, asked in client.describe_topics(TopicCollection([*topics]), request_timeout=10.0).items():
        try:
            topic_id = str(asked.result().topic_id)
            ids[topic] = "" if topic_id == _NO_ID else topic_id
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise WorldDown(f"Kafka does not describe {topic}: {error.args[0].str()}") from error
    return ids


def has_members(bootstrap: str, properties: Path | None, group: str) -> bool:
    """Whether a consumer group is at work. Raises WorldDown."""
    client = admin(bootstrap, properties)
    try:
        listed = client.list_consumer_groups(request_timeout=10.0).result()
    except KafkaException as error:
        raise WorldDown(f"Kafka does not list its consumer groups: {error.args[0].str()}") from error
    ended = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD)
    return any(each.group_id == group and each.state not in ended for each in listed.valid)


def wait_for_topics(
    client: Consumer | Producer,
    topics: tuple[str, ...],
    timeout_s: float = _TOPICS_S_MAX,
    stop: Stop | None = None,
) -> None:
    """Return once every topic exists, or at a `stop`. Raises WorldDown naming what is missing in the end.

    The first look already logs what is missing, so that a wrong setting shows at once.
    """
    deadline, logged = time.monotonic() + timeout_s, False
    while not (stop and stop.requested) and (missing := _missing(client, topics)):
        if time.monotonic() >= deadline:
            raise WorldDown(f"{missing} (waited {timeout_s:.0f} s)")
        if not logged:
            _log.warning("%s; looking again for %.0f s", missing, timeout_s)
            logged = True
        time.sleep(_ASK_AGAIN_S)


def _missing(client: Consumer | Producer, topics: tuple[str, ...]) -> str:
    """A sentence about what is missing; empty when nothing is."""
    try:
        known = client.list_topics(timeout=_ANSWER_S_MAX).topics
    except KafkaException as error:
        return f"no Kafka broker answers, is --kafka-bootstrap right? {error}"
    absent = [topic for topic in topics if topic not in known]
    if absent:
        names = ", ".join(absent)
        return f"Kafka has no topic {names}: create it first (contract/topics.py), or let this user see it"
    bare = [topic for topic in topics if not known[topic].partitions]
    if bare:
        why = "; ".join(f"{topic}: {known[topic].error or 'none yet'}" for topic in bare)
        return f"Kafka has topics without partitions, create them again (contract/topics.py): {why}"
    return ""


def read_properties(path: Path) -> dict[str, str]:
    """The `key=value` lines of a file, with librdkafka's names. Raises SettingsError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"kafka properties: {error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"kafka properties: {path} is not UTF-8 text: {error.reason}") from error
    pairs = {}
    for number, line in enumerate(lines, 1):
        key, equals, value = line.strip().partition("=")
        if key and not key.startswith("#"):
            if not equals:
                raise SettingsError(f"{path}:{number}: not key=value")  # the line itself may be a secret
            pairs[key.strip()] = value.strip()
    return pairs


def _config(
    base: dict[str, Any], bootstrap: str, properties: Path | None, overrides: dict[str, Any]
) -> dict[str, Any]:
    from_file = read_properties(properties) if properties else {}
    explicit = {key.replace("_", "."): value for key, value in overrides.items()}
    explicit["bootstrap.servers"] = bootstrap
    for key in sorted(from_file.keys() & explicit.keys()):
        if from_file[key] != str(explicit[key]):
            _log.warning("%s: %s is not used: a flag or this program itself sets it", properties, key)
    return base | from_file | {"error_cb": _report} | explicit


def _made(client: Callable[..., C], config: dict[str, Any]) -> C:
    try:
        return client(config, logger=_log)
    except (
        KafkaException
    ) as error:  # of a value that librdkafka refuses; its text has the name, not the value
        raise SettingsError(f"kafka properties: {error.args[0].str()}") from error


def _report(error: KafkaError) -> None:
    """Log an error of the client library, which retries by itself."""
    _log.warning("kafka: %s", error)
