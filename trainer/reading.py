"""The slice of the log that a training learns from: waited for, bounded, then read."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer

from contract.framing import schema_ids
from contract.schema import schemas
from contract.telemetry import Decoder
from contract.topics import MAINTENANCE, TELEMETRY, mirrored
from plumbing import registry
from plumbing.life import Stop, WorldDown
from plumbing.offsets import Bounds, bounds
from trainer import log_slice
from trainer.settings import Settings

_log = logging.getLogger("trainer")

_LOOK_EVERY_S, _SAY_EVERY_S = 0.25, 2.0


class Stopped(Exception):
    """SIGTERM came: nothing is published."""


@dataclass(frozen=True)
class Slice:
    """What was read, and the offsets by which it can be read again."""

    telemetry: log_slice.Telemetry
    reports: list[log_slice.Report]
    offsets: Bounds


def read(told: Settings, stop: Stop) -> Slice:
    """Wait until the topics hold enough, fix the offsets, read them. Raises WorldDown, Stopped."""
    consumer = _consumer(told)
    try:
        offsets = wait(consumer, _topics(told, TELEMETRY), told, stop)
        return _between(consumer, offsets | bounds(consumer, _topics(told, MAINTENANCE)), told, stop)
    finally:
        consumer.close()


def read_again(told: Settings, offsets: Bounds, stop: Stop) -> Slice:
    """The slice of these offsets, as a manifest has them. Raises WorldDown, Stopped."""
    consumer = _consumer(told)
    try:
        return _between(consumer, offsets, told, stop)
    finally:
        consumer.close()


def _between(consumer: Consumer, offsets: Bounds, told: Settings, stop: Stop) -> Slice:
    of_telemetry, of_workshops = (
        {topic: offsets[topic] for topic in _topics(told, kind)} for kind in (TELEMETRY, MAINTENANCE)
    )
    _log.info("reading", extra={"records": log_slice.records_in(of_telemetry)})
    telemetry = log_slice.telemetry(consumer, of_telemetry, decoder(told), _saying(stop))
    reports = log_slice.reports(consumer, of_workshops)
    counts = {"records": len(telemetry.car), "cars": len(telemetry.cars), "reports": len(reports)}
    left_out = {"duplicates": telemetry.duplicates, "rejected": telemetry.rejected.total()}
    _log.info("the slice is read", extra=counts | left_out)
    return Slice(telemetry, reports, offsets)


def _topics(told: Settings, kind: str) -> list[str]:
    return [mirrored(edge, kind) for edge in told.edge_names]


def _consumer(told: Settings) -> Consumer:
    return log_slice.consumer(told.kafka_bootstrap, told.kafka_properties, f"trainer-{told.model_name}")


def wait(consumer: Consumer, topics: list[str], told: Settings, stop: Stop) -> Bounds:
    """The bounds of the slice, once the topics hold enough. Raises WorldDown when the time is over."""
    until, say_s = time.monotonic() + told.wait_seconds, 0.0
    while True:
        found = bounds(consumer, topics)
        count = log_slice.records_in(found)
        if count >= told.wait_records:
            return log_slice.newest(found, told.records_max)
        now = time.monotonic()
        if now > until:
            wanted = f"--wait-records is {told.wait_records}"
            raise WorldDown(f"{', '.join(topics)}: {count} records after {told.wait_seconds:.0f} s, {wanted}")
        if now > say_s:
            _log.info("waiting for records", extra={"found": count, "wanted": told.wait_records})
            say_s = now + _SAY_EVERY_S
        stop_if_asked(stop)
        time.sleep(_LOOK_EVERY_S)


def decoder(told: Settings) -> Decoder:
    """Of every version of the telemetry schema, by the ids that the bridge uses."""
    known = [schema for schema in schemas() if schema.name == TELEMETRY]
    return Decoder(schema_ids(known, registry.register(told.schema_registry_url, known)))


def stop_if_asked(stop: Stop) -> None:
    """Raises Stopped once SIGTERM or SIGINT has come."""
    if stop.requested:
        raise Stopped


def _saying(stop: Stop) -> Callable[[int], None]:
    """A callback that says from time to time how far the reading is."""
    say_s = time.monotonic() + _SAY_EVERY_S

    def progress(records: int) -> None:
        nonlocal say_s
        stop_if_asked(stop)
        if time.monotonic() > say_s:
            _log.info("reading", extra={"read": records})
            say_s = time.monotonic() + _SAY_EVERY_S

    return progress
