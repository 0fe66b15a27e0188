"""The slice of the log that a model learned from: found again where it was, or where it was kept.

The cloud keeps telemetry for a day. So the records that a published model learned from are copied, as they
are, to `models.slices` (docs/decisions/kept-slices.md). Trainers of several models write there at the same
time: a header of each record says to which slice it belongs.
"""

import logging
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from confluent_kafka import Consumer

from contract.manifest import Manifest, Offsets
from contract.topics import MODELS_SLICES
from plumbing import kafka
from plumbing.life import Stop, WorldDown
from plumbing.offsets import Bounds, bounds, read
from trainer import reading
from trainer.log_slice import SLICE
from trainer.quota import Quota
from trainer.settings import Settings

_log = logging.getLogger("trainer")

_QUEUED_MAX, _FLUSH_S_MAX = 50_000, 30.0  # records that wait for Kafka; the client holds 100 000


def noted(settings: Settings, draft: Manifest, *, keep: bool) -> Manifest:
    """The manifest with what it says of its slice: the ids of its topics and, with `keep`, where its copy is.

    A draft has the ids of when the slice was read. Raises WorldDown.
    """
    offsets, then = draft.training_offsets, draft.metrics.get("slice", {}).get("topic_ids", {})
    if not offsets:  # a simulated slice (quality/life) is of no log
        return draft
    now = _topic_ids(settings, [*offsets, MODELS_SLICES])
    if other := [topic for topic, topic_id in then.items() if now.get(topic) != topic_id]:
        _log.warning("the slice is not kept: %s was made anew since it was read", ", ".join(other))
        keep = False
    note = {"topic_ids": {**now, **then}, "kept": _copied(settings, _bounds(offsets)) if keep else None}
    return replace(draft, metrics={**draft.metrics, "slice": note})


def read_again(settings: Settings, manifest: Manifest, stop: Stop) -> reading.Slice:
    """The slice that a model learned from, from the log or from its copy, within the same quota.

    Raises Stopped, and WorldDown that says what became of both where neither is there any more.
    """
    offsets = _bounds(manifest.training_offsets)
    note = manifest.metrics.get("slice", {})
    ids, kept = note.get("topic_ids", {}), note.get("kept")
    now = _topic_ids(settings, [*offsets, MODELS_SLICES])
    with closing(reading.open_log(settings)) as consumer:
        if not (gone := lost(consumer, offsets, ids, now)):
            return _within(reading.read_again(settings, offsets, stop), manifest)
        version = f"version {manifest.version} cannot be rebuilt: {gone}"
        if not kept:
            raise WorldDown(f"{version}; its slice was not kept, as only those of published models are")
        copy: Bounds = {MODELS_SLICES: {0: (kept["offsets"][0], kept["offsets"][1])}}
        if copy_gone := lost(consumer, copy, ids, now):
            raise WorldDown(f"{version}; and {copy_gone}")
    _log.info("from the slice that was kept", extra={"reason": gone})
    return _within(reading.read_again(settings, copy, stop, kept["id"]), manifest)


def _within(data: reading.Slice, manifest: Manifest) -> reading.Slice:
    """Models of earlier have no quota: they learned from all records."""
    given = manifest.metrics.get("quota")
    return reading.within(data, Quota(**given)) if given else data


def lost(consumer: Consumer, offsets: Bounds, then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Why the log does not hold these offsets any more; empty while it does. Raises WorldDown.

    `then` and `now` are the ids of topics. A manifest of earlier has none: its offsets alone are compared.
    """
    for topic in offsets:
        if topic not in now:
            return f"Kafka has no topic {topic}"
        if then.get(topic, now[topic]) != now[topic]:
            return f"{topic} was made anew since (topic id {now[topic]}, then {then[topic]})"
    held = bounds(consumer, offsets)
    for topic, partitions in offsets.items():
        for number, (first, after) in partitions.items():
            oldest, end = held[topic].get(number, (0, 0))
            if first < after and not oldest <= first <= after <= end:
                return f"{topic}/{number} holds the offsets {oldest} to {end}, not {first} to {after}"
    return ""


def _bounds(offsets: Offsets) -> Bounds:
    return {topic: dict(partitions) for topic, partitions in offsets.items()}


def _topic_ids(settings: Settings, topics: list[str]) -> dict[str, str]:
    return kafka.topic_ids(settings.kafka_bootstrap, settings.kafka_properties, topics)


def _copied(settings: Settings, offsets: Bounds) -> dict[str, Any] | None:
    """Copy the records; returns where they are, or None, with a warning, where the topic is missing."""
    slice_id, failures = uuid.uuid4().hex, list[Any]()
    with closing(reading.open_log(settings)) as consumer:
        try:
            _, first = bounds(consumer, [MODELS_SLICES])[MODELS_SLICES][0]
        except WorldDown as error:
            _log.warning("the slice is not kept: %s", error)
            return None
        producer = kafka.producer(
            settings.kafka_bootstrap,
            settings.kafka_properties,
            on_failure=lambda error, _: failures.append(error),
        )
        for batch in read(consumer, offsets):
            while len(producer) > _QUEUED_MAX:
                producer.poll(0.01)
            for message in batch:
                producer.produce(MODELS_SLICES, message.value(), message.key(), headers={SLICE: slice_id})
            producer.poll(0)
        if producer.flush(_FLUSH_S_MAX) or failures:
            raise WorldDown(f"Kafka did not keep the slice: {failures[:1] or 'no answer'}")
        _, after = bounds(consumer, [MODELS_SLICES])[MODELS_SLICES][0]
    return {"id": slice_id, "offsets": [first, after]}
