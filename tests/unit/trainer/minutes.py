"""Evidence as scorers write it, a minute at a time."""

from typing import Any

from contract import records
from contract.evidence import AT_THRESHOLD, LEVELS, Beyond, Evidence

EDGE = "edge.scores.evidence"
BEGAN_MS = 1_790_000_000_000
MINUTE_MS = 60_000


def record(version: int, minute: int, openings: int = 0, **fields: Any) -> dict[str, Any]:
    """The evidence of a minute of 100 cars."""
    crossings = tuple(openings if number <= AT_THRESHOLD else 0 for number in range(len(LEVELS)))
    until = BEGAN_MS + minute * MINUTE_MS
    usual: dict[str, Any] = {
        "scorer": "scorer-0", "model_name": "failure-detector", "model_version": version,
        "share": 0.0 if version == 2 else None, "since": until - MINUTE_MS, "until": until, "judged": 100,
        "crossings": crossings, "cars": 100,
    }  # fmt: skip
    return as_read("evidence", Evidence(**usual | fields).record())


def as_read(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """As it comes out of the log."""
    return records.decode(records.encode(name, fields))[1]


def far(minute: int, cars: int, **fields: Any) -> Evidence:
    moved = Beyond(name="battery_voltage", far_below=0, below=0, above=cars, far_above=cars)
    return Evidence.of(record(1, minute, signals=(moved,), **fields))
