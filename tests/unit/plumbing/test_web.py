"""Requests to this machine go there directly, those to other hosts as the environment says."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.error import URLError

import pytest

from plumbing import web


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Tests print nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment whose proxy does not answer."""
    web._opener.cache_clear()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    yield monkeypatch
    web._opener.cache_clear()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_the_proxy(proxy: pytest.MonkeyPatch, port: int, host: str):
    """Otherwise every probe of a healthy process fails where `http_proxy` is set."""
    with web.opened(f"http://{host}:{port}/readyz", timeout_s=5) as answer:
        assert (answer.status, answer.read()) == (200, b"/readyz")


def test_another_host_is_asked_through_the_proxy(proxy: pytest.MonkeyPatch, port: int):
    """A schema registry may be reachable only so."""
    proxy.setenv("http_proxy", f"http://127.0.0.1:{port}")
    with web.opened("http://registry.example/subjects", timeout_s=5) as answer:
        assert answer.read() == b"http://registry.example/subjects"


def test_no_answer_is_an_oserror(proxy: pytest.MonkeyPatch):
    """Callers treat a refused connection and a late answer alike."""
    with pytest.raises(URLError):
        web.opened("http://127.0.0.1:9/", timeout_s=5)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.3.2.1", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("10.0.0.1", False),
        ("127.0.0.1.example", False),
    ],
)
def test_what_is_this_machine(host: str, ours: bool):
    """Addresses of the loopback interface and its one name; a name that only looks like one is not."""
    assert web.is_loopback(host) == ours
