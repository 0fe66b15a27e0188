"""Host names without waiting for a name server."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plumbing import names as module
from plumbing.mqtt import ConnectionLost
from plumbing.names import Names


class Server:
    """A name server of which the test controls every answer."""

    def __init__(self) -> None:
        self.found: list[str] = ["10.0.0.1"]
        self.failure: Exception | None = None
        self.asked = 0
        self.answers = threading.Event()
        self.answers.set()

    def look_up(self, _host: str) -> list[str]:
        self.asked += 1
        self.answers.wait(10)
        if self.failure:
            raise self.failure
        return self.found


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.answers.set()


@pytest.fixture
def names(server: Server) -> Names:
    return Names(server.look_up)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that `Names` sees, in an item that the test may set."""
    clock = [1_000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    return clock


def _eventually(value: Callable[[], Any]) -> Any:
    """The first value that is true."""
    for _ in range(500):
        if found := value():
            return found
        time.sleep(0.002)
    raise AssertionError("never")


def _failure(names: Names) -> str:
    try:
        names.address("broker")
    except ConnectionLost as error:
        return str(error)
    return ""


def test_a_look_up_is_not_waited_for(names: Names, server: Server):
    """None while it goes on, which the caller tries again; then the address. It is asked for once."""
    server.answers.clear()
    began = time.monotonic()
    assert [names.address("broker") for _ in range(3)] == [None] * 3
    assert time.monotonic() - began < 1
    server.answers.set()
    assert _eventually(lambda: names.address("broker")) == "10.0.0.1"
    assert server.asked == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_is_its_own(names: Names, server: Server, host: str):
    """A numeric host is never looked up, whatever happens to its connections."""
    assert names.address(host) == host
    names.lost(host, host)
    assert names.address(host) == host
    assert server.asked == 0


def test_a_failure_is_kept_for_a_while(names: Names, server: Server, clock: list[float]):
    """It names the host and is raised without a new look-up for two seconds, and while the next goes on."""
    server.failure = OSError("not known")
    assert "'broker' has no address: not known" in _eventually(lambda: _failure(names))
    clock[0] += 1.9
    assert _failure(names)
    assert server.asked == 1
    server.failure = None
    clock[0] += 0.2
    _failure(names)
    _eventually(lambda: server.asked == 2 and not _failure(names))
    assert names.address("broker") == "10.0.0.1"


def test_a_name_that_cannot_be_one_is_a_failure(names: Names, server: Server):
    """Python encodes names before it asks, and refuses some."""
    server.failure = UnicodeError("label empty or too long")
    assert "label empty" in _eventually(lambda: _failure(names))


def test_a_silent_name_server_is_reported(names: Names, server: Server, clock: list[float]):
    """After five seconds the caller may say so; the look-up goes on."""
    server.answers.clear()
    assert names.address("broker") is None
    clock[0] += 5.1
    assert "no name server has answered for 'broker'" in _failure(names)
    assert server.asked == 1


def test_the_last_addresses_stay_when_the_name_server_goes(names: Names, server: Server, clock: list[float]):
    """After 30 s, or a lost connection, the name is looked up again; until there is an answer they serve."""
    _eventually(lambda: names.address("broker"))
    server.failure = OSError("silent")
    clock[0] += 30.1
    assert names.address("broker") == "10.0.0.1"
    _eventually(lambda: server.asked == 2 and not names._names["broker"].asking)
    assert names.address("broker") == "10.0.0.1"
    server.failure, server.found = None, ["10.0.0.2"]  # the broker has moved
    clock[0] += 2.1
    names.lost("broker")
    assert _eventually(lambda: server.asked == 3 and names.address("broker") == "10.0.0.2")


def test_addresses_have_their_turn(names: Names, server: Server, clock: list[float]):
    """The next address is dialled when one has not answered, and stays the first."""
    server.found = ["10.0.0.1", "::1"]
    _eventually(lambda: names.address("broker"))
    names.lost("broker", "10.0.0.1")
    names.lost("broker", "10.0.0.1")  # another car, which had dialled at the same time
    assert names.address("broker") == "::1"
    clock[0] += 30.1
    names.address("broker")
    _eventually(lambda: server.asked == 2 and not names._names["broker"].asking)
    assert names.address("broker") == "::1"
    names.lost("broker")  # this one had answered
    assert names.address("broker") == "::1"
    names.lost("broker", "::1")
    assert names.address("broker") == "10.0.0.1"


def test_ipv4_comes_first():
    """The system's addresses of this machine: both families where there are two, IPv4 before IPv6."""
    found = module._system("localhost")
    assert found[0] == "127.0.0.1"
    assert len(found) == len(set(found))
