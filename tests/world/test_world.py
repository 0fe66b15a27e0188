"""Worlds from seeds: nothing lost, out of order or scored twice, and scores as if nothing had happened."""

from collections import Counter
from collections.abc import Iterable

import pytest

from tests.world.story import play
from tests.world.verdict import judge
from tests.world.world import World

_SEEDS, _SEEDS_OF_ALL = range(100), range(100, 1_100)


def _play_all(seeds: Iterable[int]) -> Counter[str]:
    """How much happened in all of them together. Fails with the command that plays a bad one again."""
    course: Counter[str] = Counter()
    for seed in seeds:
        verdict, of_this = judge(play(World(seed)))
        assert not verdict.wrong, f"{verdict.wrong}: python -m tests.world --log --seed {seed}"
        course.update(vars(of_this))
    return course


@pytest.mark.usefixtures("quiet")
def test_worlds_keep_their_promises():
    """The auditor of `make chaos` finds nothing in 100 worlds with 150 kills and 500 take-overs."""
    course = _play_all(_SEEDS)
    assert course["kills"] > 150
    assert course["take_overs"] > 500
    assert course["duplicates"] > 5_000


@pytest.mark.measuring
@pytest.mark.usefixtures("quiet")
def test_a_thousand_worlds_keep_their_promises():
    """Nor in 1 000 more."""
    assert _play_all(_SEEDS_OF_ALL)["kills"] > 2_000


@pytest.mark.usefixtures("quiet")
def test_a_world_happens_the_same_way_again():
    """The seed alone decides: what was found once is found again."""
    first, second = play(World(3)), play(World(3))
    assert first.events == second.events
    assert judge(first) == judge(second)
