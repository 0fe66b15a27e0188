"""What can no longer be copied, from where MirrorMaker is and what the edge holds. No I/O."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gap:
    """Records that the cloud will never have."""

    first: int  # offset
    count: int
    reason: str  # a label of the metric


@dataclass(frozen=True)
class Copied:
    """Where MirrorMaker is in a partition."""

    next: int  # offset that it copies next
    turns: int = 0  # how often it has gone back to a lower offset


@dataclass(frozen=True)
class Held:
    """What the edge holds of a partition, of the log with this id."""

    first: int  # offset
    end: int  # offset after the last
    topic_id: str


class PartitionWatch:
    """One partition of one topic, look by look."""

    def __init__(self, copied: Copied, held: Held) -> None:
        self._topic_id = held.topic_id
        self._settled = copied.next  # everything before this offset is copied, or was said to be missing
        self._seen = copied  # where MirrorMaker was at the last look
        self._old: Copied | None = None  # where MirrorMaker was when the topic was made again

    def look(self, copied: Copied, held: Held) -> Gap | None:
        """What has come to be missing since the last look.

        Where retention deletes what was copied since then, that counts as missing, too: MirrorMaker is then
        within one look of losing records.
        """
        if held.topic_id != self._topic_id or copied.next > held.end:
            # Of the look before: by now MirrorMaker may have gone on in the new log.
            self._topic_id, self._old = held.topic_id, self._old or self._seen
        self._seen = copied
        if self._old:
            return self._look_at_new_log(self._old, copied, held)
        first, self._settled = self._settled, max(self._settled, held.first, copied.next)
        return Gap(first, held.first - first, "deleted") if held.first > first else None

    def _look_at_new_log(self, old: Copied, copied: Copied, held: Held) -> Gap | None:
        """MirrorMaker begins at the new log's first record only where it does not hold its old offset yet."""
        if copied == old or copied.next > held.end:  # it has not gone on yet
            return None
        self._old, self._settled = None, max(copied.next, held.first)
        passed_over = 0 if copied.turns > old.turns else old.next - held.first
        return Gap(held.first, passed_over, "made_again") if passed_over > 0 else None
