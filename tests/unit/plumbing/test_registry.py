"""Registering schemas with a stand-in for the registry (tests/integration has the real one)."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from plumbing.life import WorldDown
from plumbing.registry import register


@dataclass(frozen=True)
class _Schema:
    name: str
    fingerprint: bytes
    text: str


TELEMETRY = _Schema("telemetry", b"T", '"int"')


class _Registry(BaseHTTPRequestHandler):
    answers: list[tuple[int, str]]
    requests: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append((self.path, json.loads(body)))
        status, text = self.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[HTTPServer]:
    """A registry that gives the answers in `_Registry.answers`, one after another."""
    _Registry.answers, _Registry.requests = [], []
    server = HTTPServer(("127.0.0.1", 0), _Registry)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield server
    server.shutdown()
    server.server_close()


def _url(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/apis/ccompat/v7/"


def test_schemas_are_posted_in_order_and_their_ids_returned(registry: HTTPServer):
    """POST /subjects/<name>-value/versions, as in the Confluent API; fingerprint to the id of the answer."""
    _Registry.answers = [(200, '{"id": 17}'), (200, '{"id": 4, "version": 2}')]
    ids = register(_url(registry), [TELEMETRY, _Schema("a/b", b"A", '"long"')])
    assert ids == {b"T": 17, b"A": 4}
    assert _Registry.requests == [
        ("/apis/ccompat/v7/subjects/telemetry-value/versions", {"schema": '"int"', "schemaType": "AVRO"}),
        ("/apis/ccompat/v7/subjects/a%2Fb-value/versions", {"schema": '"long"', "schemaType": "AVRO"}),
    ]


def test_without_a_registry_there_are_no_ids():
    """No URL: nothing is registered, and the ids of the schema files stay."""
    assert register(None, [TELEMETRY]) == {}


def test_a_refusal_is_reported_with_the_registry_s_message(registry: HTTPServer):
    """WorldDown has the subject, the HTTP status and the registry's message."""
    _Registry.answers = [(409, '{"error_code": 409, "message": "incompatible"}')]
    with pytest.raises(WorldDown, match=r"refuses telemetry-value: 409 .*incompatible"):
        register(_url(registry), [TELEMETRY])


@pytest.mark.parametrize("answer", ["", "<html>", "[]", '{"version": 1}', '{"id": null}'])
def test_an_answer_without_an_id_is_an_error(registry: HTTPServer, answer: str):
    """WorldDown for an answer that is not the API's, as from another server on the port."""
    _Registry.answers = [(200, answer)]
    with pytest.raises(WorldDown, match="telemetry-value"):
        register(_url(registry), [TELEMETRY])


def test_a_registry_that_is_not_there(registry: HTTPServer):
    """WorldDown for a refused connection names the URL."""
    url = _url(registry)
    registry.server_close()
    with pytest.raises(WorldDown, match=f"{url} does not answer"):
        register(url, [TELEMETRY])
