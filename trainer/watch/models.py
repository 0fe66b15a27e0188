"""Champion, challenger and the newest decision, as `models` and `models.log` have them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contract.manifest import Manifest
from contract.trial import places, reach
from trainer.publication import Entry, Publication


@dataclass(frozen=True)
class Models:
    """The models at work. Two with the same trial are equal, however its decisions are worded."""

    champion: Manifest | None = field(default=None, compare=False)
    challenger: Manifest | None = field(default=None, compare=False)
    versions: tuple[int | None, int | None] = (None, None)  # of both
    began_ms: int = 0  # when the trial began, since 1970
    decided_ms: int = field(default=0, compare=False)  # the newest decision
    decisions: int = field(default=0, compare=False)  # records of models.log
    # Since when a version is what it is now, champion or challenger.
    since_s: Mapping[int, float] = field(default_factory=dict, compare=False)

    def on_trial(self, car_id: str) -> bool:
        """Whether the challenger sees the car, whatever its share was before."""
        challenger = self.challenger
        if challenger is None:
            return False
        return bool(places([car_id.encode()], challenger.version)[0] < reach(challenger.decision))


def read(publication: Publication) -> Models:
    """The models now. Raises WorldDown."""
    history, champion, challenger = publication.history(), publication.champion(), publication.challenger()
    return Models(
        champion=champion.manifest if champion else None,
        challenger=challenger.manifest if challenger else None,
        versions=(_version(champion), _version(challenger)),
        began_ms=began_ms(history, challenger),
        decided_ms=history[-1].written_ms if history else 0,
        decisions=len(history),
        since_s={
            entry.manifest.version: entry.written_ms / 1000
            for entry in reversed(history)
            if entry.manifest.decision.published
            and (entry.manifest.decision.share is None) == (entry.manifest.version != _version(challenger))
        },
    )


def began_ms(history: Sequence[Entry], challenger: Entry | None) -> int:
    """When the challenger's trial began: another share, or that it is held, does not begin it anew."""
    began = 0
    for entry in history:
        version, decision = entry.manifest.version, entry.manifest.decision
        if version == _version(challenger):
            on_trial = decision.published and decision.share is not None
            began = (began or entry.written_ms) if on_trial else 0
        elif decision.published:  # another champion or challenger ends it
            began = 0
    return began


def _version(entry: Entry | None) -> int | None:
    return entry.manifest.version if entry else None
