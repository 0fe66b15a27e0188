"""What the scorers of each edge report of their work, counted once, however often the log is read."""

from collections.abc import Iterable

from contract.evidence import Evidence
from contract.topics import EVIDENCE, mirrored
from trainer.watch import metrics
from trainer.watch.counts import Source


class Arrived:
    """Counts the evidence of the models in use from a moment on: Kafka's offsets count markers, too."""

    def __init__(self, edges: Iterable[str], since_ms: int) -> None:
        """`since_ms`: evidence of before is not counted, ms since 1970."""
        self._edges = {mirrored(edge, EVIDENCE): edge for edge in edges}
        self._since_ms = since_ms
        self._until_ms: dict[tuple[Source, int], int] = {}  # by source and version: what is counted already
        for edge in self._edges.values():  # a series that began with its first record would show no increase
            metrics.judged.labels(edge)
            metrics.opened.labels(edge)

    def take(self, source: Source, evidence: Evidence) -> None:
        """Count a record, unless it is a challenger's or was counted; those of a source come in order."""
        edge, place = self._edges.get(source[0]), (source, evidence.model_version)
        if edge is None or evidence.share is not None:
            return
        if evidence.until > self._until_ms.get(place, self._since_ms):
            self._until_ms[place] = evidence.until
            metrics.judged.labels(edge).inc(evidence.judged)
            metrics.opened.labels(edge).inc(evidence.openings)
