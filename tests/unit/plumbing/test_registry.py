"""Registering schemas, against a stand-in for the registry (the real one: tests/integration)."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from plumbing.life import WorldDown
from plumbing.registry import register


class _Registry(BaseHTTPRequestHandler):
    answers: list[tuple[int, str]]
    asked: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, json.loads(body)))
        status, text = self.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[HTTPServer]:
    """Answers with what the test puts into `answers`."""
    _Registry.answers, _Registry.asked = [], []
    server = HTTPServer(("127.0.0.1", 0), _Registry)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield server
    server.shutdown()
    server.server_close()


def _url(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/apis/ccompat/v7/"


def test_schemas_are_posted_in_order_and_their_ids_returned(registry: HTTPServer):
    """POST /subjects/<subject>/versions, as the Confluent API has it; the answer's id counts."""
    _Registry.answers = [(200, '{"id": 17}'), (200, '{"id": 4, "version": 2}')]
    assert register(_url(registry), [("telemetry-value", '"int"'), ("a/b-value", '"long"')]) == [17, 4]
    assert _Registry.asked == [
        ("/apis/ccompat/v7/subjects/telemetry-value/versions", {"schema": '"int"', "schemaType": "AVRO"}),
        ("/apis/ccompat/v7/subjects/a%2Fb-value/versions", {"schema": '"long"', "schemaType": "AVRO"}),
    ]


def test_a_refusal_is_reported_with_the_registry_s_words(registry: HTTPServer):
    """An incompatible schema: WorldDown with the subject, the status and the message."""
    _Registry.answers = [(409, '{"error_code": 409, "message": "incompatible"}')]
    with pytest.raises(WorldDown, match=r"refuses telemetry-value: 409 .*incompatible"):
        register(_url(registry), [("telemetry-value", '"int"')])


@pytest.mark.parametrize("answer", ["", "<html>", "[]", '{"version": 1}', '{"id": null}'])
def test_nonsense_is_no_id(registry: HTTPServer, answer: str):
    """An answer that is not the API's, from some other server on the port, is WorldDown too."""
    _Registry.answers = [(200, answer)]
    with pytest.raises(WorldDown, match="telemetry-value"):
        register(_url(registry), [("telemetry-value", '"int"')])


def test_nobody_there(registry: HTTPServer):
    """A refused connection is WorldDown and names the address."""
    url = _url(registry)
    registry.server_close()
    with pytest.raises(WorldDown, match=f"{url} does not answer"):
        register(url, [("telemetry-value", '"int"')])
