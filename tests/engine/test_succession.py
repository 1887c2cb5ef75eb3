"""A node that begins to lead, and one that leads no more."""

from __future__ import annotations

import pytest

from tests.engine.harness import Engine, FakePeer, spec, with_engine
from tq.clock import ManualClock
from tq.errors import NotLeader
from tq.ids import new_id
from tq.task import IN_PROGRESS, TaskView
from tq.verbs import Deliver, GetTask, Settle, SettleItem, Watch

HOUR_MS = 3_600_000


def leads_again(engine: Engine) -> None:
    engine.backend.lead(False)
    engine.backend.lead(True)


@pytest.mark.parametrize("ahead_ms", [HOUR_MS, -HOUR_MS])
def test_lease_keeps_the_time_it_had_left_whatever_the_next_leaders_clock_says(ahead_ms: int) -> None:
    async def test(engine: Engine) -> None:
        (task_id,) = await engine.submit(spec(timeout_ms=60_000))
        session_id = new_id()
        worker = await engine.worker(session_id=session_id)
        (delivery,) = await worker.delivered(1)
        engine.clock.advance(30_000)
        engine.clock.step_wall(ahead_ms)
        leads_again(engine)
        holds = ((task_id, delivery.token),)
        again = await engine.worker(session_id=session_id, holds=holds)
        await engine.backend.catch_up()
        engine.clock.advance(20_000)
        await engine.backend.catch_up()
        task = await engine.call(GetTask(task_id))
        assert isinstance(task, TaskView)
        assert task.state == IN_PROGRESS
        await engine.call(Settle((SettleItem(task_id, delivery.token),)), again)

    with_engine(test, clock=ManualClock())


def test_workers_and_waiters_are_let_go_by_a_node_that_leads_no_more() -> None:
    async def test(engine: Engine) -> None:
        (task_id,) = await engine.submit(spec("unserved"))
        worker, waiter = await engine.worker(), FakePeer()
        await engine.call(Watch((task_id,)), waiter)
        engine.backend.lead(False)
        for peer in (worker, waiter):
            assert [type(error) for error in peer.dismissals] == [NotLeader]
        assert not [push for push in worker.pushes if isinstance(push, Deliver)]
        engine.backend.lead(True)

    with_engine(test)
