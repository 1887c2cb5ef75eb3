"""An event loop in virtual time, one for each incarnation of a process.

Killing the process kills its loop: nothing it had planned happens. Stopping it (SIGSTOP) holds everything back until
it goes on, in the order it was due. Futures and tasks of asyncio run on it unchanged.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future, Task
from asyncio.events import _set_running_loop
from collections.abc import Callable, Coroutine
from contextvars import Context
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any

from tests.sim.world import World

OnRaised = Callable[[BaseException], None]


class SimHandle:
    """What `call_soon` and `call_at` give: asyncio's handles cost more than what most callbacks here do."""

    __slots__ = ("_args", "_callback", "_context", "_loop", "is_cancelled", "is_done")

    def __init__(
        self, loop: SimLoop, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._args = args
        self._context = context
        self.is_cancelled = self.is_done = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def __call__(self) -> None:
        """It is due."""
        loop = self._loop
        if self.is_cancelled or self.is_done or loop.is_dead:
            return
        if loop.paused_until > loop.world.now:
            loop.hold(self)
            return
        self.is_done = True
        # Nobody asks for the running loop between two events, so it is not taken back: see `run`.
        if asyncio._get_running_loop() is not loop:
            _set_running_loop(loop)
        try:
            if self._context is None:
                self._callback(*self._args)
            else:
                self._context.run(self._callback, *self._args)
        except Exception as error:  # noqa: BLE001 - as asyncio's own handles do
            loop.call_exception_handler({"exception": error})


class SimLoop(AbstractEventLoop):
    """As much of an event loop as brokers use."""

    def __init__(self, world: World, on_raised: OnRaised) -> None:
        """on_raised: told of what a callback raised."""
        self.world = world
        self._on_raised = on_raised
        self.is_dead = False
        self.paused_until = 0.0
        self._held: list[SimHandle] = []
        self._tasks: list[Task[Any]] = []

    # ------------------------------------------------------------ what asyncio asks of a loop

    def time(self) -> float:
        return self.world.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        handle = SimHandle(self, callback, args, context)
        self.world.at(self.world.now, handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Any:
        handle = SimHandle(self, callback, args, context)
        self.world.at(when, handle)
        return handle

    def create_future(self) -> Future[Any]:
        return Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **settings: Any) -> Task[Any]:  # type: ignore[override]
        task = Task(coro, loop=self, name=settings.get("name"))
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.is_dead

    def is_closed(self) -> bool:
        return self.is_dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._on_raised(error if error is not None else RuntimeError(str(context.get("message"))))

    # ------------------------------------------------------------ what the simulator does with it

    def enter(self, action: Callable[[], object]) -> None:
        """Do it now as if the loop had called it; what it raises goes to on_raised."""
        if self.is_dead:
            return
        if asyncio._get_running_loop() is not self:
            _set_running_loop(self)
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the process decides what becomes of it
            self._on_raised(error)

    def pause_until(self, when: float) -> None:
        if self.paused_until <= self.world.now:
            self._held = []
        self.paused_until = max(self.paused_until, when)

    def hold(self, handle: SimHandle) -> None:
        """It became due in a pause."""
        self._held.append(handle)
        self.world.at(self.paused_until, handle)

    def resume(self) -> None:
        """Go on before the pause is over: first with what became due in it, or what came later would overtake it."""
        if self.paused_until > self.world.now:
            self.paused_until = self.world.now
            for handle in self._held:
                self.world.at(self.world.now, handle)

    def kill(self) -> None:
        """What was never begun is closed, or Python would complain of it later."""
        self.is_dead = True
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if getcoroutinestate(coro := task.get_coro()) == CORO_CREATED:  # type: ignore[arg-type]
                coro.close()
