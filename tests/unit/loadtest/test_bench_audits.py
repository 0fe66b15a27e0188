"""The scorer's benchmark counts only records that the audit log proves scored."""

from loadtest.bench.loads import uncovered


def test_offsets_must_be_audited_once() -> None:
    """Gaps and overlaps between a partition's audit records are counted; they may be in any order."""
    spans = [(0, 10, 19), (0, 0, 9), (1, 0, 4)]
    names = ("partition", "first_offset", "last_offset")
    assert uncovered([dict(zip(names, span, strict=True)) for span in spans]) == 0
    spans += [(1, 7, 9), (1, 9, 12)]
    assert uncovered([dict(zip(names, span, strict=True)) for span in spans]) == 3


def test_offsets_before_the_first_one_to_score_are_no_gap() -> None:
    """A scorer that begins at an offset of each partition must cover the offsets from there on."""
    audit = {"partition": 0, "first_offset": 10, "last_offset": 19}
    assert uncovered([audit], {0: 10}) == 0
    assert uncovered([audit], {0: 8}) == 2
    assert uncovered([audit]) == 10
