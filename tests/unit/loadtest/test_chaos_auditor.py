"""The auditor sees every way in which a log can be wrong; a sound one has nothing to be seen."""

from typing import Any

import numpy as np
import pytest

from loadtest.chaos.auditor import Findings, Mishaps, Runs, audit, per_window
from loadtest.chaos.tail import Moment, recovered_at
from local.ledger import SEQ_BITS, Log, Published

PUBLISHED = Published(["car-000000", "car-000001"], np.array([3, 2]), np.array([3, 2]))
# (car, seq) in the order of the log; None is a record that nobody can decode.
SOUND: list[tuple[int, int] | None] = [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3)]


def log(rows: list[tuple[int, int] | None], partitions: list[int] | None = None) -> Log:
    """Row i stands at offset i, was sampled at 10 i and written at 10 i + 1 ms."""
    record = np.array([-1 if row is None else row[0] << SEQ_BITS | row[1] for row in rows], np.int64)
    offset = np.arange(len(rows))
    partition = np.array(partitions if partitions else [0] * len(rows))
    return Log(partition, offset, record, 10 * offset, 10 * offset + 1)


def run(first: int, last: int, scored: int | None = None, **other: Any) -> dict[str, Any]:
    """An audit record: scored at 10 times the last offset + 5 ms, all of them unless told."""
    count = last - first + 1
    sound = {"partition": 0, "rejected": 0, "duplicates": count - other.get("rejected", 0)}
    scored = sound["duplicates"] if scored is None else scored
    sound |= {"first_offset": first, "last_offset": last, "scored": scored, "scored_at": 10 * last + 5}
    return sound | {"duplicates": sound["duplicates"] - scored} | other


def findings(edge: Any = None, audits: Any = None, cloud: Any = None, partitions: Any = None) -> Findings:
    """Of logs that are sound where nothing is told."""
    rows = SOUND if edge is None else edge
    runs = [run(0, len(rows) - 1)] if audits is None else audits
    copied = log(rows, partitions) if cloud is None else log(cloud)
    return audit(PUBLISHED, log(rows, partitions), Runs.of(runs), copied)


def seen(found: Findings) -> dict[str, int]:
    """What is not zero."""
    scoring = found.scoring
    counts = {
        "lost": found.lost, "duplicates": found.duplicates, "order": found.order_violations,
        "twice": scoring.twice, "never": scoring.never, "unaudited": scoring.unaudited,
        "misjudged": scoring.misjudged, "missing": found.lost_before_cloud,
        "doubled": found.doubled_in_cloud, "strangers": found.strangers,
    }  # fmt: skip
    return {name: len(mishaps) for name, mishaps in counts.items() if len(mishaps)}


@pytest.mark.parametrize("audits", [[run(0, 4)], [run(0, 1), run(2, 2), run(3, 4)]])
def test_a_sound_path_has_nothing_to_be_seen(audits: Any):
    """However the offsets are cut into runs; every record has the moment of its score."""
    found = findings(audits=audits)
    assert seen(found) == {}
    assert (found.scoring.at > 0).all()


def test_a_lost_record_is_seen_when_the_next_of_its_car_is_written():
    """Even where a duplicate of another record keeps the total right."""
    found = findings([(0, 1), (1, 1), (1, 1), (0, 3), (1, 2)], [run(0, 4, 4)])
    assert seen(found) == {"lost": 1, "duplicates": 1}
    assert found.lost.at.tolist() == [31]


def test_a_lost_last_record_is_seen_at_the_end():
    """No newer one of the car tells; the log's end does."""
    found = findings(SOUND[:4])
    assert (seen(found), found.lost.at.tolist()) == ({"lost": 1}, [31])


def test_a_duplicate_is_counted_where_it_stands():
    """It is no loss, no violation, and the scorer leaves it out."""
    found = findings([*SOUND, (0, 2)], [run(0, 5, 5)])
    assert (seen(found), found.duplicates.at.tolist()) == ({"duplicates": 1}, [51])


def test_an_old_record_behind_a_newer_one_is_an_order_violation():
    """It was scored, and late."""
    found = findings([(0, 1), (0, 3), (0, 2), (1, 1), (1, 2)])
    assert seen(found) == {"order": 1}
    assert len(found.scoring.late) == 1


