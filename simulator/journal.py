"""What a car keeps in flash: how far it has counted, and its last samples. One file per worker process.

The file is a memory map, so a SIGKILL of the process loses nothing (the page cache belongs to the kernel),
`seq` goes on without a gap, and what was not acknowledged is sent again with the same seq and bytes.
"""

import fcntl
import mmap
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import SIGNALS
from plumbing.life import WorldDown
from plumbing.settings import SettingsError
from simulator.chance import F4

I8 = NDArray[np.int64]

_MAGIC = 0x314C_4E52_4A52_4143  # "CARJRNL1", little-endian
_HEADER_BYTES = 4096  # one page
_HEADER_WORDS = ("magic", "seed", "first", "cars", "ring", "wear", "epoch_ms", "reports_acknowledged")
_LOCK_WAIT_S = 5.0  # a predecessor that was killed needs a moment to be gone
# The cars' own record for the ledger: number, seq of the last sample, seq up to which all were acknowledged.
PUBLISHED = np.dtype([("car", "<i8"), ("sent", "<i8"), ("acknowledged", "<i8")])

_COUNTS = 3  # sampled, acknowledged, confirmed


@dataclass(frozen=True)
class Identity:
    """What a journal was begun with; another run must be told the same, or take another folder."""

    seed: int
    first: int  # number of the first car
    cars: int
    ring: int  # samples in a car's ring, those that wait and those that were acknowledged
    wear: int  # checksum of how the faults are drawn
    epoch_ms: int  # second 0 of the run, ms since 1970

    @property
    def kept(self) -> int:
        """Samples that a car keeps although they were acknowledged."""
        return self.ring - self.ring // 3


