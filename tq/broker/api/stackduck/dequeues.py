"""DequeueJob: single jobs for callers that have no stream. One session for each job type serves all of them."""

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
from tq.errors import LeaseLost, RateLimited
from tq.verbs import Claim, Claimed, Delivery

COUNTERS_MAX = 1_000
"""Job types that have a session of their own at a time; the one used least lately, and holding nothing, makes room."""
WORKER_NAME = "stackduck-dequeue"


class _Counter:
    """The session of one job type. turn: one claim at a time, because a session has one."""

    def __init__(self, taker: Taker) -> None:
        self.taker = taker
        self.turn = asyncio.Lock()
        self.is_registered = False

    def close(self) -> None:
        if self.is_registered:
            self.taker.stop_taking()
            self.taker.deregister()


class Dequeues:
    """A job taken here has LEASE_MS to be ended; then it goes back, as one that ran out of time."""

    def __init__(self, service: Service, holdings: Holdings, *, new_id: Callable[[], bytes]) -> None:
        self._service = service
        self._holdings = holdings
        self._new_id = new_id
        self._counters: OrderedDict[str, _Counter] = OrderedDict()

    async def take(self, caller: Caller, job_type: str) -> Job | None:
        """One job of this type, or None when none is due. Raises what the service answers."""
        task_type = task_type_of(job_type)
        counter = self._counter(task_type)
        async with counter.turn:
            as_counter = caller._replace(peer=counter.taker)
            while (task := await self._claim(counter, as_counter, task_type)) is not None:
                job = await picture(self._service, as_counter, task)
                if job is not None:
                    self._holdings.add(task.task_id, held_by(counter.taker, task, job))
                    return job
        return None

    def keep(self) -> None:
        """Keep the sessions; their jobs keep their deadlines. To be called every few minutes."""
        for counter in self._counters.values():
            if counter.is_registered:
                counter.taker.beat()

    def stop(self) -> None:
        """Give back everything at once, uncharged: the broker goes, not the callers."""
        for counter in self._counters.values():
            counter.close()
        self._counters.clear()

    async def _claim(self, counter: _Counter, caller: Caller, task_type: str) -> Delivery | None:
        """The next task. A session that was closed meanwhile is opened again."""
        taker = counter.taker
        if not taker.arrived:
            if not counter.is_registered:
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
        await counter.taker.register(
            caller, session_id=self._new_id(), worker=WORKER_NAME, task_types=(task_type,)
        )
        counter.is_registered = True

    def _counter(self, task_type: str) -> _Counter:
        found = self._counters.get(task_type)
        if found is None:
            self._make_room()
            found = self._counters[task_type] = _Counter(Taker(self._service, self._holdings.drop))
        self._counters.move_to_end(task_type)
        return found

    def _make_room(self) -> None:
        """Close the idlest session that holds nothing. Raises RateLimited when each of COUNTERS_MAX holds something."""
        if len(self._counters) < COUNTERS_MAX:
            return
        for task_type, counter in self._counters.items():
            if not counter.taker.tokens and not counter.turn.locked():
                del self._counters[task_type]
                counter.close()
                return
        raise RateLimited(f"jobs of {COUNTERS_MAX} types are dequeued and not completed; complete some")
