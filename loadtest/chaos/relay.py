"""The line between the two sites: a TCP relay that can be cut."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

_READ_BYTES = 65_536
_ANSWER_WITHIN_S = 10.0


class Relay:
    """Carries bytes from 127.0.0.1:`port` to 127.0.0.1:`target` on a thread of its own, until it is cut."""

    def __init__(self, port: int, target: int) -> None:
        self._port, self._target = port, target
        self._server: asyncio.Server | None = None
        self._ways: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self.restore()

    def restore(self) -> None:
        """Take connections."""
        self._do(self._listen())

    def cut(self) -> None:
        """End every connection at this moment, and take none."""
        self._do(self._stop())

    def close(self) -> None:
        """Cut for good, and end the thread."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_WITHIN_S)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_WITHIN_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for way in self._ways:
            way.transport.abort()
        while self._ways:  # until every connection's task has seen it
            await asyncio.sleep(0.01)

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self._ways.add(back)
        try:
            far, forth = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._ways.discard(back)
            back.transport.abort()
            return
        self._ways.add(forth)
        await asyncio.gather(self._carry(near, forth, back), self._carry(far, back, forth))

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way_back: asyncio.StreamWriter
    ) -> None:
        """One direction until either end is gone; the other direction ends with it."""
        with contextlib.suppress(OSError):
            while data := await source.read(_READ_BYTES):
                sink.write(data)
                await sink.drain()
        for way in (sink, way_back):
            way.transport.abort()
            self._ways.discard(way)
