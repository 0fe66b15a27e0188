"""The network link between the two sites: a TCP relay. While its process is away, the link is cut.

`python -m loadtest.relay PORT TARGET` carries bytes from 127.0.0.1:PORT to 127.0.0.1:TARGET. It imports only
the standard library, and so works a tenth of a second after its start.
"""

import asyncio
import contextlib
import sys

_READ_BYTES = 65_536


async def serve(port: int, target: int) -> None:
    """Carry until the process is killed. Raises OSError where the port is taken."""

    async def connected(near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            near_writer.transport.abort()
            return
        ends = (near_writer, far_writer)
        await asyncio.gather(_carry(near_reader, far_writer, ends), _carry(far_reader, near_writer, ends))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...]
) -> None:
    """Carry one direction until either end closes; then abort both ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
    for end in ends:
        end.transport.abort()


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:])))
