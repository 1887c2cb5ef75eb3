"""The disk thread, as far as logs need it, and how they wait for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from tq.broker.awaiting import awaited

Result = TypeVar("Result")


class Disk(Protocol):
    """See `storage.disk.DiskThread`."""

    def run(self, job: Callable[[], object]) -> None: ...

    def call(self, job: Callable[[], Result], done: Callable[[Result | Exception], None]) -> None: ...


async def done_on(disk: Disk, job: Callable[[], Result]) -> Result:
    """Run job on the disk thread and wait for it; raises what it raised."""
    return await awaited(partial(disk.call, job))
