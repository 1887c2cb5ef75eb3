"""What operators ask the engine: the last hour, what failed, who runs what, and draining a worker."""

from __future__ import annotations

import pytest

from tests.engine.failing import fail
from tests.engine.harness import Engine, FakePeer, spec, with_engine
from tq.broker.engine.failures import telling_line
from tq.broker.engine.trends import percentile
from tq.broker.replication.memory import MemoryLog
from tq.broker.storage.memory import MemoryStore
from tq.clock import ManualClock
from tq.errors import WorkerNotFound
from tq.task import DEAD_LETTER, IN_PROGRESS, PENDING, Cause
from tq.verbs import (
    Deliver,
    Drain,
    Drained,
    DrainWorker,
    Failures,
    GetSeries,
    GetStats,
    GetTask,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    Queues,
    Register,
    Registered,
    Series,
    Settle,
    SettleItem,
    Stats,
    Submit,
    TaskPage,
    Workers,
)

MINUTE_MS = 60_000


# ---------------------------------------------------------------- the last hour


def test_a_minute_has_what_came_ended_and_failed_in_it() -> None:
    clock = ManualClock()

    async def scenario(engine: Engine) -> Series:
        worker = await engine.worker(capacity=2)
        await engine.submit(spec(), spec(max_retries=0), spec("nobody"))
        tasks = await worker.delivered(2)
        clock.advance(40)
        await engine.call(
            Settle(
                (
                    SettleItem(tasks[0].task_id, tasks[0].token),
                    SettleItem(tasks[1].task_id, tasks[1].token, int(Cause.ERROR), error="x"),
                )
            ),
            worker,
        )
        found = await engine.call(GetSeries())
        assert isinstance(found, Series)
        return found

    found = with_engine(scenario, clock=clock)

    assert len(found.submitted) == len(found.low) == 60
    assert (found.submitted[-1], found.completed[-1], found.failed[-1]) == (3, 1, 1)
    assert (found.high[-1], found.normal[-1], found.low[-1]) == (0, 1, 0)
    assert set(found.submitted[:-1]) == {-1}, "before the start nothing is known"
    assert found.latency.run_p50_ms in range(10, 51)
    assert found.latency.wait_p50_ms == 0 or found.latency.wait_p50_ms <= 1


def test_each_minute_stands_for_itself_and_a_standstill_counts_as_one() -> None:
    clock = ManualClock()

    async def scenario(engine: Engine) -> None:
        turn = engine.backend._operating.turn
        turn()
        await engine.submit(spec(), spec())
        clock.advance(MINUTE_MS)
        turn()
        await engine.submit(spec())
        clock.advance(3 * MINUTE_MS)
        turn()
        found = await engine.call(GetSeries())
        assert isinstance(found, Series)
        assert found.submitted[-5:] == (2, 1, 0, 0, 0)
        assert found.normal[-5:] == (2, 3, 3, 3, 3)
        clock.advance(100 * MINUTE_MS)
        turn()
        found = await engine.call(GetSeries())
        assert isinstance(found, Series)
        assert set(found.submitted) <= {0, -1}

    with_engine(scenario, clock=clock)


def test_queues_say_how_quick_they_fill_and_empty() -> None:
    clock = ManualClock()

    async def scenario(engine: Engine) -> None:
        found = await engine.call(GetStats())
        assert isinstance(found, Stats)
        await engine.submit(*[spec(queue="mail") for _ in range(10)])
        first = await engine.call(GetStats())
        assert isinstance(first, Stats)
        assert (first.queues[0].in_per_minute, first.queues[0].out_per_minute) == (-1, -1)
        for _ in range(4):
            clock.advance(5_000)
            engine.backend._operating.turn()
        later = await engine.call(GetStats())
        assert isinstance(later, Stats)
        assert (later.queues[0].in_per_minute, later.queues[0].out_per_minute) == (30, 0)

    with_engine(scenario, clock=clock)


def test_queues_tell_who_serves_each_type() -> None:
    async def scenario(engine: Engine) -> None:
        await engine.worker()
        await engine.submit(spec("echo", delay_ms=1_000), spec("nobody"), spec("nobody"))
        found = await engine.call(ListQueues())
        assert isinstance(found, Queues)
        (queue,) = found.queues
        assert [tuple(one) for one in queue.task_types] == [("nobody", 2, 0), ("echo", 0, 1)]
        assert queue.stats.unserved == ("nobody",)

    with_engine(scenario)


@pytest.mark.parametrize(
    ("counts", "percent", "value"),
    [
        ([0] * 14, 50, -1),
        ([10] + [0] * 13, 50, 0),
        ([0, 10] + [0] * 12, 50, 3),
        ([0] * 13 + [4], 99, 1_800_000),
        ([90, 0, 10] + [0] * 11, 99, 10),
    ],
    ids=["nothing", "within-the-first", "half-of-a-step", "beyond-the-last", "tail"],
)
def test_a_percentile_lies_within_its_step(counts: list[int], percent: int, value: int) -> None:
    assert percentile(counts, percent) == pytest.approx(value, abs=1)


# ---------------------------------------------------------------- failures


