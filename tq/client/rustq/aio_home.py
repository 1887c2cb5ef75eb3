"""Where the async Queue runs: on the caller's event loop. `sync_home` is the twin for threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tq.errors import BadRequest

T = TypeVar("T")


class Home:
    """Runs what the engine does."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Raises BadRequest after `close`."""
        if self._is_closed:
            raise BadRequest("this queue is closed; make a new one")
        self._loop = asyncio.get_running_loop()
        return await work()

    def call(self, function: Callable[[], object]) -> None:
        """Call this where the engine runs; from any thread."""
        if self._loop is None or self._loop.is_closed() or self._loop is asyncio._get_running_loop():
            function()
        else:
            self._loop.call_soon_threadsafe(function)

    async def close(self) -> None:
        """Run nothing any more."""
        self._is_closed = True
