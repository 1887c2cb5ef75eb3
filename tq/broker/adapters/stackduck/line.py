"""One connection to PostgreSQL, made when it is needed and thrown away when anything is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from tq.broker.adapters.stackduck.stores import Store

R = TypeVar("R")

CONNECT_S = 3.0
ANSWER_S = 5.0
"""StackDuck waits so long for a connection; here a server that is silent for so long counts as away."""
_2000_US = 946_684_800_000_000
CUT = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""Of a statement that was sent, what leaves open whether it was done. What the library finds wrong itself it finds before
it sends anything."""
AWAY = (
    *CUT,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DiskFullError,
    asyncpg.UndefinedTableError,
)
"""What says nothing about the statement: the same may succeed later."""


class Line:
    """Statements one after the other. UUIDs are bytes, times microseconds since 1970, JSON text."""

    def __init__(self, url: str, store: Store, *, settings: dict[str, str] | None = None) -> None:
        self._url = url
        self._store = store
        self._settings = settings
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()
        # What one line has noticed the others need not wait for.
        store.on_gone.append(self._throw_away)

    async def run(self, use: Callable[[asyncpg.Connection], Awaitable[R]], *, is_probe: bool = False) -> R:
        """Raises StoreAway, at once while PostgreSQL is known to be away, StoreCut when the statement may have been
        done; and asyncpg's errors about the statement.

        is_probe: try even so.
        """
        if not self._store.is_up and not is_probe:
            raise self._store.away()
        async with self._turn:
            was_asked = False
            try:
                connection = await self._connected()
                was_asked = True
                return await self._within(ANSWER_S, connection, use(connection))
            except AWAY as error:
                self._throw_away()
                was_asked = was_asked and isinstance(error, CUT)
                raise self._store.gone(error, was_asked=was_asked) from error

    async def _within(self, seconds: float, connection: Any, work: Awaitable[R]) -> R:
        """The library asks the server to cancel what takes too long, and waits for it: a server that is dead or stopped
        would hold us up for ever. So the connection goes first."""
        running = asyncio.ensure_future(work)
        try:
            await asyncio.wait({running}, timeout=seconds)
        finally:
            if not running.done():
                connection.terminate()
                running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
                running.cancel()
        if not running.done():
            raise TimeoutError(f"no answer within {seconds:.0f} s")
        return running.result()

    async def _connected(self) -> asyncpg.Connection:
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = await asyncpg.connect(self._url, timeout=CONNECT_S, server_settings=self._settings)
            self._connection = connection
            await self._within(ANSWER_S, connection, _set_codecs(connection))
        return connection

    def _throw_away(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=CONNECT_S)
            except AWAY:
                connection.terminate()


async def _set_codecs(connection: Any) -> None:
    """Bytes and integers go through as they are: a datetime for each column costs more than the row."""
    await connection.set_type_codec(
        "uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
    )
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=lambda us: (us - _2000_US,),
        decoder=lambda found: found[0] + _2000_US,
        format="tuple",
    )