def test_failures_are_told_newest_first_with_what_became_of_their_tasks() -> None:
    async def scenario(engine: Engine) -> None:
        first = spec()
        (failed,) = await fail(engine, first, error="Traceback (most recent call last):\n  ...\nOSError: {}")
        (hangs,) = await engine.submit(spec(dependencies=(first.task_id,)))
        found = await engine.call(ListFailures())
        assert isinstance(found, Failures)
        assert [(one.task_id, one.cause, one.state) for one in found.failures] == [
            (hangs, -1, DEAD_LETTER),
            (failed, int(Cause.FATAL), DEAD_LETTER),
        ]
        assert found.failures[1].error == "OSError: 0"
        assert found.failures[1].worker_id == "w1"
        assert "its dependency" in found.failures[0].error
        only = await engine.call(ListFailures(1))
        assert isinstance(only, Failures) and len(only.failures) == 1

    with_engine(scenario)


def test_handing_back_is_no_failure() -> None:
    async def scenario(engine: Engine) -> None:
        worker = await engine.worker()
        await engine.submit(spec())
        (task,) = await worker.delivered(1)
        await engine.call(Settle((SettleItem(task.task_id, task.token, int(Cause.RELEASED)),)), worker)
        assert await engine.call(ListFailures()) == Failures(())

    with_engine(scenario)


def test_after_a_restart_failures_begin_with_the_newest_dead_letters() -> None:
    store, log, clock = MemoryStore(), MemoryLog(), ManualClock()
    failed = with_engine(lambda engine: fail(engine, spec(), spec()), store=store, log=log, clock=clock)

    async def scenario(engine: Engine) -> None:
        found = await engine.call(ListFailures())
        assert isinstance(found, Failures)
        assert {(one.task_id, one.cause, one.error) for one in found.failures} == {
            (failed[0], int(Cause.FATAL), "it broke"),
            (failed[1], int(Cause.FATAL), "it broke"),
        }

    with_engine(scenario, store=store, log=log, clock=clock)


@pytest.mark.parametrize(
    ("text", "line"),
    [("", ""), ("boom\n at 3", "boom"), ("Traceback (most\n  x\nKeyError: 'a'", "KeyError: 'a'")],
    ids=["empty", "first", "traceback"],
)
def test_the_telling_line_of_an_error(text: str, line: str) -> None:
    assert telling_line(text) == line


# ---------------------------------------------------------------- lists


def test_tasks_are_listed_oldest_first_with_cursors_of_that_order() -> None:
    async def scenario(engine: Engine) -> None:
        ids = await engine.submit(*[spec() for _ in range(5)])
        seen: list[bytes] = []
        cursor = 0
        for _ in range(3):
            page = await engine.call(ListTasks(limit=2, cursor=cursor, oldest_first=True))
            assert isinstance(page, TaskPage)
            seen += [one.task_id for one in page.tasks]
            cursor = page.next_cursor
        assert (seen, cursor) == (ids, 0)

    with_engine(scenario)


def test_what_a_worker_runs_is_listed() -> None:
    async def scenario(engine: Engine) -> None:
        worker = await engine.worker(capacity=2)
        ids = await engine.submit(spec(), spec(), spec())
        await worker.delivered(2)
        for state, worker_id, expected in (
            (0, "w1", ids[1::-1]),
            (IN_PROGRESS, "w1", ids[1::-1]),
            (IN_PROGRESS, "w2", []),
            (PENDING, "w1", []),
        ):
            page = await engine.call(ListTasks(state=state, worker_id=worker_id))
            assert isinstance(page, TaskPage)
            assert [one.task_id for one in page.tasks] == expected

    with_engine(scenario)


def test_a_result_is_left_out_when_it_is_not_wanted_and_its_length_is_told() -> None:
    async def scenario(engine: Engine) -> None:
        worker = await engine.worker()
        (task_id,) = await engine.submit(spec())
        (task,) = await worker.delivered(1)
        await engine.call(Settle((SettleItem(task_id, task.token, result=b"result"),)), worker)
        lean = await engine.call(GetTask(task_id, with_result=False))
        assert (lean.result, lean.result_bytes) == (None, 6)  # type: ignore[union-attr]
        page = await engine.call(ListTasks(with_result=False))
        assert isinstance(page, TaskPage) and page.tasks[0].result is None

    with_engine(scenario)


# ---------------------------------------------------------------- draining


def test_a_drained_worker_is_told_shown_and_handed_nothing_more() -> None:
    async def scenario(engine: Engine) -> None:
        worker = await engine.worker(session_id=b"s" * 16)
        assert await engine.call(DrainWorker("w1")) == Drained((b"s" * 16,))
        assert isinstance(await worker.next(), Drain)
        shown = await engine.call(ListWorkers())
        assert isinstance(shown, Workers) and shown.workers[0].status == "draining"
        await engine.call(Submit((spec(),)))
        assert worker.pushes == []

        engine.backend.disconnected(worker)
        back = FakePeer()
        again = Register(b"s" * 16, "w1", ("default",), ("echo",), 1)
        assert isinstance(await engine.call(again, back), Registered)
        assert isinstance(await back.next(), Drain), "it is told again when it comes back"

        fresh = await engine.worker()
        assert isinstance(await fresh.next(), Deliver)

    with_engine(scenario)


def test_draining_a_worker_nobody_knows_is_refused() -> None:
    async def scenario(engine: Engine) -> None:
        with pytest.raises(WorkerNotFound, match="'w9'"):
            await engine.call(DrainWorker("w9"))

    with_engine(scenario)
