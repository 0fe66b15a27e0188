"""What a workshop's report says: a component failed or was repaired, or an inspection found nothing.

An Avro enum without a default cannot get a third symbol: readers of version 1 would refuse the record. So
version 2 says it in a field of its own, and to readers of version 1 an inspection is a repair.
"""

from collections.abc import Mapping
from typing import Any, Literal

Action = Literal["failed", "repaired", "inspected"]
FAILED: Action = "failed"
REPAIRED: Action = "repaired"
INSPECTED: Action = "inspected"  # nothing was found


def action(report: Mapping[str, Any]) -> Action:
    """The action of a decoded report of any version. One that both failed and has nothing found: `failed`."""
    if report["action"] == FAILED:
        return FAILED
    return INSPECTED if report.get("inspected") else REPAIRED
