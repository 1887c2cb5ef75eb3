"""DequeueJob: single jobs for callers that have no stream, taken over a few sessions that all of them share.

Rules of the file:
- A session asks for one job type at a time, and asks for another by registering again; leases stay with it. So any
  number of types is dequeued over few sessions, however many jobs are out.
- A session that holds nothing and was not used for a while is closed: the list of workers shows who is at work.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from tq.broker.api.stackduck.consumers import held_by, picture
from tq.broker.api.stackduck.holdings import Holdings
from tq.broker.api.stackduck.taker import Taker
from tq.broker.compat.stackduck.jobs import Job
from tq.broker.compat.stackduck.names import task_type_of
from tq.broker.service import Caller, Service
from tq.errors import LeaseLost
from tq.verbs import Claim, Claimed, Delivery

COUNTERS_MAX = 32
"""Sessions, and so calls that take at the same time; further ones wait for their turn, a commit or two."""
IDLE_S = 30.0
"""Callers that poll come back sooner, and find their session open."""
WORKER_NAME = "stackduck-dequeue"


class _Counter:
    """One session. users: calls that use it or wait to. turn: one claim at a time, because a session has one."""

    def __init__(self, taker: Taker, session_id: bytes) -> None:
        self.taker = taker
        self.session_id = session_id
        self.users = 0
        self.used_s = 0.0
        self.turn = asyncio.Lock()
        self.is_registered = False

    @property
    def burden(self) -> int:
        """Thousands of jobs that it holds."""
        return len(self.taker.tokens) // 1_000

    def close(self) -> None:
        if self.is_registered:
            self.taker.stop_taking()
            self.taker.deregister()


class Dequeues:
    """A job taken here has LEASE_MS to be ended; then it goes back, as one that ran out of time."""

    def __init__(
        self, service: Service, holdings: Holdings, *, new_id: Callable[[], bytes], idle_s: float
    ) -> None:
        self._service = service
        self._holdings = holdings
        self._new_id = new_id
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(COUNTERS_MAX)
        self._counters: OrderedDict[str, _Counter] = OrderedDict()
        """by the task type each asks for now, used least lately first"""
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, caller: Caller, job_type: str) -> Job | None:
        """One job of this type, or None when none is due. Raises what the service answers."""
        task_type = task_type_of(job_type)
        async with self._room:
            counter = self._counter_for(task_type)
            counter.users += 1
            try:
                async with counter.turn:
                    return await self._take(counter, caller._replace(peer=counter.taker), task_type)
            finally:
                counter.users -= 1
                counter.used_s = self._loop.time()

    def keep(self) -> None:
        """Keep the sessions; their jobs keep their deadlines. To be called every few minutes."""
        for counter in self._counters.values():
            if counter.is_registered:
                counter.taker.beat()

    def stop(self) -> None:
        """Give back everything at once, uncharged: the broker goes, not the callers."""
        if self._timer is not None:
            self._timer.cancel()
        for counter in self._counters.values():
            counter.close()
        self._counters.clear()

    # ------------------------------------------------------------ one call

    async def _take(self, counter: _Counter, caller: Caller, task_type: str) -> Job | None:
        while (task := await self._claim(counter, caller, task_type)) is not None:
            shown = await picture(self._service, caller, task)
            if shown is not None:
                self._holdings.add(task.task_id, held_by(counter.taker, task, shown.job))
                return shown.job
        return None

    async def _claim(self, counter: _Counter, caller: Caller, task_type: str) -> Delivery | None:
        """The next task. A session that was closed meanwhile is opened again."""
        taker = counter.taker
        if not taker.arrived:
            if taker.task_types != (task_type,):
                await self._register(counter, caller, task_type)
            try:
                reply = await self._service.call(caller, Claim(1))
            except LeaseLost:
                await self._register(counter, caller, task_type)
                reply = await self._service.call(caller, Claim(1))
            assert isinstance(reply, Claimed)
            taker.arrived.extend(reply.tasks)
        return taker.arrived.popleft() if taker.arrived else None

    async def _register(self, counter: _Counter, caller: Caller, task_type: str) -> None:
        """Ask for this type from now on. What arrived of another goes back."""
        counter.taker.hand_back()
        await counter.taker.register(
            caller, session_id=counter.session_id, worker=WORKER_NAME, task_types=(task_type,)
        )
        counter.is_registered = True

    # ------------------------------------------------------------ the sessions

    def _counter_for(self, task_type: str) -> _Counter:
        """The one that asks for this type, a new one, or one that nobody uses: `_room` sees to it that there is one."""
        counter = self._counters.pop(task_type, None)
        if counter is None and len(self._counters) >= COUNTERS_MAX:
            free = [name for name, each in self._counters.items() if not each.users]
            # The one used least lately, of those that have little to list when they register again.
            counter = self._counters.pop(min(free, key=lambda name: self._counters[name].burden))
        if counter is None:
            counter = _Counter(Taker(self._service, self._holdings.drop), self._new_id())
        self._counters[task_type] = counter
        if self._timer is None:
            self._timer = self._loop.call_later(self._idle_s, self._close_idle)
        return counter

    def _close_idle(self) -> None:
        self._timer = None
        idle_since_s = self._loop.time() - self._idle_s
        for task_type, counter in list(self._counters.items()):
            if not counter.users and not counter.taker.tokens and counter.used_s <= idle_since_s:
                del self._counters[task_type]
                counter.close()
        if self._counters:
            self._timer = self._loop.call_later(self._idle_s, self._close_idle)
