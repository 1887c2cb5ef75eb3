"""From callbacks to coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def awaited(begin: Callable[[Callable[[Result | Any], None]], None]) -> Result:
    """What begin's callback is told, on the loop, at once or later; raises it when it is an exception.

    Cancelling the wait does not undo what was begun.
    """
    waiter: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def done(result: Any) -> None:
        if waiter.done():
            return
        if isinstance(result, Exception):
            waiter.set_exception(result)
        else:
            waiter.set_result(result)

    begin(done)
    return await waiter
