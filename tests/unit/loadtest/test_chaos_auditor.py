"""The auditor finds every way in which a log can be wrong, and nothing in a correct one."""

from typing import Any

import numpy as np
import pytest

from loadtest.chaos.auditor import AuditedRanges, Findings, Gap, Mishaps, audit, per_window
from loadtest.chaos.follower import Lag, recovered_at, with_deleted
from local.ledger import SEQ_BITS, Log, Published

PUBLISHED = Published(["car-000000", "car-000001"], np.array([3, 2]), np.array([3, 2]))
# (car, seq) in the order of the log; None is an undecodable record.
CORRECT: list[tuple[int, int] | None] = [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3)]


def log(rows: list[tuple[int, int] | None], partitions: list[int] | None = None) -> Log:
    """Row i has offset i, was sampled at 10 i ms and written at 10 i + 1 ms."""
    record = np.array([-1 if row is None else row[0] << SEQ_BITS | row[1] for row in rows], np.int64)
    offset = np.arange(len(rows))
    partition = np.array(partitions if partitions else [0] * len(rows))
    return Log(partition, offset, record, 10 * offset, 10 * offset + 1)


def audited(first: int, last: int, scored: int | None = None, **other: Any) -> dict[str, Any]:
    """An audit record, scored at 10 times its last offset + 5 ms; by default its whole range was scored."""
    count = last - first + 1
    fields = {"partition": 0, "rejected": 0, "late": 0, "duplicates": count - other.get("rejected", 0)}
    scored = fields["duplicates"] if scored is None else scored
    fields |= {"first_offset": first, "last_offset": last, "scored": scored, "scored_at": 10 * last + 5}
    return fields | {"duplicates": fields["duplicates"] - scored} | other


def findings(
    edge: Any = None, audits: Any = None, cloud: Any = None, partitions: Any = None, **by_rule: Any
) -> Findings:
    """The findings in these logs, which are correct by default."""
    rows = CORRECT if edge is None else edge
    ranges = [audited(0, len(rows) - 1)] if audits is None else audits
    copied = log(rows, partitions) if cloud is None else log(cloud)
    return audit(PUBLISHED, log(rows, partitions), AuditedRanges.from_records(ranges), copied, **by_rule)


def wrong(result: Findings) -> dict[str, int]:
    """The counts that are not zero."""
    scoring = result.scoring
    counts = {
        "lost": result.lost, "duplicates": result.duplicates, "order": result.order_violations,
        "twice": scoring.twice, "never": scoring.never, "unaudited": scoring.unaudited,
        "misjudged": scoring.misjudged, "missing": result.lost_before_cloud,
        "doubled": result.doubled_in_cloud, "strangers": result.strangers, "silenced": scoring.silenced,
    }  # fmt: skip
    return {name: len(mishaps) for name, mishaps in counts.items() if len(mishaps)}


@pytest.mark.parametrize("audits", [[audited(0, 4)], [audited(0, 1), audited(2, 2), audited(3, 4)]])
def test_nothing_is_wrong_with_correct_logs(audits: Any):
    """However the offsets are split into ranges; every record has the time of its score."""
    result = findings(audits=audits)
    assert wrong(result) == {}
    assert (result.scoring.at > 0).all()


def test_a_lost_record_is_found_when_the_next_of_its_car_is_written():
    """Even where a duplicate of another record makes up for it in the total."""
    result = findings([(0, 1), (1, 1), (1, 1), (0, 3), (1, 2)], [audited(0, 4, 4)])
    assert wrong(result) == {"lost": 1, "duplicates": 1}
    assert result.lost.at.tolist() == [31]


def test_a_lost_last_record_of_a_car_is_found_at_the_end_of_the_log():
    """No newer record of the car could show the gap."""
    result = findings(CORRECT[:4])
    assert (wrong(result), result.lost.at.tolist()) == ({"lost": 1}, [31])


def test_a_duplicate_is_counted_when_it_was_written():
    """It is neither a loss nor a violation of order; the scorer skips it."""
    result = findings([*CORRECT, (0, 2)], [audited(0, 5, 5)])
    assert (wrong(result), result.duplicates.at.tolist()) == ({"duplicates": 1}, [51])


