"""A hop of the network: a TCP relay, which can be cut and slowed down.

`python -m loadtest.relay PORT TARGET` carries bytes from 127.0.0.1:PORT to 127.0.0.1:TARGET. While its
process is away, the hop is cut. SIGUSR1 makes it slow, and quick again; SIGUSR2 cuts all connections, and new
ones work. It imports only the standard library, and so works a tenth of a second after its start.
"""

import asyncio
import contextlib
import signal
import sys

_READ_BYTES = 1 << 20
_SLOW_S = 0.3  # that each read of a slow relay takes longer, each way


class Relay:
    """All connections of a hop."""

    def __init__(self, port: int, target: int) -> None:
        self._port, self._target = port, target
        self._delay_s = 0.0
        self._ends: set[asyncio.StreamWriter] = set()

    async def serve(self) -> None:
        """Carry until the process is killed. Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self._change_pace)
        loop.add_signal_handler(signal.SIGUSR2, self._cut)
        server = await asyncio.start_server(
            self._connected, "127.0.0.1", self._port, limit=_READ_BYTES, backlog=1_024
        )
        await server.serve_forever()

    def _change_pace(self) -> None:
        self._delay_s = 0.0 if self._delay_s else _SLOW_S

    def _cut(self) -> None:
        for end in list(self._ends):
            end.transport.abort()

    async def _connected(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(
                "127.0.0.1", self._target, limit=_READ_BYTES
            )
        except OSError:
            near_writer.transport.abort()
            return
        ends = {near_writer, far_writer}
        self._ends |= ends
        await asyncio.gather(
            self._carry(near_reader, far_writer, ends), self._carry(far_reader, near_writer, ends)
        )
        self._ends -= ends

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: set[asyncio.StreamWriter]
    ) -> None:
        """Carry one direction until either end closes; then abort both ends."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                writer.write(data)
                await writer.drain()
        for end in ends:
            end.transport.abort()


if __name__ == "__main__":
    asyncio.run(Relay(*map(int, sys.argv[1:])).serve())
