"""Looks at the champion's cars at equal steps of the evidence's own time: the same after every restart."""

from collections.abc import Sequence
from dataclasses import dataclass

from contract.evidence import Beyond, Evidence
from trainer.watch.counts import Source
from trainer.watch.drift import Drift, Look

# What was read of the newest looks stays as it is; of older ones the sums stay, to know when a drift began.
NEWEST, KEPT = 60, 2_880


@dataclass(frozen=True)
class PastLook:
    """A look that is over."""

    began_ms: int  # since 1970
    ended_ms: int
    look: Look
    drifts: tuple[Drift, ...]


class Looks:
    """The looks since the champion is at work. A look is over with the first record of a later one."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._newest: dict[int, dict[Source, Evidence]] = {}
        self._older: dict[int, Look] = {}

    def add(self, source: Source, evidence: Evidence) -> None:
        """Add the champion's evidence; records of several sources come in any order."""
        self._newest.setdefault(evidence.until // self._every_ms, {})[source] = evidence
        while len(self._newest) > NEWEST + 1:
            number = min(self._newest)
            look = Look.of(self._newest.pop(number).values())
            self._older[number] = _sum(self._older.get(number, Look()), look)
        while len(self._older) > KEPT - NEWEST:
            del self._older[min(self._older)]

    def over(self) -> Sequence[PastLook]:
        """The looks that are over, oldest first."""
        newest = sorted(self._newest)[:-1]
        learned_before, past = 0, list[PastLook]()
        for number in (*sorted(self._older), *newest):
            known = self._older.get(number)
            look = known or Look.of(self._newest[number].values())
            learned_before = max(learned_before, look.learned)
            drifts = Look(**vars(look) | {"learned_before": learned_before}).drifts()
            past.append(PastLook(number * self._every_ms, (number + 1) * self._every_ms, look, drifts))
        return past


def lasting(past: Sequence[PastLook], looks: int) -> tuple[Drift, ...]:
    """The newest look's drifts, if each of the last `looks` shows one; empty otherwise."""
    last = past[-looks:]
    return last[-1].drifts if len(last) == looks and all(each.drifts for each in last) else ()


def lasts_since_ms(past: Sequence[PastLook]) -> int:
    """When the first of the looks without a break began that show a drift, up to the newest."""
    sound = next((number for number, each in enumerate(reversed(past)) if not each.drifts), len(past))
    return past[-sound].began_ms if sound else 0


def recent(past: Sequence[PastLook]) -> tuple[Drift, ...]:
    """The drifts of the newest look that shows any, of the last hour if a look lasts a minute."""
    return next((each.drifts for each in reversed(past[-NEWEST:]) if each.drifts), ())


def _sum(one: Look, other: Look) -> Look:
    """Both together: scorers that were read one after the other."""
    signals = {each.name: each for each in one.signals}
    for each in other.signals:
        before = signals.get(each.name, Beyond(name=each.name, far_below=0, below=0, above=0, far_above=0))
        counts = {name: value + getattr(each, name) for name, value in vars(before).items() if name != "name"}
        signals[each.name] = Beyond(name=each.name, **counts)
    counted = ("cars", "learning", "strange", "checked", "broken_records")
    sums = {name: getattr(one, name) + getattr(other, name) for name in counted}
    return Look(**sums, signals=tuple(signals.values()))
