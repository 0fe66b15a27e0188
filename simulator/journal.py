"""The flash memory of the cars: their counters and last samples, in one file per worker process.

The file is memory-mapped, so a SIGKILL of the process loses nothing (the page cache belongs to the kernel):
`seq` continues without a gap, and unacknowledged samples are sent again with the same seq and bytes.
"""

import fcntl
import mmap
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import SIGNALS
from plumbing.life import WorldDown
from plumbing.settings import SettingsError
from simulator.chance import F4

I8 = NDArray[np.int64]

_MAGIC = 0x324C_4E52_4A52_4143  # "CARJRNL2", little-endian
_HEADER_BYTES = 4096  # one page
_LOCK_WAIT_S = 5.0  # a predecessor that was killed may need a moment to end
# For the ledger: number of the car, seq of the last sample, seq up to which all samples were acknowledged.
PUBLISHED = np.dtype([("car", "<i8"), ("sent", "<i8"), ("acknowledged", "<i8")])

_COUNTS = 3  # sampled, acknowledged, confirmed


@dataclass(frozen=True)
class Identity:
    """What a journal was begun with; a later start must have the same values or use another folder."""

    seed: int
    first: int  # number of the first car
    cars: int
    ring: int  # samples in the ring of a car, unacknowledged and acknowledged ones
    scenario: int  # checksum of the settings of the scenario
    epoch_ms: int  # second 0 of the run, ms since 1970
    signals: int = len(SIGNALS)  # in a sample

    @property
    def kept(self) -> int:
        """Acknowledged samples that a car keeps."""
        return self.ring - self.ring // 3


_HEADER_WORDS = 1 + len(fields(Identity)) + 1  # _MAGIC, the identity, the number of reports


