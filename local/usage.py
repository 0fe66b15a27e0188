"""CPU and memory of the deployment's processes, by component."""

import contextlib
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from local.supervisor import Supervisor, pss_mib

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Use:
    """What one component used while it was measured."""

    cpu_percent: float  # of one core
    rss_mib: float  # PSS at the end of the measurement
    cpu_s: float
    processes: int  # that do the work: a simulator's parent only supervises its workers


class Usage:
    """Measures from its creation on.

    A child counts with its whole process tree; children `name-0`, `name-1` … are one component `name`. The
    CPU time of a process that has ended counts up to the last `look`.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor, self._since = supervisor, time.monotonic()
        self._spent: dict[tuple[str, int], float] = {}  # CPU time in s by component and process id
        self.look()
        self._before = dict(self._spent)

    def look(self) -> None:
        """Note the CPU time of every process that runs now."""
        for name, child in self._supervisor.children.items():
            for pid in child.tree():
                self._spent[component(name), pid] = cpu_s(pid) or self._spent.get((component(name), pid), 0.0)

    def by_component(self) -> dict[str, Use]:
        """Every component's use since the start of the measurement."""
        self.look()
        seconds = max(time.monotonic() - self._since, 1e-9)
        spent: dict[str, float] = defaultdict(float)
        for key, value in self._spent.items():
            spent[key[0]] += value - self._before.get(key, 0.0)
        memory: dict[str, float] = defaultdict(float)
        processes: dict[str, int] = defaultdict(int)
        for name, child in self._supervisor.children.items():
            tree, kind = child.tree(), component(name)
            memory[kind] += sum(map(pss_mib, tree))
            processes[kind] += len(tree[1:] if kind == "simulator" else tree[:1])
        return {
            name: Use(
                round(100 * value / seconds, 1), round(memory[name], 1), round(value, 3), processes[name]
            )
            for name, value in spent.items()
        }


def component(name: str) -> str:
    """The component of a child: `scorer-1` belongs to `scorer`."""
    stem, dash, number = name.rpartition("-")
    return stem if dash and number.isdigit() else name


def cpu_s(pid: int) -> float:
    """User and system time of a process in s, 0 when it is gone: fields 14 and 15 of stat in proc(5)."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return 0.0
