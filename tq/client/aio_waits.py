"""The few waits a channel needs, on asyncio. `sync_waits` has the same names for threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Signal:
    """Something that happens once and wakes everybody who waits for it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """False: it has not happened within so many seconds."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                return await self._event.wait()
        except TimeoutError:
            return False


def clock() -> Callable[[], float]:
    """What tells the time in seconds that deadlines here are on."""
    return asyncio.get_running_loop().time


async def pause(seconds: float) -> None:
    """Wait; 0 or less does not."""
    if seconds > 0:
        await asyncio.sleep(seconds)


home = asyncio.get_running_loop
"""What connections live and die with: the running event loop."""


def is_gone(loop: asyncio.AbstractEventLoop) -> bool:
    """No connection of that home can be used any more."""
    return loop.is_closed()
