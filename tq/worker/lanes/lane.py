"""What the consumer asks of a place where handlers run. Called on the main loop only, never blocks, never raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from tq.worker.ending import Ending
from tq.worker.run import Run

INTERRUPT_AFTER_S = 0.2
"""A handler told to stop has so long to leave by itself (`ctx.cancelled`) before an exception is thrown into it."""
ABANDON_AFTER_MS = 500
"""A handler told to stop that is still there after this is abandoned. With the sweep that finds it, a slot is free
within 0.7 s of the deadline; the promise is 1 s."""

Finished: TypeAlias = Callable[[Run, Ending], None]
"""Called on the main loop when a handler has ended by itself. May come after the run was abandoned."""


class Lane(Protocol):
    @property
    def abandoned(self) -> int:
        """Handlers given up that still hold a thread or a loop."""
        ...

    async def open(self) -> None:
        """Make ready; what a handler needs to start at once is there afterwards. Raises what a start-up hook raised."""
        ...

    def start(self, run: Run) -> None:
        """Begin. The consumer never has more runs under way than the worker has slots."""
        ...

    def stop(self, run: Run) -> None:
        """Make it end soon. Its ending comes through Finished, or never."""
        ...

    def abandon(self, run: Run) -> None:
        """It did not end. See to it that others do not suffer: its place is needed."""
        ...

    async def close(self) -> None:
        """No run is under way any more. Bounded in time."""
        ...
