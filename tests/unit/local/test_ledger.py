"""The ledger counts what is lost, doubled and scored twice."""

import numpy as np
import pytest

from local.ledger import Log, Published, cover, scored_stage
from local.ledger import _stage as stage

PUBLISHED = Published(["car-000000", "car-000001"], np.array([3, 2]), np.array([3, 2]))


def record(car: int, seq: int) -> int:
    return car << 34 | seq


def log(*records: int, partition: int = 0) -> Log:
    count = len(records)
    none = np.zeros(count, np.int64)
    return Log(np.full(count, partition), np.arange(count), np.array(records, np.int64), none, none)


def audit(first: int, last: int, scored: int, partition: int = 0) -> dict[str, int]:
    return {"partition": partition, "first_offset": first, "last_offset": last, "scored": scored}


ALL = [record(0, 1), record(1, 1), record(0, 2), record(1, 2), record(0, 3)]


def test_complete_stage_has_no_loss() -> None:
    """Every record that was sent and is there once is counted once."""
    found = stage("edge_kafka", PUBLISHED, np.array(ALL))
    assert (found.expected, found.distinct, found.duplicates, found.lost) == (5, 5, 0, 0)


def test_missing_record_is_lost_even_beside_a_duplicate() -> None:
    """A duplicate of one record does not make up for another one that misses."""
    found = stage("edge_kafka", PUBLISHED, np.array([*ALL[:-1], ALL[0]]))
    assert (found.distinct, found.duplicates, found.lost) == (4, 1, 1)


@pytest.mark.parametrize("stranger", [record(0, 0), record(0, 4), record(1, 3), -1])
def test_record_that_nobody_sent_is_no_gain(stranger: int) -> None:
    """A record outside of what the cars sent does not hide a loss."""
    found = stage("edge_kafka", PUBLISHED, np.array([*ALL[:-1], stranger]))
    assert found.lost == 1


def test_record_without_audit_is_not_scored() -> None:
    """Only offsets in an audit record count as scored."""
    found = scored_stage(PUBLISHED, log(*ALL), [audit(0, 1, 2), audit(3, 4, 2)])
    assert (found.distinct, found.duplicates, found.lost) == (4, 0, 1)


def test_overlapping_audits_show_what_was_scored_twice() -> None:
    """Two audits over the same offsets that both scored them are duplicates."""
    found = scored_stage(PUBLISHED, log(*ALL), [audit(0, 4, 5), audit(3, 4, 2)])
    assert (found.distinct, found.duplicates, found.lost) == (5, 2, 0)


def test_duplicate_that_was_left_out_is_not_scored_twice() -> None:
    """A record that stands twice in the log and was scored once is neither lost nor doubled."""
    found = scored_stage(PUBLISHED, log(*ALL, ALL[0]), [audit(0, 5, 5)])
    assert (found.duplicates, found.lost) == (0, 0)
    assert found.distinct == 5


def test_audit_of_another_partition_covers_nothing() -> None:
    """Offsets belong to their partition."""
    found = scored_stage(PUBLISHED, log(*ALL), [audit(0, 4, 5, partition=1)])
    assert found.lost == 5


def test_cover_against_a_naive_reference() -> None:
    """Covering by sorted ends equals looking into every range."""
    rng = np.random.default_rng(5)
    first = rng.integers(0, 200, 30)
    audits = [audit(int(a), int(a + n), 0) for a, n in zip(first, rng.integers(0, 6, 30), strict=True)]
    offsets = np.arange(220)
    naive = [any(a["first_offset"] <= o <= a["last_offset"] for a in audits) for o in offsets]
    assert cover(offsets, audits).tolist() == naive
