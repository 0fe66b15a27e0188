"""Probes and metrics over HTTP on the loopback interface."""

import socket
import threading
import time
import urllib.error
from collections.abc import Iterator
from typing import Any
from urllib.request import Request

import pytest
from prometheus_client import REGISTRY, Counter

from plumbing import web
from plumbing.health import CONNECTIONS_MAX, Health, serve
from plumbing.life import WorldDown


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def health() -> Health:
    return Health(stalled_after_s=1_000)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """One server for all tests, because ending it takes a while; it shows the process's metrics."""
    crates = Counter("crates", "carried")
    crates.inc(3)
    server = serve(Health(), host="127.0.0.1", port=_free_port())
    assert server is not None
    yield server
    REGISTRY.unregister(crates)
    server.shutdown()
    server.server_close()


@pytest.fixture
def base_url(server: Any, health: Health, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the server, which now serves `health`."""
    monkeypatch.setattr(server.RequestHandlerClass, "probes", health)
    return f"http://127.0.0.1:{server.server_port}"


def _get(url: str) -> tuple[int, str]:
    try:
        with web.opened(url, timeout_s=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_are_in_prometheus_format(base_url: str):
    """/metrics has the registry's metrics, also for a request with parameters."""
    assert "\ncrates_total 3.0\n" in _get(f"{base_url}/metrics")[1]
    assert _get(f"{base_url}/metrics?name=crates_total")[0] == 200


def test_alive_while_the_loop_makes_progress(base_url: str, health: Health):
    """/healthz is 503 when the last round was too long ago, and 200 after the next one."""
    assert _get(f"{base_url}/healthz") == (200, "ok\n")
    health._progressed_at -= 1_001
    status, text = _get(f"{base_url}/healthz")
    assert (status, text[:11]) == (503, "stalled for")
    health.progress()
    assert _get(f"{base_url}/healthz")[0] == 200


def test_ready_only_when_the_service_says_so(base_url: str, health: Health):
    """/readyz is 503 with the reason until the service says that it works, and again when it stops."""
    assert _get(f"{base_url}/readyz") == (503, "starting\n")
    health.ready()
    assert _get(f"{base_url}/readyz") == (200, "ok\n")
    health.unready("2 broker shards are not connected")
    assert _get(f"{base_url}/readyz") == (503, "2 broker shards are not connected\n")


def test_anything_else_is_not_found(base_url: str):
    """404 lists the paths that exist."""
    assert _get(f"{base_url}/secrets") == (404, "/metrics, /healthz or /readyz\n")


def test_a_head_request_has_no_body(base_url: str, health: Health):
    """Load balancers and curl -I ask so; they got 501."""
    health.ready()
    with web.opened(Request(f"{base_url}/readyz", method="HEAD"), timeout_s=5) as answer:
        assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, "3", b"")


def test_idle_connections_take_few_threads_and_keep_no_probe_out(base_url: str, server: Any):
    """Each had a thread for ten seconds."""
    before = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", server.server_port), 5) for _ in range(100)]
    assert _get(f"{base_url}/healthz")[0] == 200
    deadline = time.monotonic() + 5
    while threading.active_count() > before + CONNECTIONS_MAX and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before + CONNECTIONS_MAX
    for connection in idle:
        connection.close()


def test_a_taken_port_is_a_clear_error(health: Health):
    """WorldDown names address, port and the setting to change."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(WorldDown, match=rf"127\.0\.0\.1:{port}: .*in use; choose another --metrics-port"):
            serve(health, host="127.0.0.1", port=port)


@pytest.mark.parametrize(("host", "asked"), [("::", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")])
def test_ipv6_addresses_are_served(health: Health, host: str, asked: str):
    """`::` are all addresses of both families."""
    server = serve(health, host=host, port=_free_port())
    assert server is not None
    health.ready()
    assert _get(f"http://{asked}:{server.server_port}/readyz") == (200, "ok\n")
    server.shutdown()
    server.server_close()


def test_serving_asks_no_name_server(health: Health, monkeypatch: pytest.MonkeyPatch):
    """A name server that is silent would delay the start, and with it the answer to a signal."""
    monkeypatch.setattr(socket, "getfqdn", lambda _: pytest.fail("asked for a name"))
    server = serve(health, host="127.0.66.5", port=_free_port())
    assert server is not None
    server.shutdown()
    server.server_close()


def test_port_0_serves_nothing(health: Health):
    """Port 0, the default, opens no port."""
    assert serve(health, host="127.0.0.1", port=0) is None
