"""One connection to Redis that runs scripts, one after the other.

The library's own way to run a script goes through a pool, retries, measurements and three time-outs: it costs ten times what
Redis takes. So its connections are used here by themselves: they connect, authenticate and parse, and that is all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from hashlib import sha1
from math import inf
from typing import Any, TypeAlias

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, ResponseError

Argument: TypeAlias = bytes | str | int


class Script:
    """Lua, and the name by which a server that has seen it knows it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.name = sha1(self.text, usedforsecurity=False).hexdigest().encode()


class Wire:
    """make: gives a connection that is not connected yet. answer_s: a Redis that is silent for so long is away."""

    def __init__(self, make: Callable[[], AbstractConnection], answer_s: float) -> None:
        self._make = make
        self._answer_s = answer_s
        self._connection: AbstractConnection | None = None
        self._turn = asyncio.Lock()
        self._is_stale = False

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """What the script returns, texts as bytes. Raises the library's errors, OSError and TimeoutError; nothing is tried
        again."""
        tail = (len(keys), *(key.encode(errors="surrogateescape") for key in keys), *args)
        async with self._turn:
            if self._is_stale:
                await self.close()
            try:
                async with asyncio.timeout(self._answer_s):
                    try:
                        return await self._ask(b"EVALSHA", script.name, *tail)
                    except NoScriptError:
                        return await self._ask(b"EVAL", script.text, *tail)
            except ResponseError:
                raise  # an answer: the connection is as good as before
            except BaseException:
                await self.close()
                raise

    async def messages(self, channel: str) -> AsyncGenerator[bytes]:
        """What is said on a channel, for ever; the connection is used for nothing else then."""
        await self._ask(b"SUBSCRIBE", channel)
        assert self._connection is not None
        try:
            while True:
                said = await self._connection.read_response(disable_decoding=True, timeout=inf)
                if said[0] == b"message":
                    yield said[2]
        finally:
            await self.close()

    def renew(self) -> None:
        """Begin with a new connection next time: Redis was away, so the one from before is dead and does not know it."""
        self._is_stale = True

    async def close(self) -> None:
        self._is_stale = False
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _ask(self, *command: Argument) -> Any:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._make()
            await connection.connect()  # type: ignore[no-untyped-call]
            # From here on there is one time-out for question and answer; the library's own cost a task and two more.
            connection.socket_timeout = None
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stubs know tuples of one only
        await connection.send_packed_command(packed, check_health=False)
        return await connection.read_response(disable_decoding=True)
