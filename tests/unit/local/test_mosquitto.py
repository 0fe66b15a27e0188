"""What a broker's predecessor saved is gone once it was read; what the broker saves itself is not."""

import os
from pathlib import Path

import pytest

from local.mosquitto import forget_earlier_sessions

STARTED_S = 1_000_000.0


@pytest.mark.parametrize(("saved_s", "stays"), [(STARTED_S - 1, False), (STARTED_S + 1, True)])
def test_only_earlier_sessions_are_forgotten(tmp_path: Path, saved_s: float, stays: bool):
    """A SIGKILL must not bring back sessions of long ago; an orderly end must keep those of now."""
    saved = tmp_path / "mosquitto.db"
    saved.touch()
    os.utime(saved, (saved_s, saved_s))
    forget_earlier_sessions(tmp_path, STARTED_S)
    assert saved.exists() == stays


def test_nothing_to_forget(tmp_path: Path):
    """A broker's first start has no predecessor."""
    forget_earlier_sessions(tmp_path, STARTED_S)