class Journal:
    """The flash of some cars; arrays (cars,) int64 that live in the file.

    sampled: seq of the last sample taken (0: none; the first has seq 1).
    acknowledged: every seq up to it needs no sending; a broker that lost its session sets it back.
    confirmed: the highest that `acknowledged` has ever been.

    Two thirds of a ring are for samples that were acknowledged, since a broker may die with them; the rest is
    for those that wait. So a sample is there for as long as it may have to be sent again, however long a
    broker is away, and a car samples on while a lost session's are sent again.
    """

    def __init__(self, path: Path, identity: Identity) -> None:
        """Open or begin a journal.

        Raises SettingsError where it is another run's or in use, WorldDown where there is no room for it.
        """
        self.identity, n, k = identity, identity.cars, identity.ring
        sizes = (_HEADER_BYTES, 8 * _COUNTS * n, 8 * n * k, 4 * n * k * len(SIGNALS))
        self._file = locked(path)
        header = np.frombuffer(self._file.read(8 * len(_HEADER_WORDS)), np.int64)
        fresh = not header.any()  # new, or its beginner was killed before it wrote the header
        if fresh:
            _reserve(self._file, path, sum(sizes))
        elif other := _difference(path, header, identity):
            self._file.close()
            raise SettingsError(other)
        self._map = mmap.mmap(self._file.fileno(), sum(sizes))
        starts = np.cumsum((0, *sizes))
        self._header = np.frombuffer(self._map, np.int64, len(_HEADER_WORDS))
        counts = np.frombuffer(self._map, np.int64, _COUNTS * n, starts[1]).reshape(_COUNTS, n)
        self.sampled, self.acknowledged, self.confirmed = counts
        self._at_ms = np.frombuffer(self._map, np.int64, n * k, starts[2]).reshape(n, k)
        signals = np.frombuffer(self._map, np.float32, n * k * len(SIGNALS), starts[3])
        self._signals: F4 = signals.reshape(n, k, len(SIGNALS))
        if fresh:
            self._header[1:] = (*asdict(identity).values(), 0)
            self._header[0] = _MAGIC  # last: a journal without it was never begun

    def append(self, group: slice, at_ms: int, signals: F4, take: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Keep a sample (k, 18) of each car of `group` where `take` (k,); returns which rows were kept.

        A car with a third of a ring of samples that were never acknowledged takes none: its seq has no gap.
        """
        sampled = self.sampled[group]
        waiting_max = self.identity.ring - self.identity.kept
        rows = np.flatnonzero(take & (sampled - self.confirmed[group] < waiting_max))
        car, slot = group.start + rows, (sampled[rows] + 1) % self.identity.ring
        self._at_ms[car, slot] = at_ms
        self._signals[car, slot] = signals[rows]
        sampled[rows] += 1  # last: a kill before it leaves a sample that was never taken
        return rows

    def read(self, car: int | I8, seqs: I8) -> tuple[I8, F4]:
        """(ms since 1970 (m,), signals (m, 18)) of samples, which must still be in the ring of their car."""
        slots = seqs % self.identity.ring
        return self._at_ms[car, slots], self._signals[car, slots]

    def session_lost(self, car: int) -> None:
        """The broker forgot the car: the last samples that were acknowledged are unacknowledged again."""
        forgotten = max(0, int(self.confirmed[car]) - self.identity.kept)
        self.acknowledged[car] = min(int(self.acknowledged[car]), forgotten)

    @property
    def reports_acknowledged(self) -> int:
        """How many of the workshop's reports, in the order in which they are told, need no sending."""
        return int(self._header[-1])

    @reports_acknowledged.setter
    def reports_acknowledged(self, count: int) -> None:
        """Remember it."""
        self._header[-1] = count

    @property
    def closed(self) -> bool:
        """Whether the file was let go of."""
        return self._file.closed

    def close(self) -> None:
        """Write everything to the disk and let go of the file; the arrays stay readable."""
        self._map.flush()
        fcntl.flock(self._file, fcntl.LOCK_UN)  # the map holds a file descriptor of its own
        self._file.close()


def path_of(run_dir: Path, first: int) -> Path:
    """Where the journal of the cars from `first` on lies."""
    return run_dir / f"cars-{first:06d}.journal"


def epoch_ms(run_dir: Path, first: int) -> int | None:
    """Second 0 of the run whose journals, the first that of car `first`, lie in `run_dir`; None without."""
    try:
        with path_of(run_dir, first).open("rb") as file:
            header = np.frombuffer(file.read(8 * len(_HEADER_WORDS)), np.int64)
    except FileNotFoundError:
        return None
    known = len(header) == len(_HEADER_WORDS) and header[0] == _MAGIC
    return int(header[_HEADER_WORDS.index("epoch_ms")]) if known else None


def published(run_dir: Path, parts: Iterable[range]) -> NDArray[np.void]:
    """(cars,) of PUBLISHED: what each car sent and had acknowledged, from the journals of `parts`."""
    rows = []
    for part in parts:
        path, row = path_of(run_dir, part.start), np.zeros(len(part), PUBLISHED)
        row["car"] = part
        if path.exists():  # else its worker came to nothing
            counts = np.fromfile(path, np.int64, _COUNTS * len(part), offset=_HEADER_BYTES)
            row["sent"], _, row["acknowledged"] = counts.reshape(_COUNTS, len(part))
        rows.append(row)
    return np.concatenate(rows)


def _reserve(file: BinaryIO, path: Path, size: int) -> None:
    """Take the room now: a disk that is full later would be a SIGBUS in the middle of a sample."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        file.close()
        raise WorldDown(f"no room for the journal {path} of {size >> 20} MiB: {error}") from error


def refuse_other(path: Path, identity: Identity) -> None:
    """Raises SettingsError where a journal lies at `path` that was begun with something else."""
    if path.exists():
        with path.open("rb") as file:
            header = np.frombuffer(file.read(8 * len(_HEADER_WORDS)), np.int64)
        if header.any() and (other := _difference(path, header, identity)):
            raise SettingsError(other)


def locked(path: Path) -> BinaryIO:
    """The file at `path`, made where missing, for this process alone. Raises SettingsError where in use."""
    path.touch()
    file = path.open("r+b")
    give_up_at = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError as error:
            if time.monotonic() > give_up_at:
                file.close()
                raise SettingsError(
                    f"--run-dir {path.parent}: {path.name} is in use by another simulator; "
                    "stop it or take another folder"
                ) from error
        time.sleep(0.05)


def _difference(path: Path, header: I8, identity: Identity) -> str:
    """Why this is not the journal of `identity`; empty where it is."""
    if len(header) < len(_HEADER_WORDS) or header[0] != _MAGIC:
        return f"{path} is no journal of this version; delete it or take another --run-dir"
    written = dict(zip(_HEADER_WORDS, header.tolist(), strict=True))
    told: dict[str, Any] = asdict(identity)
    other = [f"{name} {written[name]} (now {now})" for name, now in told.items() if written[name] != now]
    if not other:
        return ""
    return (
        f"{path} was begun with {', '.join(other)}: give the same settings again, "
        f"take another --run-dir, or delete {path.parent}"
    )
