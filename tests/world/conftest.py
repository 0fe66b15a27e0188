"""Worlds without their logs."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def quiet() -> Iterator[None]:
    """What the services log of thousands of faults is for `python -m tests.world --log`."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
