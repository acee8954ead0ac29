"""Listen in between two Unix sockets: everything that passes goes on, and is kept by direction."""

import asyncio
import contextlib
from pathlib import Path


class Tap:
    """Carry bytes from one path to another, and keep them.

    Attributes:
        there: what went from whoever dialled to whoever listens.
        back: what came back.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self.target = path, target
        self.there, self.back = bytearray(), bytearray()

    async def serve(self) -> None:
        server = await asyncio.start_unix_server(self._carry, str(self.path))
        async with server:
            await server.serve_forever()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(str(self.target))
        with contextlib.suppress(OSError):
            await asyncio.gather(_pour(reader, far_writer, self.there), _pour(far_reader, writer, self.back))
        far_writer.close()
        writer.close()


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter, kept: bytearray) -> None:
    while piece := await source.read(65536):
        kept += piece
        sink.write(piece)
        await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()
