"""Handlers in child processes: for work that needs a core, may crash, or must be stopped whatever it does.

Stopping is SIGKILL to the child and all it started. A child that dies by itself took its task with it: the task's
cause is CRASH, which spends none of its retries, with the exit code or signal in the text.
Children are fresh interpreters (no fork of a process full of threads), one task at a time each; the next is started
before it is needed. Everything here happens on the main loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from tq.logs import get_logger
from tq.worker.ending import CRASH, Ending
from tq.worker.lanes.child_process import ChildProcess
from tq.worker.lanes.lane import Finished
from tq.worker.run import Run

log = get_logger("worker")

TASKS_PER_CHILD_MAX = 1_000
"""Then a child is replaced, so that what a library leaks has an end."""
START_FAILURES_MAX = 3
"""After so many children in a row died while starting, the app cannot be loaded and the waiting tasks crash."""
START_PAUSE_S = 0.5
"""Between a child that could not start and the next: an app that cannot be imported must not cost a whole core."""
CLOSE_WAIT_S = 2.0


class ProcessLane:
    """At most `size` children. Runs wait in `_waiting` only while a child starts."""

    def __init__(
        self, app_path: str, kind: str, size: int, loop: asyncio.AbstractEventLoop, finished: Finished
    ) -> None:
        """kind: the worker's --kind, which the child applies to the app as the worker did."""
        self._command = (app_path, kind)
        self._size = size
        self._loop = loop
        self._finished = finished
        self._waiting: deque[Run] = deque()
        self._idle: list[ChildProcess] = []
        self._children: set[ChildProcess] = set()
        self._start_failures = 0
        self._is_closing = False

    @property
    def abandoned(self) -> int:
        return 0  # nothing survives SIGKILL

    @property
    def pids(self) -> list[int]:
        """Of the children alive."""
        return [child.pid for child in self._children]

    async def open(self) -> None:
        """Start one child, so that an app that cannot be imported there is found before there is work."""
        child = self._add_child()
        await child.started.wait()
        if not child.is_ready:
            raise RuntimeError(
                f"the child process could not load {self._command[0]}; its own output says why"
            )

    def start(self, run: Run) -> None:
        if self._idle:
            self._dispatch(self._idle.pop(), run)
        else:
            self._waiting.append(run)
        self._add_children()

    def stop(self, run: Run) -> None:
        if isinstance(run.vehicle, ChildProcess):
            run.vehicle.kill()
        elif run in self._waiting:
            self._waiting.remove(run)
            self._finished(run, Ending(CRASH, error="no child process was ready for it"))

    def abandon(self, run: Run) -> None:
        self.stop(run)

    async def close(self) -> None:
        self._is_closing = True
        children = list(self._children)
        for child in children:
            child.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT_S):
                for child in children:
                    await child.exited.wait()

    # ------------------------------------------------------------ what children tell

    def on_ready(self, child: ChildProcess) -> None:
        self._start_failures = 0
        self._give_work(child)

    def on_ended(self, child: ChildProcess, run: Run, ending: Ending) -> None:
        if child.tasks_run >= TASKS_PER_CHILD_MAX:
            child.retire()
            self._children.discard(child)
            self._add_children()
        else:
            self._give_work(child)
        self._finished(run, ending)

    def on_exited(self, child: ChildProcess, how: str) -> None:
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        run = child.run
        if run is not None:
            if run.stop_cause < 0:
                log.error("child_died", f"a child process {how}", pid=child.pid, task_id=run.context.task_id)
            self._finished(run, Ending(CRASH, error=f"the process that ran the task {how}"))
        if self._is_closing:
            return
        if not child.is_ready:
            self._start_failed(how)
        else:
            self._add_children()

    # ------------------------------------------------------------ children come and go

    def _give_work(self, child: ChildProcess) -> None:
        if self._waiting:
            self._dispatch(child, self._waiting.popleft())
        else:
            self._idle.append(child)

    def _dispatch(self, child: ChildProcess, run: Run) -> None:
        run.vehicle = child
        run.context.begin()  # the time it waited for a child to start is not the handler's
        child.take(run)

    def _add_children(self) -> None:
        """As many as there is work for, and one to spare, so that the next task need not wait for a start."""
        starting = sum(not child.is_ready for child in self._children)
        spare = 0 if self._idle or self._start_failures else 1
        wanted = max(len(self._waiting), spare) - starting
        for _ in range(min(wanted, self._size - len(self._children))):
            if not self._is_closing:
                self._add_child()

    def _add_child(self) -> ChildProcess:
        child = ChildProcess(self, self._loop, self._command)
        self._children.add(child)
        return child

    def _start_failed(self, how: str) -> None:
        self._start_failures += 1
        log.error("child_failed", f"a child process that was to load {self._command[0]} {how}")
        if self._start_failures % START_FAILURES_MAX == 0:
            while self._waiting:
                run = self._waiting.popleft()
                self._finished(run, Ending(CRASH, error=f"the process that was to run the task {how}"))
        self._loop.call_later(START_PAUSE_S, self._add_children)
