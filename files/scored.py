"""A recording with what the detector says of every row, and the alarms in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from files.recording import Recording
from files.times import Times

TOP = 3  # signals named for a row or an alarm
_SHARE_LEAST = 0.05  # of a score: less is not worth naming


@dataclass(frozen=True)
class Scored:
    """All (N,): `score` and its smoothed `level`; `alarm`: one is open; `warm`: the machine was learned.

    `places` (M,) are the rows whose contributions were kept, `shares` (M, K) of the score (a row's shares add
    up to 1; one may be negative).
    """

    recording: Recording
    times: Times | None
    training: NDArray[np.bool_]
    score: NDArray[np.float32]
    level: NDArray[np.floating[Any]]
    alarm: NDArray[np.bool_]
    warm: NDArray[np.bool_]
    places: NDArray[np.intp]
    shares: NDArray[np.float32]
    threshold: float

    def hours(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Since the first row of the file, or of the machine where there are no times."""
        found = self.recording
        if found.seconds is None:
            return np.asarray(found.place[rows] * found.interval_s / 3600)
        return np.asarray((found.seconds[rows] - found.seconds.min()) / 3600)

    def when(self, row: int) -> str:
        """Of a row, for people."""
        if self.times is None or self.recording.seconds is None:
            return f"row {int(self.recording.place[row]) + 1}"
        return self.times.shown(float(self.recording.seconds[row]))

    def signals_of(self, row: int) -> list[tuple[str, float]]:
        """The signals that make the score of a row, with their shares, largest first; none where not kept."""
        at = int(np.searchsorted(self.places, row))
        if at >= len(self.places) or self.places[at] != row:
            return []
        share = self.shares[at]
        best = np.argsort(-share, kind="stable")[:TOP].tolist()
        return [(self.recording.columns[i], float(share[i])) for i in best if share[i] >= _SHARE_LEAST]


@dataclass(frozen=True)
class Alarm:
    """Rows `opened` to `closed`, the last one inclusive; `still_open` at the end of the machine's rows."""

    machine: str
    opened: int
    closed: int
    peak: int
    still_open: bool


def alarms(scored: Scored) -> list[Alarm]:
    """In the order of machines and times."""
    machine = scored.recording.machine
    new = np.ones(len(machine), bool)
    new[1:] = np.diff(machine) != 0
    begins = scored.alarm & (new | ~np.roll(scored.alarm, 1))
    last = np.roll(new, -1)
    ends = scored.alarm & (last | ~np.roll(scored.alarm, -1))
    found = []
    for first, end in zip(np.flatnonzero(begins).tolist(), np.flatnonzero(ends).tolist(), strict=True):
        peak = first + int(np.nanargmax(np.nan_to_num(scored.level[first : end + 1], nan=0.0)))
        name = scored.recording.machines[int(machine[first])]
        found.append(Alarm(name, first, end, peak, bool(last[end])))
    return found


def striking(scored: Scored, most: int) -> list[int]:
    """Machines to look at first: those with alarms, then those that came nearest to one; places."""
    count = len(scored.recording.machines)
    peak = np.full(count, -np.inf)
    seen = scored.warm & np.isfinite(scored.level)
    np.maximum.at(peak, scored.recording.machine[seen], scored.level[seen])
    return list(map(int, np.argsort(-peak, kind="stable")[:most]))
