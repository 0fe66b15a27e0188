"""Evidence of the two models of a trial, added up while the log is read."""

from collections.abc import Iterable, Mapping

from contract.evidence import LEVELS, Evidence
from trainer.watch.verdict import Standing, silent_tolerated

Source = tuple[str, str]  # (topic, scorer): two edges may have scorers of the same name

_STALE_INTERVALS = 3  # a scorer that was silent for as long is gone, and others have its cars
_WEEK_S = 7 * 86_400.0


class Counts:
    """The counts of one model."""

    def __init__(self) -> None:
        self.judged = self.alone = self.unwritten = 0
        self.crossings = [0] * len(LEVELS)
        self.newest: dict[Source, Evidence] = {}

    def add(self, source: Source, evidence: Evidence) -> None:
        """Add a record; those of a source come in order."""
        self.judged += evidence.judged
        self.alone += evidence.alone
        self.unwritten += evidence.unwritten
        self.crossings = [a + b for a, b in zip(self.crossings, evidence.crossings, strict=True)]
        self.newest[source] = evidence

    def standing(
        self, version: int, sample_interval_s: float, explained: int = 0, explained_elsewhere: int = 0
    ) -> Standing:
        """As the verdict takes it."""
        now = alive(self.newest)
        return Standing(
            version=version,
            car_weeks=self.judged * sample_interval_s / _WEEK_S,
            crossings=tuple(self.crossings),
            alone=self.alone,
            unwritten=self.unwritten,
            explained=explained,
            explained_elsewhere=explained_elsewhere,
            cars=sum(each.cars for each in now),
            learning=sum(each.learning for each in now),
            strange=sum(each.strange for each in now),
        )


class TrialCounts:
    """Champion and challenger since their trial began; without a challenger the champion alone."""

    def __init__(self, champion: int, challenger: int | None, began_ms: int, on_trial: float = 1.0) -> None:
        """`on_trial`: the share of the cars that take part, whatever the challenger scores."""
        self.champion, self.challenger = Counts(), Counts()
        self._versions = (champion, challenger)
        self._began_ms, self._on_trial = began_ms, on_trial
        self._learned_ms: dict[Source, int] = {}

    def add(self, source: Source, evidence: Evidence) -> None:
        """Add a record of one of both models, from after the beginning of the trial; leave out others."""
        if evidence.until <= self._began_ms:
            return
        champion, challenger = self._versions
        if evidence.share is None and evidence.model_version == champion:
            self.champion.add(source, evidence)
        elif evidence.share is not None and evidence.model_version == challenger:
            before = self.challenger.newest.get(source)
            if (
                before and max(before.share or 0, self._on_trial) < evidence.share
            ):  # more cars, not learned yet
                self._learned_ms.pop(source, None)
            self.challenger.add(source, evidence)
            control = self.champion.newest.get(source)
            if source not in self._learned_ms and control and _judges_as_many(evidence, control):
                self._learned_ms[source] = evidence.until

    @property
    def both_judge_since_ms(self) -> int | None:
        """When the challenger judged as many cars as the champion, by every scorer; None: not yet."""
        sources = _alive_sources(self.challenger.newest)
        if not sources or any(source not in self._learned_ms for source in sources):
            return None
        return max(self._learned_ms[source] for source in sources)


def alive(newest: Mapping[Source, Evidence]) -> list[Evidence]:
    """The newest evidence of the scorers that are still there."""
    return [newest[source] for source in _alive_sources(newest)]


def _alive_sources(newest: Mapping[Source, Evidence]) -> Iterable[Source]:
    last_ms = max((each.until for each in newest.values()), default=0)
    return [
        source
        for source, each in newest.items()
        if last_ms - each.until <= _STALE_INTERVALS * max(1, each.until - each.since)
    ]


def _judges_as_many(challenger: Evidence, champion: Evidence) -> bool:
    silent, silent_champion = (each.learning + each.strange for each in (challenger, champion))
    return silent <= silent_tolerated(silent_champion, champion.cars, challenger.cars)
