"""The slice of the log that a training learns from: waited for, bounded, then read."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from confluent_kafka import Consumer

from contract.records import schema_ids
from contract.schema import Schema, versions
from contract.telemetry import Decoder
from contract.topics import MAINTENANCE, TELEMETRY, mirrored
from plumbing import kafka, registry
from plumbing.kafka import KafkaSettings
from plumbing.life import Stop, WorldDown
from plumbing.offsets import Bounds, bounds
from trainer import capacity, log_slice, quota
from trainer.history.span import since
from trainer.quota import Quota
from trainer.settings import Settings

_log = logging.getLogger("trainer")

_LOOK_EVERY_S, _LOG_EVERY_S = 0.25, 2.0


class Stopped(Exception):
    """SIGTERM came: nothing is published."""


@dataclass(frozen=True)
class Slice:
    """What was read."""

    telemetry: log_slice.Telemetry
    reports: list[log_slice.MaintenanceReport]
    offsets: Bounds  # by which it can be read again
    topic_ids: Mapping[str, str] = field(default_factory=dict)  # of the logs that these offsets are of
    quota: Quota | None = None  # within which the telemetry is; None: all records


def read(settings: Settings, stop: Stop) -> Slice:
    """Wait until the topics hold enough, fix the offsets, read them.

    Raises WorldDown, Stopped, and SettingsError as soon as it is clear that the slice can never hold enough.
    """
    deadline = time.monotonic() + settings.wait_seconds
    with closing(open_log(settings)) as consumer:
        probe_records = min(settings.wait_records, capacity.PROBE_RECORDS)
        first = wait(consumer, settings, stop, records=probe_records, deadline=deadline)
        newest = log_slice.newest(first, capacity.PROBE_RECORDS)
        probe = log_slice.telemetry(consumer, newest, decoder(settings), lambda _: stop_if_asked(stop))
        records_max = quota.records_to_read(probe, settings.records_max)
        reach = records_max / settings.records_max
        capacity.refuse_hopeless(probe, settings.learning_s, settings.records_max, reach)
        held = wait(consumer, settings, stop, records=settings.wait_records, deadline=deadline)
        offsets = log_slice.newest(held, records_max)
        offsets |= bounds(consumer, _topics(settings, MAINTENANCE))
        topic_ids = kafka.topic_ids(settings.kafka_bootstrap, settings.kafka_properties, offsets)
    stop.started()
    every = replace(read_again(settings, offsets, stop), topic_ids=topic_ids)
    return within(every, quota.fair(every.telemetry, settings.learning_s, settings.records_max))


def within(data: Slice, quota_: Quota) -> Slice:
    """The slice with the records that each car may hold."""
    return replace(data, telemetry=quota.within(data.telemetry, quota_), quota=quota_)


def read_again(settings: Settings, offsets: Bounds, stop: Stop, slice_id: str | None = None) -> Slice:
    """Read the slice of these offsets, which a manifest has, or of them the records of a kept slice.

    Raises WorldDown, also where the log does not hold all of these offsets any more, and Stopped.
    """
    telemetry_bounds, report_bounds = (
        offsets if slice_id else {topic: offsets[topic] for topic in _topics(settings, kind)}
        for kind in (TELEMETRY, MAINTENANCE)
    )
    progress = log_progress("reading", log_slice.records_in(telemetry_bounds), stop)
    with closing(open_log(settings)) as consumer:
        telemetry = log_slice.telemetry(consumer, telemetry_bounds, decoder(settings), progress, slice_id)
        reports = log_slice.reports(consumer, report_bounds, report_schemas(settings), slice_id)
    counts = {"records": len(telemetry.car), "cars": len(telemetry.cars), "reports": len(reports)}
    left_out = {"duplicates": telemetry.duplicates, "rejected": telemetry.rejected.total()}
    _log.info("the slice is read", extra=counts | left_out)
    return Slice(telemetry, reports, offsets)


def _topics(settings: Settings, kind: str) -> list[str]:
    return [mirrored(edge, kind) for edge in settings.edge_names]


def open_log(settings: Settings) -> Consumer:
    """A consumer of the cloud cluster for `plumbing.offsets`."""
    return log_slice.consumer(
        settings.kafka_bootstrap, settings.kafka_properties, f"trainer-{settings.model_name}"
    )


def wait(consumer: Consumer, settings: Settings, stop: Stop, *, records: int, deadline: float) -> Bounds:
    """The bounds of what the telemetry topics hold, once it is so many records.

    Raises WorldDown at the deadline (time.monotonic), Stopped.
    """
    topics = _topics(settings, TELEMETRY)
    progress = log_progress("waiting for records", settings.wait_records, stop)

    def held() -> Bounds:
        return since(consumer, bounds(consumer, topics), settings.from_)

    while (count := log_slice.records_in(there := held())) < records:
        if time.monotonic() > deadline:
            raise WorldDown(
                f"{', '.join(topics)}: {count} records after {settings.wait_seconds:.0f} s, "
                f"--wait-records is {settings.wait_records}"
            )
        progress(count)
        time.sleep(_LOOK_EVERY_S)
    return there


def decoder(settings: Settings) -> Decoder:
    """A decoder of every version of the telemetry schema, by the schema ids that the bridge uses."""
    ids = registry.register(settings.schema_registry_url, versions(TELEMETRY))
    return Decoder.of_all_versions(ids)


def report_schemas(settings: KafkaSettings) -> dict[int, Schema]:
    """Every version of the workshops' report, by the schema ids that the bridge uses."""
    known = versions(MAINTENANCE)
    return schema_ids(known, registry.register(settings.schema_registry_url, known))


def stop_if_asked(stop: Stop) -> None:
    """Raises Stopped once SIGTERM or SIGINT has come."""
    if stop.requested:
        raise Stopped


def log_progress(message: str, wanted: int, stop: Stop) -> Callable[[int], None]:
    """A callback that logs now and then how many records there are. It raises Stopped."""
    log_at = 0.0

    def progress(records: int) -> None:
        nonlocal log_at
        stop_if_asked(stop)
        if time.monotonic() > log_at:
            _log.info(message, extra={"found": records, "wanted": wanted})
            log_at = time.monotonic() + _LOG_EVERY_S

    return progress
