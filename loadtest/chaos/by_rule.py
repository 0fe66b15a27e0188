"""Records that are not lost but left out by rule, as the services say."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from contract import records
from contract.bounds import latest_ms
from contract.schema import SCHEMAS
from contract.topics import REJECTED, TELEMETRY
from contract.varints import Longs
from loadtest.chaos.auditor import Gap
from local.ledger import SEQ_BITS, read_topic

_HEADERS = {each.fingerprint: records.confluent_header(each.schema_id) for each in SCHEMAS}


def refused(edge_bootstrap: str, car_ids: Sequence[str]) -> Longs:
    """The records (k,), each once, whose dead letters say that their time is ahead of ours, and it is.

    A bridge refuses them as they came over MQTT; those that a bridge of 0.2 forwarded, a scorer refuses.
    Raises WorldDown.
    """
    cars = {car_id: number for number, car_id in enumerate(car_ids)}
    found = set()
    for message in (each for batch in read_topic(edge_bootstrap, REJECTED) for each in batch):
        if dict(message.headers() or ()).get("reason") != b"impossible_time":
            continue
        schema, record = records.decode(_as_in_kafka(message.value()))
        if schema != TELEMETRY or record["car_id"] not in cars:
            continue
        if record["sampled_at"] > latest_ms(message.timestamp()[1]):
            found.add(cars[record["car_id"]] << SEQ_BITS | record["seq"])
    return np.array(sorted(found), np.int64)


def deleted(logs: Path, service: str) -> list[Gap]:
    """The gaps in telemetry that a service's logs name: deleted before they were read."""
    return [gap for path in logs.glob(f"{service}*.log") for gap in gaps_in(path.read_text(errors="replace"))]


def gaps_in(log: str) -> list[Gap]:
    """The gaps that the text of a log names."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [
        Gap(line["partition"], line["offset"], line["records"])
        for line in lines
        if {"partition", "offset", "records"} <= line.keys()
        and "deleted" in line["message"]
        and line.get("topic", TELEMETRY) == TELEMETRY
    ]


def records_in(gaps: Iterable[Gap]) -> int:
    """How many records are in gaps; one that was named twice counts once."""
    offsets = {(partition, first + n) for partition, first, count in gaps for n in range(count)}
    return len(offsets)


def _as_in_kafka(value: bytes) -> bytes:
    if value.startswith(b"\xc3\x01"):
        fingerprint, body = records.split_single_object(value)
        return _HEADERS[fingerprint] + body
    return value
