"""A fleet with one broker behind a name server that is silent."""

from typing import Any

import pytest

from .conftest import CARS

pytestmark = pytest.mark.integration

SAMPLES = 20  # two seconds


def test_a_silent_name_server_silences_only_its_cars(
    mosquitto: Any, listen: Any, simulate: Any, silent_names: list[str]
) -> None:
    """The cars of the sound broker send every sample in time; SIGTERM ends the fleet within its deadline."""
    listener = listen()
    brokers = f"{mosquitto.host}:{mosquitto.port},away.example:1883"
    fleet = simulate("--drain-s", "1", brokers=brokers, before=silent_names)
    listener.until(lambda: len(listener.telemetry) == CARS // 2, 4)
    listener.until(lambda: all(max(seqs) >= SAMPLES for seqs in listener.telemetry.values()), 4)
    assert not listener.gaps()
    assert fleet.counts().missed_ticks == 0
    assert fleet.end(within_s=3) == 0
