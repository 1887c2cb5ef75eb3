"""An event loop in virtual time, one for each incarnation of a process.

Killing the process kills its loop: nothing it had planned happens. Stopping it (SIGSTOP) holds everything back until
it goes on, in the order it was due. Futures and tasks of asyncio run on it unchanged.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future, Handle, Task, TimerHandle
from asyncio.events import _set_running_loop
from collections.abc import Callable, Coroutine
from typing import Any

from tests.sim.world import World

OnRaised = Callable[[BaseException], None]


class SimLoop(AbstractEventLoop):
    """As much of an event loop as brokers use."""

    def __init__(self, world: World, on_raised: OnRaised) -> None:
        """on_raised: told of what a callback raised."""
        self._world = world
        self._on_raised = on_raised
        self.is_dead = False
        self.paused_until = 0.0

    # ------------------------------------------------------------ what asyncio asks of a loop

    def time(self) -> float:
        return self._world.now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, self, context)
        self._world.at(self._world.now, lambda: self._run(handle))
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> TimerHandle:
        return self.call_at(self._world.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> TimerHandle:
        handle = TimerHandle(when, callback, args, self, context)
        self._world.at(when, lambda: self._run(handle))
        return handle

    def create_future(self) -> Future[Any]:
        return Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **settings: Any) -> Task[Any]:  # type: ignore[override]
        return Task(coro, loop=self, name=settings.get("name"))

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.is_dead

    def is_closed(self) -> bool:
        return self.is_dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._on_raised(error if error is not None else RuntimeError(str(context.get("message"))))

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """Nothing to sweep: a cancelled handle is passed over when it is due."""

    # ------------------------------------------------------------ what the simulator does with it

    def enter(self, action: Callable[[], object]) -> None:
        """Do it now as if the loop had called it; what it raises goes to on_raised."""
        if self.is_dead:
            return
        before = asyncio._get_running_loop()
        _set_running_loop(self)
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the process decides what becomes of it
            self._on_raised(error)
        finally:
            _set_running_loop(before)

    def pause_until(self, when: float) -> None:
        self.paused_until = max(self.paused_until, when)

    def kill(self) -> None:
        self.is_dead = True

    def _run(self, handle: Handle) -> None:
        if self.is_dead or handle.cancelled():
            return
        if self.paused_until > self._world.now:
            self._world.at(self.paused_until, lambda: self._run(handle))
            return
        before = asyncio._get_running_loop()
        _set_running_loop(self)
        try:
            handle._run()
        finally:
            _set_running_loop(before)
