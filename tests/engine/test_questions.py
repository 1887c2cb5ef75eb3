"""Lists, purges, statistics and pauses at the backend."""

from __future__ import annotations

import pytest

from tests.engine.harness import Engine, spec, with_engine
from tq.broker.engine.backend import EngineSettings
from tq.errors import TaskNotFound
from tq.task import BLOCKED, COMPLETED, IN_PROGRESS, PENDING, RETRYING, SCHEDULED, Cause, State, TaskView
from tq.verbs import (
    Cancel,
    Deregister,
    GetStats,
    GetTask,
    ListTasks,
    PauseQueue,
    Purge,
    Purged,
    ResumeQueue,
    Settle,
    SettleItem,
    Stats,
    TaskPage,
)


def test_lists_page_newest_first_and_stay_stable_while_tasks_move() -> None:
    async def run(engine: Engine) -> None:
        ids = await engine.submit(*[spec(priority=number) for number in range(10)], spec("other"))
        page = await engine.call(ListTasks(state=PENDING, task_type="echo", limit=4))
        assert isinstance(page, TaskPage)
        assert [view.task_id for view in page.tasks] == ids[9:5:-1]
        assert page.total == 10
        worker = await engine.worker(capacity=2)
        await worker.delivered(2)
        page = await engine.call(ListTasks(state=PENDING, task_type="echo", limit=4, cursor=page.next_cursor))
        assert [view.task_id for view in page.tasks] == ids[5:1:-1]
        running = await engine.call(ListTasks(state=IN_PROGRESS))
        assert [view.task_id for view in running.tasks] == [ids[9], ids[8]]
        everything = await engine.call(ListTasks(limit=100))
        assert [view.task_id for view in everything.tasks] == list(reversed(ids))
        assert everything.next_cursor == 0
        skipped = await engine.call(ListTasks(limit=2, offset=3))
        assert [view.task_id for view in skipped.tasks] == [ids[7], ids[6]]

    with_engine(run)


def test_a_page_shows_of_each_task_what_there_is_to_show() -> None:
    """Waiting of two kinds, running, with a past, with what few have; as each is shown alone, but for its payload."""

    async def run(engine: Engine) -> None:
        worker = await engine.worker(capacity=2)
        failing, keyed = await engine.submit(spec(), spec(unique_key="u", expires_at_ms=2**42))
        for delivery in await worker.delivered(2):
            if delivery.task_id == failing:
                failed = SettleItem(delivery.task_id, delivery.token, Cause.ERROR, error="no")
                await engine.call(Settle((failed,)), worker)
        await engine.call(PauseQueue("still"))
        others = [spec("other"), spec(queue="still"), spec("other"), spec(dependencies=(failing,))]
        *pending, blocked = await engine.submit(*others)
        (later,) = await engine.submit(spec("other", delay_ms=60_000, unique_key="v"))
        page = await engine.call(ListTasks())
        assert isinstance(page, TaskPage)
        for view in page.tasks:
            alone = await engine.call(GetTask(view.task_id))
            assert isinstance(alone, TaskView)
            assert view == alone._replace(payload_bytes=-1)

        shown = {view.task_id: view for view in page.tasks}
        assert list(shown) == [later, blocked, *reversed(pending), keyed, failing]
        assert [view.state for view in shown.values()] == [
            SCHEDULED,
            BLOCKED,
            *[PENDING] * 3,
            IN_PROGRESS,
            RETRYING,
        ]
        assert [attempt.cause for attempt in shown[failing].attempts] == [Cause.ERROR]
        assert shown[failing].error == "no"
        assert (shown[keyed].unique_key, shown[keyed].expires_at_ms) == ("u", 2**42)
        assert (shown[keyed].worker_id, len(shown[keyed].attempts)) == ("w1", 1)
        assert (shown[later].unique_key, shown[later].schedule_at_ms) == ("v", engine.clock.now_ms() + 60_000)
        assert shown[blocked].dependencies == (failing,)
        reasons = [shown[task_id].state_reason for task_id in pending]
        assert reasons[0] == reasons[2] == "no connected worker serves type 'other' on queue 'default'"
        assert reasons[1] == "queue 'still' is paused"

    with_engine(run)


def test_purge_forgets_old_ended_tasks_in_steps() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker(capacity=5)
        ids = await engine.submit(*[spec() for _ in range(5)])
        deliveries = await worker.delivered(5)
        await engine.call(
            Settle(tuple(SettleItem(one.task_id, one.token, 0, b"r") for one in deliveries)), worker
        )
        assert await engine.call(Purge(COMPLETED, older_than_ms=1_000)) == Purged(0, False)
        engine.clock.advance(2_000)
        assert await engine.call(Purge(COMPLETED, older_than_ms=1_000, limit=3)) == Purged(3, True)
        assert await engine.call(Purge(COMPLETED, older_than_ms=1_000, limit=3)) == Purged(2, False)
        with pytest.raises(TaskNotFound):
            await engine.call(GetTask(ids[0]))
        assert (await engine.call(GetStats())).completed_count == 0

    with_engine(run)


def test_purging_waiting_tasks_cancels_and_forgets_them() -> None:
    async def run(engine: Engine) -> None:
        await engine.submit(spec(), spec())
        assert await engine.call(Purge(PENDING)) == Purged(2, False)
        stats = await engine.call(GetStats())
        assert isinstance(stats, Stats)
        assert (stats.pending_count, stats.cancelled_count) == (0, 0)

    with_engine(run)


def test_retention_forgets_by_itself() -> None:
    async def run(engine: Engine) -> None:
        [task_id] = await engine.submit(spec())
        await engine.call(Cancel(task_id))
        engine.clock.advance(1_500)
        engine.backend._purges.retire()
        await engine.call(ListTasks())  # behind the search for what is old
        await engine.call(ResumeQueue("default"))  # behind the forgetting, in the log
        assert engine.backend._state.totals[State.CANCELLED] == 0

    with_engine(run, settings=EngineSettings(retention_ms=1_000))


def test_a_paused_queue_says_so_and_resumes() -> None:
    async def run(engine: Engine) -> None:
        await engine.call(PauseQueue("default", "database is down"))
        worker = await engine.worker()
        [task_id] = await engine.submit(spec())
        assert "database is down" in (await engine.call(GetTask(task_id))).state_reason
        stats = await engine.call(GetStats())
        assert (stats.queues[0].paused, stats.queues[0].paused_reason) == (True, "database is down")
        await engine.call(ResumeQueue("default"))
        assert (await worker.delivered(1))[0].task_id == task_id

    with_engine(run)


def test_a_type_nobody_serves_is_named_in_the_queue_s_stats() -> None:
    async def run(engine: Engine) -> None:
        await engine.worker()
        [task_id] = await engine.submit(spec("mail"))
        assert "no connected worker serves" in (await engine.call(GetTask(task_id))).state_reason
        assert (await engine.call(GetStats())).queues[0].unserved == ("mail",)

    with_engine(run)


def test_statistics_know_the_age_of_a_task_that_was_handed_back_alone() -> None:
    async def run(engine: Engine) -> None:
        await engine.submit(spec())
        worker = await engine.worker()
        await worker.delivered(1)
        await engine.call(Deregister(), worker)
        engine.clock.advance(1_000)
        assert (await engine.call(GetStats())).oldest_pending_age_ms == 1_000

    with_engine(run)
