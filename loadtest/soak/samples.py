"""What every process uses, noted again and again, and how fast it grows."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from local.supervisor import Supervisor

_POINTS_MAX = 300  # of a slope: all pairs of them are compared


@dataclass(frozen=True)
class Use:
    """What a child and all that it started use at one moment."""

    # Memory of no file: pages of files that a process maps, as Kafka its indexes, are not its growth.
    mib: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Sample:
    """One look at the deployment."""

    at_s: float  # seconds after the start of the load
    uses: Mapping[str, Use]  # by child
    files: int  # in the run folder
    disk_mib: float  # of the run folder
    behind: Mapping[str, int]  # messages that wait before each stage


def uses(supervisor: Supervisor) -> dict[str, Use]:
    """The use of every child that runs."""
    found = {}
    for name, child in supervisor.children.items():
        if tree := child.tree():
            counts = [_counts(pid) for pid in tree]
            found[name] = Use(
                round(sum(map(anonymous_mib, tree)), 2),
                sum(each[0] for each in counts),
                sum(each[1] for each in counts),
            )
    return found


def anonymous_mib(pid: int) -> float:
    """Memory of a process that belongs to no file, in MiB, with what is swapped out; 0 when it is gone."""
    wanted = ("Pss_Anon:", "SwapPss:")
    with contextlib.suppress(OSError, ValueError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(wanted)) / 1024
    return 0.0


def folder_use(folder: Path) -> tuple[int, float]:
    """(files, MiB on the disk) under a folder; files that vanish meanwhile do not count."""
    files, blocks = 0, 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            files += path.is_file()
            blocks += status.st_blocks
    return files, round(blocks * 512 / 1024**2, 1)


def slope_per_h(at_s: Sequence[float], values: Sequence[float]) -> float | None:
    """How fast values (n,) at times (n,) grow an hour; None with fewer than three.

    The median of the slopes of all pairs (Theil 1950, Sen 1968): single peaks do not move it.
    """
    if len(at_s) < 3:
        return None
    step = max(1, len(at_s) // _POINTS_MAX)
    hours, y = np.array(at_s[::step]) / 3_600, np.array(values[::step])
    first, second = np.triu_indices(len(hours), 1)
    return float(np.median((y[second] - y[first]) / (hours[second] - hours[first])))


def _counts(pid: int) -> tuple[int, int]:
    """(descriptors, threads) of a process; 0 when it is gone."""
    folder = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        return len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))
    return 0, 0
