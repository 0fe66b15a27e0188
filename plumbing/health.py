"""/metrics, /healthz and /readyz of a process.

Alive means that the process's loop has completed a round lately (a running thread proves nothing). Ready
means that it does its work now.
"""

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from plumbing.life import WorldDown

STALLED_AFTER_S = 30.0
CONNECTIONS_MAX = 16


class Health:
    """The state that the loop reports and the probes read."""

    def __init__(self, stalled_after_s: float = STALLED_AFTER_S) -> None:
        self._stalled_after_s = stalled_after_s
        self._progressed_at = time.monotonic()
        self.not_ready_because = "starting"  # empty: ready

    def progress(self) -> None:
        """Note that the loop has completed a round."""
        self._progressed_at = time.monotonic()

    def ready(self) -> None:
        """Report that work is being done from now on."""
        self.not_ready_because = ""

    def unready(self, because: str) -> None:
        """Report that no work is being done from now on; /readyz answers `because`."""
        self.not_ready_because = because

    @property
    def not_alive_because(self) -> str:
        """How long no round was completed, if that is longer than allowed; empty: alive."""
        idle_s = time.monotonic() - self._progressed_at
        return f"stalled for {idle_s:.0f} s" if idle_s > self._stalled_after_s else ""


def serve(health: Health, *, host: str, port: int) -> ThreadingHTTPServer | None:
    """Answer probes and scrapes on a daemon thread; port 0: none. Raises WorldDown for a port in use."""
    if port == 0:
        return None

    class Handler(_Handler):
        probes = health

    class Server(_Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        server = Server((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise WorldDown(
            f"cannot serve metrics on {host}:{port}: {error}; choose another --metrics-port"
        ) from error
    # `shutdown` takes as long as the poll interval.
    threading.Thread(target=server.serve_forever, args=(0.1,), name="health", daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    """At most CONNECTIONS_MAX connections, each with a thread: a new one ends the oldest.

    So clients that connect and say nothing neither take all threads nor keep probes out.
    """

    request_queue_size = 128  # of 5, the default, a flood makes a probe wait for seconds to be taken

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[Any, None] = {}  # sockets, the oldest first
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the name server for the name of its address, which nobody here needs.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            while len(self._open) >= CONNECTIONS_MAX:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and ends
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    timeout = 10  # seconds; a client that sends nothing must not occupy a thread
    probes: Health

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, generate_latest(), CONTENT_TYPE_LATEST)
        elif path in ("/healthz", "/readyz"):
            probes = self.probes
            because = probes.not_alive_because if path == "/healthz" else probes.not_ready_because
            self._answer(503 if because else 200, f"{because or 'ok'}\n".encode())
        else:
            self._answer(404, b"/metrics, /healthz or /readyz\n")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _answer(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(ConnectionError):  # the client has hung up, after the status for instance
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes are not logged."""
