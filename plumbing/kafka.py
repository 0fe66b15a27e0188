"""Kafka clients with the settings that measuring chose; every one can be overridden."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from plumbing.life import Stop, WorldDown
from plumbing.settings import SettingsError

_log = logging.getLogger(__name__)

# Short, since nothing else happens meanwhile, not even the end after a SIGTERM.
_ANSWER_TIMEOUT_S, _LOOK_AGAIN_S = 2.0, 0.5

_COMMON: dict[str, Any] = {
    "log.connection.close": False,  # an idle connection that the broker closes is no news
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 2_000,
}
_PRODUCER: dict[str, Any] = _COMMON | {
    "enable.idempotence": True,  # acks=all, and no reordering or doubling by retries
    "partitioner": "murmur2_random",  # Java's: every client puts a car on the same partition
    "compression.type": "lz4",
    "linger.ms": 5,
}
_CONSUMER: dict[str, Any] = _COMMON | {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "allow.auto.create.topics": False,
    # The default second of waiting after a full queue caps a consumer that catches up at 200 000 records/s.
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 16_384,
}


def producer(
    bootstrap: str,
    properties: Path | None = None,
    on_failure: Callable[[KafkaError, Any], None] | None = None,
    **overrides: Any,
) -> Producer:
    """A producer; `overrides`, librdkafka's names with `_` for `.`, are stronger than the file's.

    `on_failure` hears of every message that Kafka did not take and of no other: a report for each message
    costs as much as all the rest. A producer that holds none any more (`len`, `flush`) has delivered.
    """
    config = _config(_PRODUCER, bootstrap, properties, overrides)
    if on_failure is not None:
        config |= {"on_delivery": on_failure, "delivery.report.only.error": True}
    return Producer(config, logger=_log)


def consumer(bootstrap: str, properties: Path | None = None, **overrides: Any) -> Consumer:
    """A consumer that commits only what it is told to; overrides as for `producer`."""
    return Consumer(_config(_CONSUMER, bootstrap, properties, overrides), logger=_log)


def wait_for_topics(
    client: Consumer | Producer, topics: tuple[str, ...], timeout_s: float, stop: Stop | None = None
) -> None:
    """Return once every topic is there, or at a `stop`. Raises WorldDown naming what is not there in time.

    What is waited for is said at once, so that nobody has to wait for the end to see a wrong setting.
    """
    deadline, said = time.monotonic() + timeout_s, False
    while stop is None or not stop.requested:
        missing = _missing(client, topics)
        if not missing:
            return
        if time.monotonic() >= deadline:
            raise WorldDown(f"{missing} (waited {timeout_s:.0f} s)")
        if not said:
            _log.warning("%s; looking again for %.0f s", missing, timeout_s)
            said = True
        time.sleep(_LOOK_AGAIN_S)


def _missing(client: Consumer | Producer, topics: tuple[str, ...]) -> str:
    """What is not there, in words; empty when all is."""
    try:
        found = client.list_topics(timeout=_ANSWER_TIMEOUT_S).topics
    except KafkaException as error:
        return f"no Kafka broker answers, is --kafka-bootstrap right? {error}"
    absent = [topic for topic in topics if topic not in found]
    if absent:
        return f"Kafka has no topic {', '.join(absent)}: create it first (contract/topics.py)"
    bare = [topic for topic in topics if not found[topic].partitions]
    if bare:
        why = "; ".join(f"{topic}: {found[topic].error or 'none yet'}" for topic in bare)
        return f"Kafka has topics without partitions, create them again (contract/topics.py): {why}"
    return ""


def read_properties(path: Path) -> dict[str, str]:
    """`key=value` lines (librdkafka's names; security settings for instance). Raises SettingsError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"kafka properties: {error}") from error
    pairs = {}
    for number, line in enumerate(lines, 1):
        key, equals, value = line.strip().partition("=")
        if key and not key.startswith("#"):
            if not equals:
                raise SettingsError(f"{path}:{number}: no key=value")  # without the line: a secret?
            pairs[key.strip()] = value.strip()
    return pairs


def _config(
    base: dict[str, Any], bootstrap: str, properties: Path | None, overrides: dict[str, Any]
) -> dict[str, Any]:
    chosen = {key.replace("_", "."): value for key, value in overrides.items()}
    filed = read_properties(properties) if properties else {}
    return base | filed | {"bootstrap.servers": bootstrap, "error_cb": _report} | chosen


def _report(error: KafkaError) -> None:
    """The client library retries by itself; we only say what it sees."""
    _log.warning("kafka: %s", error)
