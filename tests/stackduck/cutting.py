"""A way to PostgreSQL that can be cut right behind a statement, before its answer is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 64 * 1024


@dataclass
class Cutter:
    """Forwards everything, until bytes that hold `mark` come from a client: then that connection is cut.

    mark: empty = nothing is cut. reaches: whether the bytes still get to the server. done: awaited before the cut, with
    answers held back, so that a test can see that the server has done it. cuts: how often it happened.
    """

    port: int = 0
    mark: bytes = b""
    reaches: bool = True
    done: Callable[[], Awaitable[object]] | None = None
    cuts: int = 0
    _held: set[asyncio.StreamWriter] = field(default_factory=set)

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server_port: int
    ) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", server_port)
        back = asyncio.create_task(self._back(server_reader, writer))
        try:
            while data := await reader.read(CHUNK_BYTES):
                is_cut = bool(self.mark) and self.mark in data
                if is_cut:
                    self._held.add(writer)
                    self.cuts += 1
                if not is_cut or self.reaches:
                    server_writer.write(data)
                    await server_writer.drain()
                if is_cut:
                    if self.done is not None:
                        await self.done()
                    break
        except ConnectionError:
            pass
        finally:
            back.cancel()
            for end in (server_writer, writer):
                end.transport.abort()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                if writer not in self._held:
                    writer.write(data)
                    await writer.drain()
            if writer not in self._held:
                writer.close()  # as the server did: a client that says goodbye waits for that


@asynccontextmanager
async def cutter(server_port: int) -> AsyncIterator[Cutter]:
    """One in front of a server of this machine."""
    made = Cutter()
    listener = await asyncio.start_server(
        lambda reader, writer: made.forward(reader, writer, server_port), "127.0.0.1", 0
    )
    made.port = listener.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listener.close()
