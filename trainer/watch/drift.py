"""Whether the fleet has changed so that its model no longer fits: three rules, on counts alone.

The counts are the champion's own evidence, so nothing else of a car is needed and counts of several scorers
add up. A signal drifts where many cars deviate in it the same way: faults move few cars, and each its own
way. A season moves hardly any car so far, since the model expects it (docs/decisions/drift.md).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from contract.evidence import Beyond, Evidence

# Shares of the cars from which a change is a drift. Where a fifth of the cars change, a fifth is seen;
# where 30 % of the cars have faults, at most 8 % deviate in one signal the same way, and 2 % are taken for
# an unknown kind.
_SIGNAL, _STRANGE, _UNLEARNED = 0.12, 0.12, 0.12
# Fewer judged cars say nothing: with a tenth of 30 faulty, four with one fault are a matter of chance.
_CARS_MIN = 30


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One change of the fleet."""

    kind: str  # "signal", "strange" or "unlearned"
    signal: str = ""  # that drifts, of the kind "signal"
    share: float  # of the cars that show it
    reason: str  # for a person


@dataclass(frozen=True, kw_only=True)
class Look:
    """How all cars stand at one moment, by the champion's evidence."""

    cars: int = 0
    learning: int = 0
    strange: int = 0
    checked: int = 0
    broken_records: int = 0
    signals: tuple[Beyond, ...] = ()
    # Most cars that were learned at an earlier look, since the champion became the champion.
    learned_before: int = 0

    @classmethod
    def of(cls, newest: Iterable[Evidence], learned_before: int = 0) -> Self:
        """From the newest evidence of each scorer, all of it of the champion."""
        every = list(newest)
        return cls(
            cars=sum(each.cars for each in every),
            learning=sum(each.learning for each in every),
            strange=sum(each.strange for each in every),
            checked=sum(each.checked for each in every),
            broken_records=sum(each.broken for each in every),
            signals=_sums(beyond for each in every for beyond in each.signals),
            learned_before=learned_before,
        )

    @property
    def learned(self) -> int:
        """Cars that the champion has learned."""
        return self.cars - self.learning

    @property
    def broken(self) -> float:
        """The share of the records with a value that no sound sensor sends."""
        return self.broken_records / max(1, self.checked)

    def drifts(self) -> tuple[Drift, ...]:
        """The changes of the fleet that this look shows, those of most cars first."""
        found = [*self._signals(), *self._strange(), *self._unlearned()]
        return tuple(sorted(found, key=lambda drift: -drift.share))

    def _signals(self) -> Iterator[Drift]:
        judged = self.learned - self.strange
        if judged < _CARS_MIN:
            return
        for signal in self.signals:
            for far, way in ((signal.far_below, "less"), (signal.far_above, "more")):
                if (share := far / judged) > _SIGNAL:
                    reason = f"{share:.0%} of the cars send clearly {way} {signal.name} than they used to"
                    yield Drift(kind="signal", signal=signal.name, share=share, reason=reason)

    def _strange(self) -> Iterator[Drift]:
        if self.learned >= _CARS_MIN and (share := self.strange / self.learned) > _STRANGE:
            yield Drift(kind="strange", share=share, reason=f"{share:.0%} of the cars are of an unknown kind")

    def _unlearned(self) -> Iterator[Drift]:
        # A new champion and a new fleet have cars to learn that were never learned, so only a fall counts;
        # and it counts no cars whose scorer is silent, which are not among those that are learned.
        anew = min(self.learned_before - self.learned, self.learning)
        if self.cars >= _CARS_MIN and (share := anew / self.cars) > _UNLEARNED:
            reason = f"{share:.0%} of the cars have to be learned anew, as after a new firmware"
            yield Drift(kind="unlearned", share=share, reason=reason)


def _sums(every: Iterable[Beyond]) -> tuple[Beyond, ...]:
    """The counts of each signal, in the order in which the signals come."""
    sums: dict[str, Beyond] = {}
    for each in every:
        other = sums.get(each.name, Beyond(name=each.name, far_below=0, below=0, above=0, far_above=0))
        sums[each.name] = Beyond(
            name=each.name,
            far_below=each.far_below + other.far_below,
            below=each.below + other.below,
            above=each.above + other.above,
            far_above=each.far_above + other.far_above,
        )
    return tuple(sums.values())
