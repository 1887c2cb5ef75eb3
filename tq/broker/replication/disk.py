"""The disk thread, as far as logs need it, and how they wait for it."""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class Disk(Protocol):
    """See `storage.disk.DiskThread`."""

    def run(self, job: Callable[[], object]) -> None: ...

    def call(self, job: Callable[[], Result], done: Callable[[Result | Exception], None]) -> None: ...


async def done_on(disk: Disk, job: Callable[[], Result]) -> Result:
    """Run job on the disk thread and wait for it; raises what it raised."""
    future: Future[Result] = get_running_loop().create_future()

    def done(result: Any) -> None:
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    disk.call(job, done)
    return await future
