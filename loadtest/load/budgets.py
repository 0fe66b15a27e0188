"""The budgets of a run, from budgets.toml, compared with what was measured."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from loadtest.output import Bar
from plumbing.settings import SettingsError

DEFAULT = Path(__file__).parent / "budgets.toml"
# The names of locust's rows, and of the tables in budgets.toml.
PUBLISH, ANOMALY, CONNECT, RECONNECT = "publish telemetry", "sample to anomaly", "connect", "reconnect"
NAMES = (PUBLISH, ANOMALY, CONNECT, RECONNECT)
LIMITS = ("p50_ms_max", "p99_ms_max", "failure_share_max")  # times in ms, shares from 0 to 1
Limits = Mapping[str, Mapping[str, float]]  # by the name of the request, by the name of the limit


@dataclass(frozen=True)
class BudgetLine:
    """One limit and its verdict."""

    request: str  # one of NAMES
    limit: str  # one of LIMITS
    allowed: float
    measured: float | None  # None: no request was made

    @property
    def broken(self) -> bool:
        """Whether the limit is exceeded; NaN and a missing measurement count as exceeded."""
        return not Bar(self.allowed).met(self.measured)

    def __str__(self) -> str:
        measured = "no request at all" if self.measured is None else f"{self.measured:g}"
        verdict = "BROKEN" if self.broken else "kept"
        return f"{self.request:<18} {self.limit:<18} {self.allowed:>10g} {measured:>18}  {verdict}"


HEADER = f"{'request':<18} {'budget':<18} {'allowed':>10} {'measured':>18}"


def read(path: Path) -> Limits:
    """The budgets of a file. Raises SettingsError naming the file and what in it is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"budgets {path}: {error}") from error
    for name, table in tables.items():
        if name not in NAMES or not isinstance(table, dict):
            raise SettingsError(f"budgets {path}: [{name!r}] is not a table named {', '.join(NAMES)}")
        for key, value in table.items():
            if key not in LIMITS:
                known = ", ".join(LIMITS)
                raise SettingsError(f"budgets {path}: {name!r} has no limit {key}; known are {known}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise SettingsError(f"budgets {path}: {name!r} {key} = {value!r} must be a number from 0")
    return tables


def judge(budgets: Limits, measured: Limits, expected: Collection[str]) -> list[BudgetLine]:
    """A line for every limit of the requests that were made, and of the `expected` ones even if none was.

    `measured` has the figure for every limit of a request that was made.
    """
    return [
        BudgetLine(name, limit, allowed, measured[name][limit] if name in measured else None)
        for name, budget in budgets.items()
        if name in measured or name in expected
        for limit, allowed in budget.items()
    ]
