"""The scorer's benchmark counts only records that the audit log proves scored."""

from loadtest.bench.scorer import uncovered


def test_offsets_must_be_audited_once() -> None:
    """Gaps and overlaps between a partition's audit records are counted; they may be in any order."""
    spans = [(0, 10, 19), (0, 0, 9), (1, 0, 4)]
    names = ("partition", "first_offset", "last_offset")
    assert uncovered([dict(zip(names, span, strict=True)) for span in spans]) == 0
    spans += [(1, 7, 9), (1, 9, 12)]
    assert uncovered([dict(zip(names, span, strict=True)) for span in spans]) == 3