def test_a_car_on_two_partitions_has_no_order():
    """Each of its records beside the first one's partition counts."""
    found = findings(partitions=[0, 0, 0, 0, 1], audits=[run(0, 3), run(4, 4, partition=1)])
    assert seen(found) == {"order": 1}


def test_runs_scored_in_the_wrong_order_are_an_order_violation():
    """The log is in order; a scorer that comes back to old offsets is not."""
    found = findings(audits=[run(2, 4), run(0, 1)])
    assert seen(found) == {"order": 2}


@pytest.mark.parametrize(
    ("edge", "audits"),
    [(SOUND, [run(0, 3), run(3, 4)]), ([*SOUND, (0, 2)], [run(0, 5)]), (SOUND, [run(0, 4), run(0, 4)])],
    ids=["overlapping runs", "a duplicate scored", "all scored again"],
)
def test_a_record_scored_twice_is_seen(edge: Any, audits: Any):
    """Whether runs overlap, or a repetition was not recognised."""
    assert seen(findings(edge, audits))["twice"] == (5 if audits[0] == audits[-1] != run(0, 5) else 1)


def test_an_overlap_that_left_out_what_was_scored_is_none():
    """A successor that reads offsets again and knows their records doubles nothing."""
    assert seen(findings(audits=[run(0, 3), run(2, 4, 1)])) == {}


def test_a_hole_in_the_audit_is_a_loss():
    """Offsets that no run covers were not scored."""
    found = findings(audits=[run(0, 1), run(3, 4)])
    assert seen(found) == {"lost": 1, "never": 1, "unaudited": 1}
    assert found.lost.record.tolist() == [2]


def test_a_record_left_out_is_a_loss():
    """A run that counts a new record as a duplicate did not score it."""
    assert seen(findings(audits=[run(0, 4, 4)])) == {"lost": 1, "never": 1}


def test_what_nobody_can_decode_must_be_rejected():
    """A run that says otherwise does not fit the log."""
    edge = [*SOUND, None]
    assert seen(findings(edge, [run(0, 5, rejected=1)])) == {}
    assert seen(findings(edge, [run(0, 5, 5)])) == {"misjudged": 1}


@pytest.mark.parametrize(
    ("cloud", "wrong"),
    [
        (SOUND[:-1], {"lost": 1, "missing": 1}),
        ([*SOUND, SOUND[0]], {"doubled": 1}),
        ([SOUND[1], SOUND[2], SOUND[0], *SOUND[3:]], {"order": 1}),
        ([*SOUND[:-1], SOUND[0]], {"lost": 1, "missing": 1, "doubled": 1}),
    ],
    ids=["missing", "doubled", "reordered", "both"],
)
def test_the_cloud_is_the_edge_row_by_row(cloud: Any, wrong: dict[str, int]):
    """Nothing missing, nothing doubled, in the same order."""
    assert seen(findings(cloud=cloud)) == wrong


def test_the_cloud_repeats_what_the_edge_repeats():
    """A duplicate in edge Kafka is a row of its own: the cloud must have it as well, and only then."""
    edge = [*SOUND, (0, 2)]
    assert seen(findings(edge, [run(0, 5, 5)], cloud=SOUND)) == {"duplicates": 1, "lost": 1, "missing": 1}


def test_a_record_that_no_car_sent_is_seen():
    """It hides no loss."""
    assert seen(findings([*SOUND[:-1], (0, 9)], [run(0, 4)]))["strangers"] == 1


def test_mishaps_belong_to_the_window_of_their_time():
    """What happened before the first fault belongs to none."""
    mishaps = Mishaps(np.zeros(4, np.int64), np.array([5, 10, 19, 30]))
    assert per_window(mishaps, np.array([10, 20])).tolist() == [2, 1]


def test_recovered_is_from_when_on_every_stage_keeps_pace():
    """One stage behind is not recovered, and neither is a moment that does not last."""
    behind = [9.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0]
    timeline = [Moment(float(at), (0.1, s, 0.2)) for at, s in enumerate(behind)]
    assert recovered_at(timeline, since_s=0, bound_s=2, hold_s=2) == 3.0
    assert recovered_at(timeline, since_s=5, bound_s=2, hold_s=2) is None
