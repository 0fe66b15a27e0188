"""The shapes of the load as functions of time."""

import pytest

from loadtest.load import shapes


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_every_shape_is_bounded_and_ends(shape: str):
    """Between 1 and --users at every second, and None exactly from the end of the run on."""
    steps = [shapes.at(shape, second, users=500, run_s=120) for second in range(120)]
    assert all(step is not None and 1 <= step.users <= 500 for step in steps)
    assert max(step.users for step in steps if step) == 500
    assert shapes.at(shape, 120, users=500, run_s=120) is None


def test_ramp_rises_and_then_holds():
    """Never fewer users than before, half of them after a third of the run, all after two thirds."""
    users = [shapes.ramp(second / 120, 300).users for second in range(120)]
    assert users == sorted(users)
    assert users[40] == 150
    assert users[80:] == [300] * 40


def test_burst_comes_three_times():
    """A fifth of the users, then all of them, three times."""
    users = [shapes.burst(second / 60, 100).users for second in range(60)]
    assert users == ([20] * 10 + [100] * 10) * 3


def test_storm_keeps_the_users_and_cuts_them_three_times():
    """The cars remain; only their connections end."""
    steps = [shapes.storm(second / 100, 50) for second in range(100)]
    assert {step.users for step in steps} == {50}
    assert [steps[second].storms for second in (0, 39, 40, 60, 80, 99)] == [0, 0, 1, 2, 3, 3]


def test_no_other_shape_cuts_connections():
    """In the other shapes a lost connection is a failure."""
    assert not any(shapes.SHAPES[name](0.9, 10).storms for name in ("steady", "ramp", "burst"))
