"""The network link between the two sites: a TCP relay that can be cut."""

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
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self.restore()

    def restore(self) -> None:
        """Accept connections."""
        self._do(self._listen())

    def cut(self) -> None:
        """Abort every connection, and accept none."""
        self._do(self._stop())

    def close(self) -> None:
        """Cut the link, and end the thread."""
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
        for writer in self._writers:
            writer.transport.abort()
        while self._writers:  # every connection's task removes its writers
            await asyncio.sleep(0.01)

    async def _connected(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        self._writers.add(near_writer)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._writers.discard(near_writer)
            near_writer.transport.abort()
            return
        self._writers.add(far_writer)
        await asyncio.gather(
            self._carry(near_reader, far_writer, near_writer),
            self._carry(far_reader, near_writer, far_writer),
        )

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        """Carry one direction until either end closes; then abort both directions."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                writer.write(data)
                await writer.drain()
        for end in (writer, back):
            end.transport.abort()
            self._writers.discard(end)