def test_an_old_record_behind_a_newer_one_is_an_order_violation():
    """It was scored, after the newer one."""
    result = findings([(0, 1), (0, 3), (0, 2), (1, 1), (1, 2)])
    assert wrong(result) == {"order": 1}
    assert len(result.scoring.late) == 1


def test_a_car_on_two_partitions_is_an_order_violation():
    """Each of its records outside of its first record's partition counts."""
    result = findings(partitions=[0, 0, 0, 0, 1], audits=[audited(0, 3), audited(4, 4, partition=1)])
    assert wrong(result) == {"order": 1}


def test_ranges_scored_in_the_wrong_order_are_an_order_violation():
    """The log is in order; a scorer that returns to old offsets is not."""
    result = findings(audits=[audited(2, 4), audited(0, 1)])
    assert wrong(result) == {"order": 2}


@pytest.mark.parametrize(
    ("edge", "audits"),
    [
        (CORRECT, [audited(0, 3), audited(3, 4)]),
        ([*CORRECT, (0, 2)], [audited(0, 5)]),
        (CORRECT, [audited(0, 4), audited(0, 4)]),
    ],
    ids=["overlapping ranges", "a duplicate scored", "all scored again"],
)
def test_a_record_scored_twice_is_found(edge: Any, audits: Any):
    """Whether ranges overlap, or a repetition was not recognised."""
    assert wrong(findings(edge, audits))["twice"] == (5 if audits[0] == audits[-1] != audited(0, 5) else 1)


def test_an_overlap_whose_records_were_skipped_is_correct():
    """A successor may read offsets again and skip their records as duplicates."""
    assert wrong(findings(audits=[audited(0, 3), audited(2, 4, 1)])) == {}


def test_a_gap_in_the_audit_is_a_loss():
    """Offsets that no range covers were not scored."""
    result = findings(audits=[audited(0, 1), audited(3, 4)])
    assert wrong(result) == {"lost": 1, "never": 1, "unaudited": 1}
    assert result.lost.record.tolist() == [2]


def test_a_record_left_out_is_a_loss():
    """A range that counts a new record as a duplicate did not score it."""
    assert wrong(findings(audits=[audited(0, 4, 4)])) == {"lost": 1, "never": 1}


def test_an_undecodable_record_must_be_rejected():
    """A range that counts it otherwise does not fit the log."""
    edge = [*CORRECT, None]
    assert wrong(findings(edge, [audited(0, 5, rejected=1)])) == {}
    assert wrong(findings(edge, [audited(0, 5, 5)])) == {"misjudged": 1}


@pytest.mark.parametrize(
    ("cloud", "expected"),
    [
        (CORRECT[:-1], {"lost": 1, "missing": 1}),
        ([*CORRECT, CORRECT[0]], {"doubled": 1}),
        ([CORRECT[1], CORRECT[2], CORRECT[0], *CORRECT[3:]], {"order": 1}),
        ([*CORRECT[:-1], CORRECT[0]], {"lost": 1, "missing": 1, "doubled": 1}),
    ],
    ids=["missing", "doubled", "reordered", "both"],
)
def test_the_cloud_is_the_edge_row_by_row(cloud: Any, expected: dict[str, int]):
    """Nothing missing, nothing doubled, in the same order."""
    assert wrong(findings(cloud=cloud)) == expected


def test_the_cloud_repeats_what_the_edge_repeats():
    """A duplicate in edge Kafka is a row of its own, which the cloud must have as well."""
    edge = [*CORRECT, (0, 2)]
    assert wrong(findings(edge, [audited(0, 5, 5)], cloud=CORRECT)) == {
        "duplicates": 1,
        "lost": 1,
        "missing": 1,
    }


def test_a_record_that_no_car_sent_is_found():
    """It does not make up for a lost one."""
    assert wrong(findings([*CORRECT[:-1], (0, 9)], [audited(0, 4)]))["strangers"] == 1


REFUSED = np.array([0 << SEQ_BITS | 2])


def test_what_was_refused_by_rule_is_not_lost():
    """It is counted; every other record that is missing is lost as before."""
    without = [(0, 1), (1, 1), (1, 2), (0, 3)]
    result = findings(without, refused=REFUSED)
    assert (wrong(result), result.refused) == ({}, 1)
    assert wrong(findings(without[:-1], refused=REFUSED)) == {"lost": 1}


