"""What stands in the way is said before anything starts, with what to do about it."""

import resource
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local import mosquitto, preflight
from local.preflight import SPARE_FILES
from plumbing.life import WorldDown


def test_a_taken_port_is_named_with_who_wants_it():
    """And how to move all ports."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(WorldDown, match=rf"port {port} is taken, and edge Kafka needs it.*--port-offset"):
            preflight.check_ports({port: "edge Kafka"})


def test_free_ports_are_fine():
    """A port that was just in use counts as free: only a listener is in the way."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            other.accept()[0].close()
    preflight.check_ports({port: "edge Kafka"})


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With how much is left and how much is needed."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * 1024**2))
    with pytest.raises(WorldDown, match="has 100 MiB left, 1024 are needed"):
        preflight.check_disk(tmp_path / "run")


def test_a_missing_mosquitto_is_said(monkeypatch: pytest.MonkeyPatch):
    """With the command that installs it."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(WorldDown, match=r"mosquitto .*local/setup"):
        mosquitto.find()


def test_a_missing_setpriv_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without it a killed deployment would leave processes behind."""
    monkeypatch.setattr(mosquitto, "find", lambda: "mosquitto")
    monkeypatch.setattr(preflight.java, "find", lambda: Path("java"))
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(WorldDown, match="util-linux"):
        preflight.check(tmp_path, {})


@pytest.fixture
def files_limit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the hard limit of open files that is seen."""

    def limit(hard: int) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (256, hard))

    return limit


@pytest.mark.parametrize(
    ("cars", "hard", "shards"),
    [(1_000, 20_000, 1), (100_000, 20_000, 6), (100_000, resource.RLIM_INFINITY, 1), (1_000, 1_000, 2)],
)
def test_cars_beyond_the_limit_of_open_files_get_more_shards(
    files_limit: Any, cars: int, hard: int, shards: int
):
    """One broker process holds as many cars as it may open files."""
    files_limit(hard)
    assert preflight.shards_for(cars) == shards


def test_a_hopeless_limit_of_open_files_is_said(files_limit: Any):
    """Not a division by zero."""
    files_limit(SPARE_FILES)
    with pytest.raises(WorldDown, match=f"limit of open files is {SPARE_FILES}: raise it"):
        preflight.shards_for(1)


def test_the_soft_limit_of_open_files_is_raised(files_limit: Any, monkeypatch: pytest.MonkeyPatch):
    """Many systems give 1024 and allow much more; mosquitto does not ask for it itself."""
    files_limit(20_000)
    limits = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    preflight.allow_open_files()
    assert limits == [(20_000, 20_000)]


def test_more_cars_than_the_shards_can_hold_are_refused(files_limit: Any):
    """With the number of shards that would do, before anything starts."""
    files_limit(20_000)
    preflight.check_fleet(100_000, 6)
    with pytest.raises(WorldDown, match=r"100000 cars do not fit into 5 .* at most 19700.*--shards 6"):
        preflight.check_fleet(100_000, 5)


def test_too_little_memory_is_said():
    """A fleet that would be killed half-way is not begun."""
    preflight.check_memory(1)
    with pytest.raises(WorldDown, match=r"MiB of memory are free, about 1000000000 are needed: .*--cars"):
        preflight.check_memory(1_000_000_000)
