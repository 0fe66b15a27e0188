"""How many of each process a run has, and what is refused because some would have nothing to do."""

from pathlib import Path

import pytest

from local.demo import Settings
from local.deployment import Plan
from plumbing.settings import SettingsError


def test_bridges_share_the_shards():
    """One bridge keeps its plain name; several are numbered."""
    assert Plan(Path("run")).bridge_names == ["bridge"]
    assert Plan(Path("run"), shards=3, bridges=2).bridge_names == ["bridge-0", "bridge-1"]


def test_a_bridge_without_a_shard_is_refused():
    """With both ways out."""
    with pytest.raises(SettingsError, match=r"3 bridges for 2 broker shards.*--shards 3.*fewer --bridges"):
        Plan(Path("run"), shards=2, bridges=3)


def test_a_scorer_without_a_partition_is_refused():
    """Partitions bound how far scorers scale out."""
    with pytest.raises(SettingsError, match=r"13 scorers for 12 partitions"):
        Plan(Path("run"), scorers=13)


@pytest.mark.parametrize("minutes", [1.0, 3.0, 10.0])
def test_a_demo_shows_the_same_hours_however_long_it_takes(minutes: float):
    """A hundred hours of driving and of wear; an alert has half of them to be right."""
    settings = Settings(minutes=minutes)
    assert settings.time_lapse * settings.run_s == 100 * 3600
    assert settings.time_lapse * settings.horizon_s == 50 * 3600