def test_what_the_bridge_before_forwarded_the_scorer_refuses():
    """Scored nevertheless, it does not fit the audit log."""
    result = findings(audits=[audited(0, 4, rejected=1)], refused=REFUSED)
    assert (wrong(result), result.refused) == ({}, 1)
    assert wrong(findings(refused=REFUSED)) == {"twice": 1, "misjudged": 1}


SKIPPED = [Gap(0, 1, 2), Gap(0, 2, 1)]  # that an offset is named twice changes nothing


def test_what_the_scorers_said_they_skip_is_not_lost():
    """Exactly that: one more is lost, and what was scored after all does not fit."""
    around = [audited(0, 0), audited(3, 4)]
    result = findings(audits=around, skipped=SKIPPED)
    assert (wrong(result), result.unscored) == ({}, 2)
    assert (result.scoring.at >= 0).tolist() == [True, False, False, True, True]
    assert wrong(findings(audits=around, skipped=SKIPPED[1:])) == {"lost": 1, "never": 1, "unaudited": 1}
    assert wrong(findings(skipped=SKIPPED))["misjudged"] == 1
    assert wrong(findings(audits=around)) == {"lost": 2, "never": 2, "unaudited": 2}


def test_a_repetition_of_what_was_skipped_is_to_be_scored():
    """It counts as neither skipped nor repeated."""
    edge = [*CORRECT, (0, 2)]
    result = findings(edge, [audited(0, 1), audited(3, 5, 3)], skipped=[Gap(0, 2, 1)])
    assert result.unscored == 0
    assert wrong(result) == {"duplicates": 1, "order": 1}  # it is behind a newer one


def test_what_the_mirror_said_it_cannot_copy_is_not_missing():
    """Exactly that; what it copied nevertheless is doubled."""
    result = findings(cloud=[CORRECT[0], *CORRECT[3:]], uncopied=SKIPPED)
    assert (wrong(result), result.uncopied) == ({}, 2)
    assert wrong(findings(cloud=[CORRECT[0], *CORRECT[3:]], uncopied=SKIPPED[1:])) == {
        "lost": 1,
        "missing": 1,
    }
    assert wrong(findings(uncopied=SKIPPED)) == {"doubled": 2}


def test_a_newest_record_that_was_scored_as_late_could_open_no_alert():
    """As after one record whose sequence number ran ahead: scored, but silent for ever."""
    assert wrong(findings(audits=[audited(0, 4, late=2)])) == {"silenced": 2}
    late = findings([(0, 1), (0, 3), (0, 2), (1, 1), (1, 2)], [audited(0, 4, late=1)])
    assert wrong(late) == {"order": 1}


def test_a_log_is_what_it_holds_and_what_was_seen_of_the_rest():
    """What was seen twice, or is still held, counts once."""
    whole = log(CORRECT)
    seen = Log.of([whole.rows(np.array([0, 1, 2])), whole.rows(np.array([1, 2, 3]))])
    assert with_deleted(whole.rows(np.array([3, 4])), seen).offset.tolist() == [0, 1, 2, 3, 4]
    nothing = whole.rows(np.zeros(5, np.bool_))
    assert with_deleted(nothing, whole).offset.tolist() == [0, 1, 2, 3, 4]


def test_mishaps_belong_to_the_window_of_their_time():
    """Records before the first fault belong to no window."""
    mishaps = Mishaps(np.zeros(4, np.int64), np.array([5, 10, 19, 30]))
    assert per_window(mishaps, np.array([10, 20])).tolist() == [2, 1]


def test_recovery_is_the_moment_from_which_every_stage_keeps_pace():
    """A single stage behind is not recovered, nor is a moment that does not last."""
    behind = [9.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0]
    timeline = [Lag(float(at), (0.1, s, 0.2)) for at, s in enumerate(behind)]
    assert recovered_at(timeline, since_s=0, bound_s=2, hold_s=2) == 3.0
    assert recovered_at(timeline, since_s=5, bound_s=2, hold_s=2) is None
