"""The native backend through its port: verbs in, replies and pushes out."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.harness import WAIT_SECONDS, Engine, spec, with_engine
from tq.broker.replication.memory import MemoryLog
from tq.broker.storage.memory import MemoryStore
from tq.clock import ManualClock
from tq.errors import OutcomeUnknown, TaskNotFound
from tq.ids import new_id
from tq.task import COMPLETED, DEAD_LETTER, IN_PROGRESS, PENDING, RETRYING, SCHEDULED, Cause, TaskView
from tq.verbs import (
    Claim,
    Claimed,
    GetTask,
    Retry,
    Settle,
    SettleItem,
    Submit,
    Submitted,
    TaskEnded,
    Watch,
    Watching,
)


def test_a_submitted_task_is_delivered_settled_and_told_to_who_watches() -> None:
    async def run(engine: Engine) -> None:
        [task_id] = await engine.submit(spec(payload=b"hello", metadata={"trace": "1"}))
        assert await engine.call(Watch((task_id,))) == Watching()
        worker = await engine.worker()
        [delivery] = await worker.delivered(1)
        assert (delivery.task_id, delivery.payload, delivery.attempt) == (task_id, b"hello", 1)
        assert delivery.metadata == {"trace": "1"}
        reply = await engine.call(Settle((SettleItem(task_id, delivery.token, Cause.DONE, b"hi"),)), worker)
        assert reply.codes == b"\0"
        ended = await engine.peer.next()
        assert isinstance(ended, TaskEnded)
        assert (ended.tasks[0].task_id, ended.tasks[0].state, ended.tasks[0].result) == (
            task_id,
            COMPLETED,
            b"hi",
        )
        view = await engine.call(GetTask(task_id, with_payload=True))
        assert isinstance(view, TaskView)
        assert (view.result, view.payload, view.payload_bytes) == (b"hi", b"hello", 5)
        assert [attempt.cause for attempt in view.attempts] == [Cause.DONE]

    with_engine(run)


def test_tasks_count_as_waiting_from_their_submit_on_and_once() -> None:
    async def run(engine: Engine) -> None:
        engine.log.holds = True
        first = engine.begin(Submit((spec(), spec())))
        assert engine.backend.depth == 2
        await asyncio.sleep(0)
        assert engine.backend.depth == 2, "on its way to the disk"
        second = engine.begin(Submit((spec(),)))
        assert engine.backend.depth == 3
        engine.log.let_go()
        await asyncio.gather(first, second)
        assert engine.backend.depth == 3
        engine.log.fails_next = True
        with pytest.raises(OutcomeUnknown):
            await engine.submit(spec())
        assert engine.backend.depth == 3

    with_engine(run)


def test_tasks_that_exist_by_id_or_unique_key_are_not_new() -> None:
    async def run(engine: Engine) -> None:
        waits, ends, keyed = spec(), spec(), spec(unique_key="k")
        worker = await engine.worker()
        await engine.submit(ends)
        [delivery] = await worker.delivered(1)
        await engine.call(Settle((SettleItem(ends.task_id, delivery.token, Cause.DONE),)), worker)
        await engine.submit(keyed, waits)
        assert engine.backend.new_among([waits, ends, keyed, spec(unique_key="k"), spec()]) == 1

    with_engine(run)


def test_task_that_ended_came_back_and_ended_again_counts_as_one_that_exists() -> None:
    async def run(engine: Engine) -> None:
        task = spec(max_retries=0)
        worker = await engine.worker()
        await engine.submit(task)
        for is_first in (True, False):
            [delivery] = await worker.delivered(1)
            failed = SettleItem(task.task_id, delivery.token, Cause.ERROR, error="no")
            await engine.call(Settle((failed,)), worker)
            if is_first:
                # Looking at it brings its end into the store; the second one is kept back for a moment.
                await engine.call(GetTask(task.task_id))
                await engine.call(Retry(task.task_id))
        assert engine.backend.new_among([task, spec(), spec()]) == 2

    with_engine(run)


def test_what_arrives_while_an_entry_commits_shares_the_next() -> None:
    async def run(engine: Engine) -> None:
        engine.log.holds = True
        first = engine.begin(Submit((spec(),)))
        await asyncio.sleep(0)
        rest = [engine.begin(Submit((spec(),))) for _ in range(50)]
        engine.log.let_go()
        replies = await asyncio.gather(first, *rest)
        assert all(isinstance(reply, Submitted) for reply in replies)
        assert engine.log.last_index == 2

    with_engine(run)


def test_an_entry_whose_fate_the_log_does_not_know_is_answered_unknown() -> None:
    async def run(engine: Engine) -> None:
        engine.log.fails_next = True
        with pytest.raises(OutcomeUnknown):
            await engine.call(Submit((spec(),)))
        assert (await engine.call(Submit((spec(),)))).states == bytes([PENDING])

    with_engine(run)


def test_a_restart_from_store_and_log_recovers_everything() -> None:
    store, log, clock = MemoryStore(), MemoryLog(), ManualClock()
    session_id = new_id()
    tasks = [spec(priority=priority) for priority in (10, 200, 150)]
    later = spec(delay_ms=60_000)
    keyed = spec(unique_key="once", unique_ttl_ms=600_000)

    async def before(engine: Engine) -> tuple[bytes, int, str]:
        await engine.submit(*tasks, later, keyed)
        worker = await engine.worker(session_id=session_id)
        [delivery] = await worker.delivered(1)
        assert delivery.task_id == tasks[1].task_id
        return delivery.task_id, delivery.token, engine.backend._applier.machine.digest()

    held, token, digest = with_engine(before, store=store, log=log, clock=clock)

    async def after(engine: Engine) -> None:
        assert engine.backend._applier.machine.digest() == digest
        engine.backend._applier.machine.check()
        assert (await engine.call(GetTask(later.task_id))).state == SCHEDULED
        again = await engine.call(Submit((spec(unique_key="once"),)))
        assert again.existing[0].task_id == keyed.task_id
        worker = await engine.worker(session_id=session_id, holds=((held, token),))
        reply = await engine.call(Settle((SettleItem(held, token),)), worker)
        assert reply.codes == b"\0"
        order = []
        for _ in range(3):
            [delivery] = await worker.delivered(1)
            order.append(delivery.task_id)
            await engine.call(Settle((SettleItem(delivery.task_id, delivery.token),)), worker)
        assert order == [tasks[2].task_id, keyed.task_id, tasks[0].task_id]

    with_engine(after, store=store, log=log, clock=clock)


def test_a_restart_from_the_log_alone_gives_the_same_state() -> None:
    log, clock = MemoryLog(), ManualClock()

    async def before(engine: Engine) -> str:
        worker = await engine.worker(capacity=2)
        ids = await engine.submit(*[spec() for _ in range(4)])
        deliveries = await worker.delivered(2)
        await engine.call(Settle(tuple(SettleItem(one.task_id, one.token) for one in deliveries)), worker)
        await engine.call(Submit((spec(dependencies=(ids[0],)),)))
        return engine.backend._applier.machine.digest()

    digest = with_engine(before, log=log, clock=clock)

    async def after(engine: Engine) -> None:
        assert engine.backend._applier.machine.digest() == digest

    with_engine(after, log=log, clock=clock)


def test_a_due_task_runs_when_its_time_comes() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker()
        [task_id] = await engine.submit(spec(delay_ms=30))
        assert (await engine.call(GetTask(task_id))).state == SCHEDULED
        engine.clock.advance(31)
        engine.backend._timekeeper.look()
        assert (await worker.delivered(1))[0].task_id == task_id

    with_engine(run)


def test_a_failed_attempt_is_retried_and_then_buried_with_its_history() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker()
        [task_id] = await engine.submit(spec(max_retries=1))
        [first] = await worker.delivered(1)
        failure = SettleItem(
            task_id, first.token, Cause.ERROR, error="Traceback\nValueError: one", delay_ms=10
        )
        await engine.call(Settle((failure,)), worker)
        view = await engine.call(GetTask(task_id))
        assert (view.state, view.status, view.error) == (RETRYING, "failed", "Traceback\nValueError: one")
        engine.clock.advance(20)
        engine.backend._timekeeper.look()
        [second] = await worker.delivered(1)
        waiting = engine.begin(GetTask(task_id, wait_ms=10_000))
        await engine.call(
            Settle((SettleItem(task_id, second.token, Cause.ERROR, error="ValueError: two"),)), worker
        )
        view = await asyncio.wait_for(waiting, WAIT_SECONDS)
        assert view.state == DEAD_LETTER
        assert [attempt.error for attempt in view.attempts] == [
            "Traceback\nValueError: one",
            "ValueError: two",
        ]
        assert view.retry_count == 1
        assert "ValueError: two" in view.state_reason
        await engine.call(Retry(task_id, 5))
        view = await engine.call(GetTask(task_id))
        assert (view.state, view.max_retries, view.retry_count) == (IN_PROGRESS, 5, 0)

    with_engine(run)


def test_waiting_for_a_task_ends_with_its_time() -> None:
    async def run(engine: Engine) -> None:
        [task_id] = await engine.submit(spec())
        view = await engine.call(GetTask(task_id, wait_ms=10))
        assert view.state == PENDING
        assert not engine.backend._waiters.any()

    with_engine(run)


def test_a_stop_answers_those_who_wait() -> None:
    async def run(engine: Engine) -> None:
        [task_id] = await engine.submit(spec())
        waiting = engine.begin(GetTask(task_id, wait_ms=60_000))
        worker = await engine.worker(capacity=0, types=("other",))
        claiming = engine.begin(Claim(wait_ms=30_000), worker)
        await engine.backend.stop()
        assert (await asyncio.wait_for(waiting, WAIT_SECONDS)).state == PENDING
        assert await asyncio.wait_for(claiming, WAIT_SECONDS) == Claimed(())

    with_engine(run)


def test_an_unknown_task_is_not_found_and_watching_it_says_so() -> None:
    async def run(engine: Engine) -> None:
        unknown = new_id()
        with pytest.raises(TaskNotFound):
            await engine.call(GetTask(unknown))
        assert await engine.call(Watch((unknown,))) == Watching((), (unknown,))

    with_engine(run)


def test_watching_a_task_that_has_ended_tells_its_result_at_once() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker()
        [task_id] = await engine.submit(spec())
        [delivery] = await worker.delivered(1)
        await engine.call(Settle((SettleItem(task_id, delivery.token, 0, b"r"),)), worker)
        watching = await engine.call(Watch((task_id,)))
        assert [(view.task_id, view.result) for view in watching.ended] == [(task_id, b"r")]

    with_engine(run)
