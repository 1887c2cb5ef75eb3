"""Handlers that misbehave, for tests; a module of its own so that child processes can import it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import sys

from tq.worker.app import App
from tq.worker.context import current

FOREVER_S = 3600.0


def sleep_python() -> None:
    """A sleep that Python code can be thrown out of: many short ones."""
    while True:
        select.select([], [], [], 0.01)


def spin() -> None:
    count = 0
    while True:
        count += 1


def block() -> None:
    """One long call into C that lets other threads run and cannot be interrupted by an exception."""
    select.select([], [], [], FOREVER_S)


async def sleep_async() -> None:
    await asyncio.sleep(FOREVER_S)


async def spin_async() -> None:
    spin()


async def block_async() -> None:
    # Twenty seconds and not for ever: it holds the loop's thread to the end of the test run.
    select.select([], [], [], 20)


async def swallow_async() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(FOREVER_S)


def exit_with(code: int) -> None:
    os._exit(code)


def kill_self(number: int) -> None:
    os.kill(os.getpid(), number)


def segfault() -> None:
    ctypes.string_at(0)


def raise_system_exit() -> None:
    sys.exit(7)


def double(number: int) -> int:
    return 2 * number


def pid() -> int:
    return os.getpid()


def tell_and_extend() -> list[object]:
    context = current()
    context.progress(0.5, "half")
    context.extend(30)
    return [context.task_id, context.attempt, context.token]


def make_app() -> App:
    app = App()
    for function in (sleep_python, spin, block, raise_system_exit, double, pid, tell_and_extend):
        app.task(name=f"thread.{function.__name__}", kind="thread")(function)
        app.task(name=f"process.{function.__name__}", kind="process")(function)
    for function in (exit_with, kill_self, segfault):
        app.task(name=f"process.{function.__name__}", kind="process")(function)
    for async_function in (sleep_async, spin_async, block_async, swallow_async):
        app.task(name=f"async.{async_function.__name__}")(async_function)
    app.task(name="process.sleep_async", kind="process")(sleep_async)

    @app.task(name="async.double")
    async def double_async(number: int) -> int:
        return double(number)

    return app


SIGKILL = int(signal.SIGKILL)
PATH = "tests.worker.victim:make_app"
