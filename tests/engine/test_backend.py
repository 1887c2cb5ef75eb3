"""The native backend through its port: verbs in, replies and pushes out."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.harness import Engine, FakePeer, spec, with_engine
from tests.engine.memory_log import MemoryLog
from tq.broker.engine.backend import EngineSettings
from tq.broker.storage.memory import MemoryStore
from tq.clock import ManualClock
from tq.errors import InvalidStatus, LeaseLost, OutcomeUnknown, TaskNotFound
from tq.ids import new_id
from tq.task import COMPLETED, DEAD_LETTER, IN_PROGRESS, PENDING, RETRYING, SCHEDULED, Cause, State, TaskView
from tq.verbs import (
    Abort,
    Cancel,
    Claim,
    Claimed,
    Deregister,
    GetHealth,
    GetStats,
    GetTask,
    Heartbeat,
    ListTasks,
    ListWorkers,
    PauseQueue,
    Purge,
    Purged,
    Register,
    Registered,
    ResumeQueue,
    Retry,
    SetCapacity,
    Settle,
    SettleItem,
    Stats,
    Submit,
    Submitted,
    TaskEnded,
    TaskPage,
    Watch,
    Watching,
    Workers,
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


def test_a_submit_that_meets_a_free_worker_costs_one_entry() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker(capacity=10)
        before = engine.log.last_index
        await engine.submit(*[spec() for _ in range(5)])
        assert len(await worker.delivered(5)) == 5
        assert engine.log.last_index == before + 1

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


def test_a_worker_that_disconnects_keeps_its_lease_for_the_grace_and_no_longer() -> None:
    async def run(engine: Engine) -> None:
        [task_id] = await engine.submit(spec())
        worker = await engine.worker()
        [first] = await worker.delivered(1)
        engine.backend.disconnected(worker)
        engine.clock.advance(4_900)
        engine.backend._roster.sweep()
        assert (await engine.call(GetTask(task_id))).state == IN_PROGRESS
        engine.clock.advance(200)
        engine.backend._roster.sweep()
        other = await engine.worker()
        [second] = await other.delivered(1)
        assert (second.task_id, second.attempt) == (task_id, 2)
        assert second.token > first.token
        view = await engine.call(GetTask(task_id))
        assert view.counters.leases_lost == 1
        assert view.retry_count == 0

    with_engine(run)


def test_a_worker_that_comes_back_within_the_grace_goes_on() -> None:
    async def run(engine: Engine) -> None:
        session_id = new_id()
        [task_id] = await engine.submit(spec())
        worker = await engine.worker(session_id=session_id)
        [delivery] = await worker.delivered(1)
        engine.backend.disconnected(worker)
        engine.clock.advance(4_000)
        again = await engine.worker(session_id=session_id, holds=((task_id, delivery.token),))
        engine.clock.advance(4_000)
        engine.backend._roster.sweep()
        reply = await engine.call(Settle((SettleItem(task_id, delivery.token),)), again)
        assert reply.codes == b"\0"

    with_engine(run)


def test_a_delivery_that_never_arrived_is_sent_again_with_the_same_token() -> None:
    async def run(engine: Engine) -> None:
        session_id = new_id()
        [task_id] = await engine.submit(spec())
        worker = await engine.worker(session_id=session_id)
        [first] = await worker.delivered(1)
        engine.backend.disconnected(worker)
        again = await engine.worker(session_id=session_id)
        [second] = await again.delivered(1)
        assert second == first
        assert second.task_id == task_id

    with_engine(run)


def test_two_missed_beats_give_a_silent_worker_up() -> None:
    async def run(engine: Engine) -> None:
        await engine.submit(spec())
        worker = await engine.worker(heartbeat_ms=1_000)
        await worker.delivered(1)
        engine.clock.advance(1_900)
        await engine.call(Heartbeat(running=1), worker)
        engine.clock.advance(2_900)
        engine.backend._roster.sweep()
        assert (await engine.call(GetStats())).in_progress_count == 1
        engine.clock.advance(200)
        engine.backend._roster.sweep()
        await engine.call(ResumeQueue("default"))  # behind the closing of the session, in the log
        assert (await engine.call(GetHealth())).pending_tasks == 1
        with pytest.raises(LeaseLost):
            await engine.call(Heartbeat(), worker)

    with_engine(run)


def test_a_goodbye_hands_back_uncharged() -> None:
    async def run(engine: Engine) -> None:
        [task_id] = await engine.submit(spec())
        worker = await engine.worker()
        await worker.delivered(1)
        await engine.call(Deregister(), worker)
        view = await engine.call(GetTask(task_id))
        assert (view.state, view.counters.releases, view.retry_count) == (PENDING, 1, 0)
        assert (await engine.call(ListWorkers())) == Workers(())

    with_engine(run)


def test_capacity_zero_drains_a_worker() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker()
        await engine.call(SetCapacity(0), worker)
        [task_id] = await engine.submit(spec())
        assert "draining" in (await engine.call(GetTask(task_id))).state_reason
        await engine.call(SetCapacity(1), worker)
        assert (await worker.delivered(1))[0].task_id == task_id

    with_engine(run)


def test_a_claim_is_answered_with_what_is_ready() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker(capacity=0)
        ids = await engine.submit(spec(), spec(), spec())
        claimed = await engine.call(Claim(limit=2), worker)
        assert isinstance(claimed, Claimed)
        assert [task.task_id for task in claimed.tasks] == ids[:2]
        assert (await engine.call(GetStats())).pending_count == 1

    with_engine(run)


def test_an_empty_claim_without_wait_is_answered_at_once_and_leaves_no_credit() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker(capacity=0)
        assert await engine.call(Claim(limit=2), worker) == Claimed(())
        await engine.submit(spec())
        await engine.call(GetStats())
        assert worker.pushes == []
        assert (await engine.call(GetStats())).pending_count == 1

    with_engine(run)


def test_a_waiting_claim_is_answered_by_the_next_submit() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker(capacity=0)
        claim = engine.begin(Claim(limit=5, wait_ms=10_000), worker)
        [task_id] = await engine.submit(spec())
        claimed = await asyncio.wait_for(claim, 5)
        assert [task.task_id for task in claimed.tasks] == [task_id]

    with_engine(run)


def test_cancelling_a_running_task_tells_its_worker_to_stop() -> None:
    async def run(engine: Engine) -> None:
        [task_id] = await engine.submit(spec())
        worker = await engine.worker()
        [delivery] = await worker.delivered(1)
        with pytest.raises(InvalidStatus):
            await engine.call(Cancel(task_id))
        await engine.call(Cancel(task_id, True))
        assert await worker.next() == Abort(((task_id, delivery.token, "cancelled"),))
        [other] = await engine.submit(spec())
        assert worker.pushes == [], "its slot is not free before it says so"
        await engine.call(Settle((SettleItem(task_id, delivery.token, Cause.CANCELLED),)), worker)
        assert (await worker.delivered(1))[0].task_id == other

    with_engine(run)


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
        view = await asyncio.wait_for(waiting, 5)
        assert view.state == DEAD_LETTER
        assert [attempt.error for attempt in view.attempts] == [
            "Traceback\nValueError: one",
            "ValueError: two",
        ]
        assert view.retry_count == 2
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


def test_progress_told_with_a_heartbeat_is_seen() -> None:
    async def run(engine: Engine) -> None:
        [task_id] = await engine.submit(spec())
        worker = await engine.worker()
        await worker.delivered(1)
        await engine.call(Heartbeat(1, 50, 1 << 20, ((task_id, 500, "half"),)), worker)
        assert (await engine.call(GetTask(task_id))).progress == (500, "half")
        workers = await engine.call(ListWorkers())
        assert (workers.workers[0].cpu_percent, workers.workers[0].task_ids) == (50, (task_id,))

    with_engine(run)


def test_registering_tells_which_holds_are_lost() -> None:
    async def run(engine: Engine) -> None:
        peer = FakePeer()
        gone = new_id()
        reply = await engine.call(Register(new_id(), "w", ("default",), ("echo",), 1, ((gone, 7),)), peer)
        assert reply == Registered(((gone, 7),), 5_000)

    with_engine(run)


def test_a_type_nobody_serves_is_named_in_the_queue_s_stats() -> None:
    async def run(engine: Engine) -> None:
        await engine.worker()
        [task_id] = await engine.submit(spec("mail"))
        assert "no connected worker serves" in (await engine.call(GetTask(task_id))).state_reason
        assert (await engine.call(GetStats())).queues[0].unserved == ("mail",)

    with_engine(run)
