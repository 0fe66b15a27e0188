"""Every port of a deployment, and two deployments beside each other."""

import pytest

from local.ports import OFFSET_MAX, PORT_MAX, Ports
from plumbing.settings import SettingsError


def test_the_demo_and_the_tests_can_run_at_once():
    """No port of one deployment is a port of the other, with the shards and scorers of 100 000 cars."""
    demo, tests, e2e = (set(Ports(offset).all(shards=6, scorers=6)) for offset in (0, 1_000, 1_500))
    assert not demo & tests
    assert not demo & e2e
    assert not tests & e2e


def test_no_port_is_in_the_ephemeral_range():
    """There an outgoing connection could be in the way."""
    assert max(Ports(OFFSET_MAX).all(shards=6, scorers=6)) <= PORT_MAX


@pytest.mark.parametrize("offset", [-1, OFFSET_MAX + 1])
def test_an_offset_out_of_range_is_refused(offset: int):
    """With the setting's name and its range."""
    with pytest.raises(SettingsError, match=f"--port-offset.*{OFFSET_MAX}"):
        Ports(offset)


def test_too_many_of_one_kind_are_refused():
    """The metrics ports of the kinds are ten apart."""
    with pytest.raises(SettingsError, match="300 scorers"):
        Ports().all(shards=300, scorers=300)
