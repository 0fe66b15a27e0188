"""`make test` runs every test, and says so at its end (tests/groups.py)."""

from collections import Counter
from typing import Any

from local.ports import HOPS, Ports
from tests import groups

ON_DEMAND = {"registry", "cluster", "terraform"}  # make test-registry, make cluster, make terraform


def test_every_folder_of_tests_is_in_one_group(tree: Any):
    """A test file outside of all groups would never run."""
    folders = [folder for group in (groups.WITH_BROKERS | groups.COMPUTING).values() for folder in group]
    for path in tree.python("tests"):
        if path.name.startswith("test_") and path.parts[1] not in ON_DEMAND:
            inside = [folder for folder in folders if f"tests/{folder}/" in str(path)]
            assert len(inside) == 1, path


def test_groups_side_by_side_share_no_port():
    """No deployment of one group meets one of the other, whatever their tests add to the offset."""
    added = 700  # the most that a test adds to TEST_PORT_OFFSET
    first, second = (
        [
            set(Ports(1_000 + group * groups.PORTS_OF_A_GROUP + extra).all(shards=9, scorers=9, relayed=HOPS))
            for extra in range(0, added + 1, 10)
        ]
        for group in range(groups.SIDE_BY_SIDE)
    )
    assert not set().union(*first) & set().union(*second)


def test_the_counts_of_a_group_are_those_of_pytest():
    """The numbers in the last line; without such a line nothing was counted."""
    assert groups.counts("..\n=== 1 failed, 12 passed, 3 deselected in 8.15s ===\n") == Counter(
        failed=1, passed=12, deselected=3
    )
    assert groups.counts("== no tests ran in 0.01s ==\n") == Counter()
    assert groups.counts("12 passed\nKilled\n") == Counter()


def test_the_summary_reads_like_that_of_pytest():
    """For people and for programs that read the last line."""
    assert groups.summary(Counter(passed=12, deselected=3), 90) == "12 passed in 90.00s (1.5 min)"
    assert groups.summary(Counter(), 1) == "no tests ran in 1.00s (0.0 min)"
