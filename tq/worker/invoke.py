"""Calling a handler: arguments in, middleware around, an Ending out. Never raises, whatever the handler does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from tq.spans import running
from tq.worker.arguments import unpack_arguments
from tq.worker.context import CURRENT, TaskContext
from tq.worker.ending import Ending, ending_of_error, ending_of_value
from tq.worker.middleware import wrap_async, wrap_sync

if TYPE_CHECKING:
    from tq.worker.app import App
    from tq.worker.definition import Definition


async def invoke_async(app: App, definition: Definition, context: TaskContext, payload: bytes) -> Ending:
    """Run an async handler in the current asyncio task.

    CancelledError too becomes an Ending: whoever cancelled knows why and replaces the cause.
    """
    CURRENT.set(context)
    ending: Ending | None = None
    try:
        with running(context.delivery) as ended:
            ending = await _run_async(app, definition, context, payload)
            ended(ending.cause)
    except BaseException as error:  # noqa: BLE001  not the handler's: a stop at the last moment, or somebody's tracer
        return ending or ending_of_error(error)
    return ending


async def _run_async(app: App, definition: Definition, context: TaskContext, payload: bytes) -> Ending:
    try:
        call = cast("Callable[[], Awaitable[object]]", _bound(definition, payload))
        if app.async_middleware:
            call = wrap_async(app.async_middleware, call, context)
        return ending_of_value(definition, await call())
    except BaseException as error:  # noqa: BLE001  the handler's error, whatever it is, is the task's and not the worker's
        return ending_of_error(error)


def invoke_sync(app: App, definition: Definition, context: TaskContext, payload: bytes) -> Ending:
    """Run a handler in the current thread; a coroutine function gets an event loop for this one call."""
    if definition.is_coroutine:
        try:
            return asyncio.run(invoke_async(app, definition, context, payload))
        except BaseException as error:  # noqa: BLE001  a Stopped that hits the loop instead of the handler
            return ending_of_error(error)
    CURRENT.set(context)
    ending: Ending | None = None
    try:
        with running(context.delivery) as ended:
            ending = _run_sync(app, definition, context, payload)
            ended(ending.cause)
    except BaseException as error:  # noqa: BLE001  as above
        return ending or ending_of_error(error)
    return ending


def _run_sync(app: App, definition: Definition, context: TaskContext, payload: bytes) -> Ending:
    try:
        call = _bound(definition, payload)
        if app.sync_middleware:
            call = wrap_sync(app.sync_middleware, call, context)
        return ending_of_value(definition, call())
    except BaseException as error:  # noqa: BLE001  as above
        return ending_of_error(error)


def _bound(definition: Definition, payload: bytes) -> Callable[[], object]:
    if definition.is_raw:
        return partial(definition.function, payload)
    args, kwargs = unpack_arguments(payload)
    return partial(definition.function, *args, **kwargs)
