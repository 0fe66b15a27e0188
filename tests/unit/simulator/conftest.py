"""Fixtures of several tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.simulator.two_cars import TwoCars


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TwoCars]:
    fleet = TwoCars(tmp_path)
    yield fleet
    fleet.journal.close()
