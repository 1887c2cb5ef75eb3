"""What a job's end does to a record that does not show it yet."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

from tq.broker.access import Permission, principal
from tq.broker.adapters.stackduck.backend import CAPABILITIES
from tq.broker.api.stackduck.endings import Endings
from tq.broker.api.stackduck.holdings import Holdings
from tq.broker.awaiting import awaited
from tq.broker.service import Caller, Service, Silent
from tq.ids import new_id
from tq.task import IN_PROGRESS, TaskView
from tq.verbs import SETTLED_LEASE_LOST, GetTask, Reply, Request, Settle, Settled


class Lagging:
    """A service whose job has ended in Redis, and whose PostgreSQL is back and not told yet."""

    capabilities = CAPABILITIES

    def __init__(self) -> None:
        self.asked: list[type[Request]] = []

    async def call(self, caller: Caller, request: Request) -> Reply:
        self.asked.append(type(request))
        if isinstance(request, Settle):
            return Settled(bytes([SETTLED_LEASE_LOST]))
        assert isinstance(request, GetTask), request
        return TaskView(request.task_id, "mail", "stackduck", IN_PROGRESS, "", 150, 0, 0, 0, 0, 0, 0, "")


def test_job_completed_twice_while_postgres_comes_back_is_not_cancelled() -> None:
    service = Lagging()
    caller = Caller(Silent(), principal("tests", (Permission.ADMIN,)))

    async def complete() -> bool:
        endings = Endings(cast(Service, service), Holdings())
        return await awaited(partial(endings.complete, caller, new_id(), ""))

    assert asyncio.run(complete())

    assert service.asked == [Settle, GetTask]
