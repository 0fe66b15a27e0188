"""The scorer's benchmark counts only records that the audit log proves scored."""

from loadtest.bench.scorer import Audits


def test_offsets_must_be_audited_once() -> None:
    """Gaps and overlaps between a partition's audit records are counted; spans may arrive in any order."""
    audits = object.__new__(Audits)
    audits.spans = [(0, 10, 19), (0, 0, 9), (1, 0, 4)]
    assert audits.uncovered() == 0
    audits.spans += [(1, 7, 9), (1, 9, 12)]
    assert audits.uncovered() == 3
