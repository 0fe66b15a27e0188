"""What a run is measured against."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

# The fleet's groups of cars do not end with the second, and counters are read one after another.
_RATE_SHARE_MIN = 0.99


@dataclass(frozen=True)
class Bar:
    """A figure and what it must be: at most or at least the limit. None: not measured, so not met."""

    what: str
    figure: float | None
    must_be: Literal["at most", "at least"]
    limit: float

    @property
    def met(self) -> bool:
        """Whether the figure keeps to it."""
        if self.figure is None:
            return False
        return self.figure <= self.limit if self.must_be == "at most" else self.figure >= self.limit

    @property
    def shown(self) -> str:
        """The figure for the table."""
        return "-" if self.figure is None else _number(self.figure)

    @property
    def limit_shown(self) -> str:
        """The limit for the table."""
        return f"{'≤' if self.must_be == 'at most' else '≥'} {_number(self.limit)}"

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self) | {"met": self.met}


def bars(summary: Mapping[str, Any]) -> list[Bar]:
    """Those of summary.json."""
    anomaly = summary["car_to_anomaly_ms"]
    return [
        Bar("cars connected all the time", summary["connected"], "at least", summary["cars"]),
        Bar("seconds to connect", summary["seconds_to_connect"], "at most", 60),
        Bar(
            "messages a second at every stage",
            summary["rate_msgs_per_s"], "at least", _RATE_SHARE_MIN * summary["rate_asked"],
        ),
        Bar("records lost at any stage", summary["lost"], "at most", 0),
        Bar("car to anomaly, p50, ms", anomaly["p50"], "at most", 100),
        Bar("car to anomaly, p99, ms", anomaly["p99"], "at most", 1_000),
        Bar("simulator, bytes a car", summary["simulator_bytes_per_car"], "at most", 2_048),
        Bar("memory with the kernel's, MiB", summary["memory_mib"]["all"], "at most", 8_192),
    ]  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.1f}".replace(",", " ").removesuffix(".0")
