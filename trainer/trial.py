"""What a person or the watcher decides about a trial; each decision is one transaction.

Whoever decides becomes the publisher first and then reads again which models are champion and challenger: a
decision that somebody else has taken meanwhile is not taken a second time.
"""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract.manifest import Decision, Manifest
from trainer.publication import Entry, NotPublishable, Publication, newest_published

_log = logging.getLogger("trainer")

WITHDRAWN = "withdrawn: "  # begins the reasons of such a decision


@dataclass(frozen=True)
class Seen:
    """The trial that a decision is about: whoever looked at its evidence saw these."""

    champion: int
    challenger: int
    share: float | None


def goes_on(publication: Publication, share: float | None) -> bool:
    """Whether a model that is to go on trial with this share would displace another. Raises WorldDown."""
    challenger = publication.challenger() if share is not None else None
    if challenger:
        _log.info("a trial goes on: no other is begun", extra={"on_trial": challenger.manifest.version})
    return challenger is not None


def promote(
    publication: Publication,
    version: int,
    reasons: tuple[str, ...],
    *,
    share: float | None = None,
    threshold: float | None = None,
    evidence: Mapping[str, Any] | None = None,
    seen: Seen | None = None,
) -> Manifest:
    """Make a version that passed the gate the champion or, with a share, the challenger of the champion.

    threshold: instead of the version's own. Raises NotPublishable, WorldDown.
    """
    champion, challenger = _opened(publication, seen)
    entry = newest_published(publication.history(), version)
    on_trial = challenger is not None and challenger.manifest.version == version
    if champion and champion.manifest.version == version:
        raise NotPublishable(f"version {version} is the champion already")
    if share is not None and champion is None:
        raise NotPublishable(f"there is no champion beside which version {version} could be on trial")
    if on_trial and challenger and share is not None and challenger.manifest.decision.share == share:
        raise NotPublishable(f"version {version} is on trial with a share of {share:g} already")
    entry = challenger if on_trial and challenger else entry
    if challenger and not on_trial:
        reasons = (*reasons, f"the trial of version {challenger.manifest.version} ends")
    held = on_trial and share is not None and entry.manifest.decision.held
    decision = dataclasses.replace(
        entry.manifest.decision, published=True, reasons=reasons, share=share, held=held
    )
    return _write(publication, entry, decision, evidence, threshold)


def hold(publication: Publication, version: int, reasons: tuple[str, ...]) -> Manifest:
    """From now on only a person promotes the challenger. Raises NotPublishable, WorldDown."""
    challenger = _on_trial(_opened(publication)[1], version)
    if challenger.manifest.decision.held:
        raise NotPublishable(f"version {version} is held already")
    decision = dataclasses.replace(challenger.manifest.decision, reasons=reasons, held=True)
    return _write(publication, challenger, decision)


def withdraw(
    publication: Publication,
    version: int,
    reasons: tuple[str, ...],
    *,
    evidence: Mapping[str, Any] | None = None,
    seen: Seen | None = None,
) -> Manifest:
    """End the trial; the champion stays, and scores all cars again. Raises NotPublishable, WorldDown."""
    challenger = _on_trial(_opened(publication, seen)[1], version)
    first, *others = reasons
    decision = Decision(published=False, reasons=(WITHDRAWN + first, *others))
    return _write(publication, challenger, decision, evidence)


def verdict(decision: Decision) -> str:
    """A decision in one or two words: published, on trial, refused, withdrawn."""
    if decision.published:
        if decision.share is None:
            return "published"
        return f"on trial, share {decision.share:g}" + (", held" if decision.held else "")
    return "withdrawn" if decision.reasons and decision.reasons[0].startswith(WITHDRAWN) else "refused"


def _opened(publication: Publication, seen: Seen | None = None) -> tuple[Entry | None, Entry | None]:
    """(champion, challenger) as they are once nobody else publishes.

    Raises NotPublishable where they are not those that were seen.
    """
    publication.open()
    champion, challenger = publication.champion(), publication.challenger()
    now = (
        champion.manifest.version if champion else None,
        challenger.manifest.version if challenger else None,
        challenger.manifest.decision.share if challenger else None,
    )
    if seen and now != dataclasses.astuple(seen):
        raise NotPublishable("another decision was taken meanwhile")
    return champion, challenger


def _on_trial(challenger: Entry | None, version: int) -> Entry:
    if challenger is None:
        raise NotPublishable(f"version {version} is not on trial: there is no trial")
    if challenger.manifest.version != version:
        raise NotPublishable(f"version {version} is not on trial, version {challenger.manifest.version} is")
    return challenger


def _write(
    publication: Publication,
    entry: Entry,
    decision: Decision,
    evidence: Mapping[str, Any] | None = None,
    threshold: float | None = None,
) -> Manifest:
    metrics = dict(entry.manifest.metrics) | ({"trial": dict(evidence)} if evidence else {})
    manifest = dataclasses.replace(
        entry.manifest,
        decision=decision,
        metrics=metrics,
        threshold=entry.manifest.threshold if threshold is None else threshold,
    )
    publication.write(manifest, entry.tflite)
    return manifest
