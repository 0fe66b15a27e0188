"""A recording with the detector's result for every row, and the alarms in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from files.recording import Recording

TOP = 3  # signals named for a row or an alarm
_SHARE_LEAST = 0.05  # smaller shares of a score are not named


@dataclass(frozen=True)
class Scored:
    """The detector's result for N rows; for M of them also the signals' shares."""

    recording: Recording
    training: NDArray[np.bool_]  # (N,) whether the row is a training row
    score: NDArray[np.float32]  # (N,)
    level: NDArray[np.floating[Any]]  # (N,) the smoothed score
    alarm: NDArray[np.bool_]  # (N,) whether an alarm is open
    warm: NDArray[np.bool_]  # (N,) whether the machine has been watched for long enough
    explained: NDArray[np.intp]  # (M,) rows with shares, ascending
    shares: NDArray[np.float32]  # (M, K) of the score; a row adds up to 1, a share may be negative
    threshold: float

    def when(self, row: int) -> str:
        """The time of a row, for people."""
        times = self.recording.times
        if times is None:
            return f"row {int(self.recording.number[row]) + 1}"
        return times.shown(float(times.seconds[row]))

    def signals_of(self, row: int) -> list[tuple[str, float]]:
        """The signals with the largest shares of a row's score, largest first; empty without shares."""
        at = int(np.searchsorted(self.explained, row))
        if at >= len(self.explained) or self.explained[at] != row:
            return []
        share = self.shares[at]
        best = np.argsort(-share, kind="stable")[:TOP].tolist()
        return [(self.recording.columns[i], float(share[i])) for i in best if share[i] >= _SHARE_LEAST]


@dataclass(frozen=True)
class Alarm:
    """An alarm of one machine; rows are numbers in the recording."""

    machine: str
    opened: int  # first row
    closed: int  # last row, inclusive
    peak: int  # row with the highest level
    still_open: bool  # at the machine's last row


def alarms(scored: Scored) -> list[Alarm]:
    """All alarms, by machine and time."""
    machine = scored.recording.machine
    new = np.diff(machine, prepend=-1) != 0
    last = np.roll(new, -1)
    begins = scored.alarm & (new | ~np.roll(scored.alarm, 1))
    ends = scored.alarm & (last | ~np.roll(scored.alarm, -1))
    opened = []
    for first, end in zip(np.flatnonzero(begins).tolist(), np.flatnonzero(ends).tolist(), strict=True):
        peak = first + int(np.nanargmax(np.nan_to_num(scored.level[first : end + 1], nan=0.0)))
        name = scored.recording.machines[int(machine[first])]
        opened.append(Alarm(name, first, end, peak, bool(last[end])))
    return opened


def striking(scored: Scored, most: int) -> list[int]:
    """Indices of the machines to look at first: those with the highest levels."""
    count = len(scored.recording.machines)
    peak = np.full(count, -np.inf)
    seen = scored.warm & np.isfinite(scored.level)
    np.maximum.at(peak, scored.recording.machine[seen], scored.level[seen])
    return list(map(int, np.argsort(-peak, kind="stable")[:most]))
