"""The budgets of a run, from budgets.toml, compared with what was measured."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from plumbing.settings import SettingsError

DEFAULT = Path(__file__).parent / "budgets.toml"
# The names of locust's rows, and of the tables in budgets.toml.
PUBLISH, ANOMALY, CONNECT, RECONNECT = "publish telemetry", "sample to anomaly", "connect", "reconnect"
NAMES = (PUBLISH, ANOMALY, CONNECT, RECONNECT)


@dataclass(frozen=True)
class Budget:
    """Limits of one kind of request; None: no limit."""

    p50_ms_max: float | None = None
    p99_ms_max: float | None = None
    failure_share_max: float | None = None  # 0 to 1


@dataclass(frozen=True)
class RequestStats:
    """The measurements of one kind of request."""

    requests: int
    failures: int
    p50_ms: float
    p99_ms: float

    @property
    def failure_share(self) -> float:
        """0 to 1."""
        return self.failures / self.requests


@dataclass(frozen=True)
class BudgetLine:
    """One limit and its verdict."""

    request: str  # one of NAMES
    limit: str  # the name of a field of Budget
    allowed: float
    measured: float | None  # None: no request was made

    @property
    def broken(self) -> bool:
        """Whether the limit is exceeded; NaN and a missing measurement count as exceeded."""
        return self.measured is None or not self.measured <= self.allowed

    def __str__(self) -> str:
        measured = "no request at all" if self.measured is None else f"{self.measured:g}"
        verdict = "BROKEN" if self.broken else "kept"
        return f"{self.request:<18} {self.limit:<18} {self.allowed:>10g} {measured:>18}  {verdict}"


HEADER = f"{'request':<18} {'budget':<18} {'allowed':>10} {'measured':>18}"


def read(path: Path) -> dict[str, Budget]:
    """The budgets by request. Raises SettingsError naming the file and what in it is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"budgets {path}: {error}") from error
    return {name: _budget(path, name, table) for name, table in tables.items()}


def judge(
    budgets: Mapping[str, Budget], measured: Mapping[str, RequestStats], expected: Iterable[str]
) -> list[BudgetLine]:
    """A line for every limit of the requests that were made, and of the `expected` ones even if none was."""
    lines = []
    for name, budget in budgets.items():
        stats = measured.get(name)
        if stats is None and name not in set(expected):
            continue
        for field in fields(Budget):
            allowed = getattr(budget, field.name)
            if allowed is not None:
                value = getattr(stats, field.name.removesuffix("_max")) if stats else None
                lines.append(BudgetLine(name, field.name, allowed, value))
    return lines


def _budget(path: Path, name: str, table: object) -> Budget:
    known = [field.name for field in fields(Budget)]
    if name not in NAMES or not isinstance(table, dict):
        raise SettingsError(f"budgets {path}: [{name!r}] is not a table named {', '.join(NAMES)}")
    for key, value in table.items():
        if key not in known:
            raise SettingsError(f"budgets {path}: {name!r} has no limit {key}; known are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise SettingsError(f"budgets {path}: {name!r} {key} = {value!r} must be a number from 0")
    return Budget(**table)
