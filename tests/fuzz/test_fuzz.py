"""Bytes that others make: parsers take them or refuse them as they declare, and never do anything else."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS

_EXAMPLES = 250
# Bytes that a parser may stumble over: ends and signs of numbers, lengths, quotes, what JSON calls numbers.
_ODD = (
    b"\0" * 8,
    b"\xff" * 10,
    b"\x80" * 9 + b"\x01",
    b"9" * 30,
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b'"',
    b"[",
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_and_old_findings(name: str):
    """What our own writers make, and every input that was a finding once."""
    for data in seeds.of_target(name):
        TARGETS[name](data)


@st.composite
def _mutated(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """A valid input with some places changed, cut out or cut off."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.sampled_from((0, 1, 1, 2, 8, len(data))))
        data = data[:at] + draw(st.sampled_from(_ODD) | st.binary(max_size=6)) + data[at + gone :]
    return data


# The MQTT codec panics at text that is not UTF-8: plumbing.mqtt catches that, Python's hook hears of it too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs(name: str):
    """Some hundred inputs that are nearly valid; `make fuzz` tries millions."""

    @settings(
        max_examples=_EXAMPLES, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(_mutated(seeds.of_target(name)))
    def check(data: bytes) -> None:
        TARGETS[name](data)

    check()