class Journal:
    """The flash memory of some cars.

    Every car has a ring of samples. Two thirds of it are for acknowledged samples, which a broker may still
    lose when it dies; the rest is for samples that wait for their PUBACK. New samples never overwrite
    acknowledged ones that may have to be sent again, however long a broker is away, and a car can take new
    samples while it sends those of a lost session again.
    """

    sampled: I8  # (cars,) seq of the last sample taken; 0: none, the first one has seq 1
    acknowledged: I8  # (cars,) all samples up to this seq are acknowledged; a lost session sets it back
    confirmed: I8  # (cars,) the highest value that `acknowledged` has had
    reports: I8  # (1,) number of workshop reports that are acknowledged; they are sent in order

    def __init__(self, path: Path, identity: Identity) -> None:
        """Open or begin a journal.

        Raises SettingsError if it belongs to another run or is in use, WorldDown if the disk is full.
        """
        self.identity, n, k = identity, identity.cars, identity.ring
        sizes = (_HEADER_BYTES, 8 * _COUNTS * n, 8 * n * k, 4 * n * k * len(SIGNALS))
        refuse_other(path, identity)
        self._file = locked(path)
        fresh = identity_of(path) is None
        if fresh:
            _reserve(self._file, path, sum(sizes))
        elif (size := path.stat().st_size) < sum(sizes):
            self._file.close()
            raise SettingsError(
                f"{path} is cut off: it has {size} of {sum(sizes)} bytes; restore it whole, delete it or use "
                "another --run-dir"
            )
        self._map = mmap.mmap(self._file.fileno(), sum(sizes))
        starts = np.cumsum((0, *sizes))
        header = np.frombuffer(self._map, np.int64, _HEADER_WORDS)
        self.reports = header[-1:]
        counts = np.frombuffer(self._map, np.int64, _COUNTS * n, starts[1]).reshape(_COUNTS, n)
        self.sampled, self.acknowledged, self.confirmed = counts
        self._at_ms = np.frombuffer(self._map, np.int64, n * k, starts[2]).reshape(n, k)
        signals = np.frombuffer(self._map, np.float32, n * k * len(SIGNALS), starts[3])
        self._signals: F4 = signals.reshape(n, k, len(SIGNALS))
        if fresh:
            header[1:] = (*asdict(identity).values(), 0)
            header[0] = _MAGIC  # written last: a journal without it is not begun

    def append(self, group: slice, at_ms: int, signals: F4, take: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Store a sample of each car of `group` where `take` (k,) is true; signals is (k, signals).

        Returns the rows that were stored. A car whose unacknowledged samples fill a third of its ring takes
        no sample, so that its seq has no gap.
        """
        sampled = self.sampled[group]
        waiting_max = self.identity.ring - self.identity.kept
        rows = np.flatnonzero(take & (sampled - self.confirmed[group] < waiting_max))
        car, slot = group.start + rows, (sampled[rows] + 1) % self.identity.ring
        self._at_ms[car, slot] = at_ms
        self._signals[car, slot] = signals[rows]
        sampled[rows] += 1  # last: if the process is killed before, the sample does not count as taken
        return rows

    def read(self, car: int | I8, seqs: I8) -> tuple[I8, F4]:
        """(ms since 1970 (m,), signals (m, signals)) of samples, which must still be in the ring."""
        slots = seqs % self.identity.ring
        return self._at_ms[car, slots], self._signals[car, slots]

    def session_lost(self, car: int) -> None:
        """The broker lost the car's session: its last acknowledged samples become unacknowledged again."""
        forgotten = max(0, int(self.confirmed[car]) - self.identity.kept)
        self.acknowledged[car] = min(int(self.acknowledged[car]), forgotten)

    def close(self) -> None:
        """Flush to the disk and release the file; the arrays stay readable. May be called again."""
        if self._file.closed:
            return
        self._map.flush()
        fcntl.flock(self._file, fcntl.LOCK_UN)  # the memory map holds a file descriptor of its own
        self._file.close()


def path_of(run_dir: Path, first: int) -> Path:
    """Path of the journal whose first car is `first`."""
    return run_dir / f"cars-{first:06d}.journal"


def identity_of(path: Path) -> Identity | None:
    """What the journal at `path` was begun with; None if it has not been begun.

    Raises SettingsError if the file is no journal of this version.
    """
    words = np.fromfile(path, np.int64, _HEADER_WORDS).tolist() if path.exists() else []
    if not any(words):  # no file, a new one, or its process was killed before it wrote the header
        return None
    if len(words) < _HEADER_WORDS or words[0] != _MAGIC:
        raise SettingsError(f"{path} is not a journal of this version; delete it or use another --run-dir")
    return Identity(*words[1:-1])


def refuse_other(path: Path, identity: Identity) -> None:
    """Raises SettingsError if there is a file at `path` that is not the journal of `identity`."""
    before, now = asdict(identity_of(path) or identity), asdict(identity)
    if other := [f"{name} {before[name]} (now {now[name]})" for name in now if before[name] != now[name]]:
        raise SettingsError(
            f"{path} was begun with {', '.join(other)}: use the same settings as before, another --run-dir, "
            f"or delete {path.parent}"
        )


def published(run_dir: Path, ranges: Iterable[range]) -> NDArray[np.void]:
    """What each car sent and had acknowledged, (cars,) of PUBLISHED, from the journals of these cars."""
    rows = []
    for cars in ranges:
        path, row = path_of(run_dir, cars.start), np.zeros(len(cars), PUBLISHED)
        row["car"] = cars
        if path.exists():  # otherwise its worker never started
            counts = np.fromfile(path, np.int64, _COUNTS * len(cars), offset=_HEADER_BYTES)
            row["sent"], _, row["acknowledged"] = counts.reshape(_COUNTS, len(cars))
        rows.append(row)
    return np.concatenate(rows)


def _reserve(file: BinaryIO, path: Path, size: int) -> None:
    """Allocate the space now: if the disk were full later, writing a sample would be a SIGBUS."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        file.close()
        raise WorldDown(f"no space for the journal {path} of {size >> 20} MiB: {error}") from error


def locked(path: Path) -> BinaryIO:
    """The file at `path`, created if missing and locked. Raises SettingsError if another process uses it."""
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
                    "stop it or use another folder"
                ) from error
        time.sleep(0.05)
