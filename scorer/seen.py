"""The sequence numbers seen of each car: the highest one, and the gaps below it that are still open.

Without losses `seq` has no gaps, so one comparison recognises a new record. A gap is remembered until it is
filled: only so can a late record be told from a duplicate.

A number that cannot be true must not silence a car: `seq` may not run faster than time, nor backwards while
time goes on. Where a car says so in many samples in a row it is believed (docs/decisions/impossible-seq.md).
"""

from typing import NamedTuple

import numpy as np

from contract.varints import Longs
from scorer import metrics
from scorer.cars import ByCar, CarTable, Mask

# Gaps remembered for a car. Above it the oldest gap is dropped, and its records count as seen.
GAPS_MAX = 32
# A seq may be so much higher than the highest one, plus so many times what the time between them explains.
JUMP_MAX, PACE_MAX = 64, 4
# So many samples in a row, newer than all before, are believed whatever their seq.
BELIEVED_RUN = 64
# Highest seq of a car before its first record; no seq is one more than this.
_UNKNOWN = np.iinfo(np.int64).min


class Sifted(NamedTuple):
    """What n records are; those that are none of these are duplicates."""

    fresh: Mask  # (n,) not seen before
    late: Mask  # (n,) fresh, but older than the newest record of its car
    impossible: Mask  # (n,) neither a duplicate nor to be believed


class _Run(NamedTuple):
    """Impossible samples in a row, each newer, or with a higher seq, than all that were believed."""

    seqs: range
    began_ms: int  # time of the first one
    newest_ms: int  # the newest time believed then: if it is another one now, the run was interrupted


class SeenSequences:
    """Recognises new, late, repeated and impossible records by their car, `seq` and time."""

    def __init__(self, cars: CarTable) -> None:
        self._highest = cars.column(_UNKNOWN, np.int64)
        self._newest_ms = cars.column(_UNKNOWN, np.int64)  # time of the newest sample believed
        self._gaps = cars.column(None, object)  # a car's open gaps, list[range], ascending; None: no gap yet
        self._runs = cars.column(None, object)  # a car's _Run; None: none yet
        # Older samples are of a life of the car before it lost its memory; few cars have had one.
        self._began_ms = cars.column(_UNKNOWN, np.int64)
        self.interval_ms = 1_000.0  # median time between two samples of a car, as the model knows it

    def last(self, car: int) -> tuple[int, int]:
        """(highest seq, newest time) of a known car."""
        return int(self._highest.values[car]), int(self._newest_ms.values[car])

    def sift(self, by_car: ByCar, seq: Longs, sampled_at_ms: Longs) -> Sifted:
        """Judge n records (n,). All but the impossible ones count as seen from now on."""
        car, highest, newest = by_car.car, self._highest.values, self._newest_ms.values
        sorted_seq, sorted_ms = seq.take(by_car.order), sampled_at_ms.take(by_car.order)
        before = _before(sorted_seq, by_car, highest)
        # The first record of an unknown car may have any seq.
        odd = (sorted_seq != before + 1) | (sorted_ms < _before(sorted_ms, by_car, newest))
        odd &= before != _UNKNOWN
        fresh, late, impossible = np.ones(len(car), np.bool_), *np.zeros((2, len(car)), np.bool_)
        if odd.any():
            is_odd_car = np.isin(car, car[odd])
            for row in by_car.order[is_odd_car].tolist():
                number, at_ms = int(by_car.cars[row]), int(sampled_at_ms[row])
                fresh[row], late[row], impossible[row] = self._see(number, int(seq[row]), at_ms)
            car, sorted_seq, sorted_ms = (each[~is_odd_car] for each in (car, sorted_seq, sorted_ms))
        highest[car], newest[car] = (
            sorted_seq,
            sorted_ms,
        )  # of several records of a car the last one is stored
        return Sifted(fresh, late, impossible)

    def _see(self, car: int, seq: int, at_ms: int) -> tuple[bool, bool, bool]:
        """(fresh, late, impossible) for one record of a car with gaps, repetitions or impossible numbers."""
        highest, newest_ms = self.last(car)
        if highest == _UNKNOWN:
            self._believe(car, seq, at_ms)
            return True, False, False
        if at_ms < self._began_ms.values[car]:
            return False, False, False
        jump_max = JUMP_MAX + PACE_MAX * max(0, at_ms - newest_ms) / self.interval_ms
        if highest < seq <= highest + jump_max:
            self._open_gap(car, range(highest + 1, seq))
            self._believe(car, seq, max(newest_ms, at_ms))
            return True, False, False
        if at_ms > newest_ms or seq > highest:
            return self._doubt(car, seq, at_ms)
        filled = self._fill_gap(car, seq)
        return filled, filled, False

    def _doubt(self, car: int, seq: int, at_ms: int) -> tuple[bool, bool, bool]:
        """Judge a sample that is newer than all others of its car but not higher, or higher by too much."""
        _, newest_ms = self.last(car)
        run: _Run | None = self._runs.values[car]
        if run is None or run.newest_ms != newest_ms:
            run = _Run(range(seq, seq), at_ms, newest_ms)
        if seq in run.seqs:
            return False, False, False
        if seq != run.seqs.stop:
            run = _Run(range(seq, seq), at_ms, newest_ms)
        run = run._replace(seqs=range(run.seqs.start, seq + 1))
        if len(run.seqs) >= BELIEVED_RUN:
            self._go_on_after(run, car, seq, at_ms)
            return True, False, False
        self._runs.values[car] = run
        filled = self._fill_gap(car, seq)
        return filled, filled, not filled

    def _go_on_after(self, run: _Run, car: int, seq: int, at_ms: int) -> None:
        """Believe a car whatever was said before; what was seen of its life before is forgotten."""
        highest, newest_ms = self.last(car)
        if run.seqs.start > highest:
            self._open_gap(car, range(highest + 1, run.seqs.start))
        else:
            self._gaps.values[car] = None
            self._began_ms.values[car] = run.began_ms
        self._runs.values[car] = None
        self._believe(car, seq, max(newest_ms, at_ms))
        metrics.believed_again.inc()

    def _believe(self, car: int, seq: int, at_ms: int) -> None:
        self._highest.values[car], self._newest_ms.values[car] = seq, at_ms

    def _open_gap(self, car: int, gap: range) -> None:
        if gap:
            self._gaps.values[car] = [*(self._gaps.values[car] or []), gap][-GAPS_MAX:]

    def _fill_gap(self, car: int, seq: int) -> bool:
        """Take a seq out of the open gaps of a car; returns whether it was in one."""
        gaps = self._gaps.values[car] or []
        for number, gap in enumerate(gaps):
            if seq in gap:
                parts = [part for part in (range(gap.start, seq), range(seq + 1, gap.stop)) if part]
                self._gaps.values[car] = (gaps[:number] + parts + gaps[number + 1 :])[-GAPS_MAX:]
                return True
        return False


def _before(sorted_values: Longs, by_car: ByCar, known: Longs) -> Longs:
    """(n,) the value before each of n, sorted by car; `known`: by car, what was there before the batch."""
    before = np.empty_like(sorted_values)
    before[1:] = sorted_values[:-1]
    before[by_car.first] = known[by_car.car[by_car.first]]
    return before
