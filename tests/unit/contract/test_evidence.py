"""Evidence as a record, and the levels whose crossings are counted."""

from itertools import pairwise

import pytest

from contract import records
from contract.evidence import AT_THRESHOLD, LEVELS, Beyond, Evidence

EVIDENCE = Evidence(
    scorer="scorer-0",
    model_name="failure-detector",
    model_version=7,
    share=0.5,
    since=1_790_000_000_000,
    until=1_790_000_060_000,
    judged=60_000,
    crossings=tuple(range(len(LEVELS))),
    alone=2,
    checked=100,
    cars=1_000,
    signals=(Beyond(name="speed", far_below=1, below=9, above=8, far_above=0),),
)


def test_evidence_travels_whole() -> None:
    """What is encoded is read back, times and the nested counts included."""
    name, record = records.decode(records.encode("evidence", EVIDENCE.record()))
    assert name == "evidence"
    assert Evidence.of(record) == EVIDENCE


def test_openings_are_the_crossings_of_the_threshold_itself() -> None:
    """The threshold is one of the levels, so that no other count is needed."""
    assert LEVELS[AT_THRESHOLD] == 1.0
    assert EVIDENCE.openings == AT_THRESHOLD
    assert all(low < high for low, high in pairwise(LEVELS))


def test_other_levels_are_refused() -> None:
    """Counts of unknown levels must not be added to ours."""
    with pytest.raises(ValueError, match="3 crossings, not 16"):
        Evidence.of(EVIDENCE.record() | {"signals": [], "crossings": [1, 2, 3]})
