"""Workers at the backend: sessions, grace, heartbeats, claims, what they are told to stop."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.harness import WAIT_SECONDS, Engine, FakePeer, spec, with_engine
from tq.broker.replication.memory import MemoryLog
from tq.broker.storage.memory import MemoryStore
from tq.clock import ManualClock
from tq.errors import InvalidStatus, LeaseLost, NotLeader
from tq.ids import new_id
from tq.task import IN_PROGRESS, PENDING, Cause
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
    ListWorkers,
    Register,
    Registered,
    ResumeQueue,
    SetCapacity,
    Settle,
    SettleItem,
    Workers,
)


def test_a_submit_that_meets_a_free_worker_costs_one_entry() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker(capacity=10)
        before = engine.log.last_index
        await engine.submit(*[spec() for _ in range(5)])
        assert len(await worker.delivered(5)) == 5
        assert engine.log.last_index == before + 1

    with_engine(run)


def test_a_worker_that_disconnects_keeps_its_lease_for_the_grace_and_no_longer() -> None:
    async def run(engine: Engine) -> None:
        [task_id] = await engine.submit(spec())
        worker = await engine.worker()
        [first] = await worker.delivered(1)
        engine.backend.disconnected(worker)
        engine.clock.advance(4_900)
        engine.backend._sweep()
        assert (await engine.call(GetTask(task_id))).state == IN_PROGRESS
        engine.clock.advance(200)
        engine.backend._sweep()
        other = await engine.worker()
        [second] = await other.delivered(1)
        assert (second.task_id, second.attempt) == (task_id, 2)
        assert second.token > first.token
        view = await engine.call(GetTask(task_id))
        assert view.counters.leases_lost == 1
        assert view.retry_count == 0

    with_engine(run)


def test_a_worker_that_registers_just_before_its_node_leads_again_keeps_its_slots() -> None:
    async def run(engine: Engine) -> None:
        session_id = new_id()
        await engine.worker(session_id=session_id)
        engine.backend.lead(False)
        # What arrives while an entry of the last term waits for its fate is proposed in the next one.
        worker = FakePeer()
        registering = engine.begin(Register(session_id, "w1", ("default",), ("echo",), capacity=1), worker)
        engine.backend.lead(True)
        await registering
        await engine.submit(spec())
        assert len(await worker.delivered(1)) == 1

    with_engine(run)


def test_a_worker_whose_registration_is_decided_when_its_node_leads_no_more_goes_to_the_next_leader() -> None:
    """Its entry is committed by the next leader. Attached here it would beat to a session that is closed elsewhere."""

    async def run(engine: Engine) -> None:
        session_id, worker = new_id(), FakePeer()
        registering = engine.begin(Register(session_id, "w1", ("default",), ("echo",), capacity=1), worker)
        engine.backend.lead(False)
        with pytest.raises(NotLeader):
            await registering
        engine.backend.lead(True)
        engine.clock.advance(5_000)
        engine.backend._sweep()
        with pytest.raises(LeaseLost):
            await engine.call(Heartbeat(), worker)
        await engine.submit(spec())
        again = await engine.worker(session_id=session_id)
        assert len(await again.delivered(1)) == 1

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
        engine.backend._sweep()
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
        engine.backend._sweep()
        assert (await engine.call(GetStats())).in_progress_count == 1
        engine.clock.advance(200)
        engine.backend._sweep()
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
        claimed = await asyncio.wait_for(claim, WAIT_SECONDS)
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


def test_nothing_is_leased_to_a_worker_that_is_away() -> None:
    async def run(engine: Engine) -> None:
        session_id = new_id()
        worker = await engine.worker(session_id=session_id, capacity=2)
        engine.backend.disconnected(worker)
        [task_id] = await engine.submit(spec())
        assert (await engine.call(GetTask(task_id))).state == PENDING
        again = await engine.worker(session_id=session_id, capacity=2)
        assert (await again.delivered(1))[0].task_id == task_id

    with_engine(run)


def test_nothing_is_leased_to_a_session_from_before_a_restart_until_its_worker_is_back() -> None:
    store, log, clock, session_id = MemoryStore(), MemoryLog(), ManualClock(), new_id()

    async def before(engine: Engine) -> None:
        await engine.worker(session_id=session_id)

    with_engine(before, store=store, log=log, clock=clock)

    async def after(engine: Engine) -> None:
        [task_id] = await engine.submit(spec())
        assert (await engine.call(GetTask(task_id))).state == PENDING
        again = await engine.worker(session_id=session_id)
        assert (await again.delivered(1))[0].task_id == task_id

    with_engine(after, store=store, log=log, clock=clock)


def test_a_worker_that_is_back_before_its_old_connection_is_missed_gets_work() -> None:
    async def run(engine: Engine) -> None:
        session_id = new_id()
        old = await engine.worker(session_id=session_id)
        new = FakePeer()
        engine.log.holds = True
        registered = engine.begin(Register(session_id, "w1", ("default",), ("echo",), 1, (), 15_000), new)
        await asyncio.sleep(0)
        engine.backend.disconnected(old)
        engine.log.let_go()
        await registered
        await engine.submit(spec())
        assert len(await new.delivered(1)) == 1

    with_engine(run)


def test_a_worker_that_comes_back_in_the_moment_it_is_given_up_is_not() -> None:
    async def run(engine: Engine) -> None:
        session_id = new_id()
        old = await engine.worker(session_id=session_id)
        engine.backend.disconnected(old)
        await engine.call(GetHealth())
        new = FakePeer()
        engine.log.holds = True
        registered = engine.begin(Register(session_id, "w1", ("default",), ("echo",), 1, (), 15_000), new)
        await asyncio.sleep(0)
        engine.clock.advance(6_000)
        engine.backend._sweep()
        engine.log.let_go()
        await registered
        await engine.submit(spec())
        assert len(await new.delivered(1)) == 1

    with_engine(run)
