"""Code around handlers, onion-wise: the first one added is the outermost.

    @app.middleware
    async def timed(call, ctx):
        started = time.monotonic()
        try:
            return await call()
        finally:
            ctx.logger.info("took", seconds=time.monotonic() - started)

An `async def` wraps async handlers, a plain `def` wraps plain ones; who wants both adds both. What a middleware
raises is the task's error, what it returns is the handler's result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

from tq.worker.context import TaskContext

AsyncCall: TypeAlias = Callable[[], Awaitable[object]]
SyncCall: TypeAlias = Callable[[], object]
AsyncMiddleware: TypeAlias = Callable[[AsyncCall, TaskContext], Awaitable[object]]
SyncMiddleware: TypeAlias = Callable[[SyncCall, TaskContext], object]


def wrap_async(layers: Sequence[AsyncMiddleware], call: AsyncCall, context: TaskContext) -> AsyncCall:
    """The call with all layers around it."""
    for layer in reversed(layers):
        call = partial(layer, call, context)
    return call


def wrap_sync(layers: Sequence[SyncMiddleware], call: SyncCall, context: TaskContext) -> SyncCall:
    """The call with all layers around it."""
    for layer in reversed(layers):
        call = partial(layer, call, context)
    return call
