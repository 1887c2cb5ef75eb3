"""What broker and worker log about tasks and workers: the right lines, no payloads, and never a flood."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.processes import broker_address, start_broker, start_worker
from tests.engine.harness import Engine, FakePeer, spec, with_engine
from tests.metrics.logged import Logged, logged
from tests.worker.harness import bench, run
from tq import Client, Task
from tq.errors import TqError
from tq.floods import KINDS_MAX, LINES_MAX, WINDOW_MS, Flood
from tq.ids import to_text
from tq.logs import get_logger
from tq.task import Cause
from tq.verbs import Deregister, SetCapacity, Settle, SettleItem, Submit
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.runtime import WorkerOptions

SECRET = "s3cret-payload"
LEADING = ["timestamp", "level", "message", "event", "component"]


# ---------------------------------------------------------------- the bound on lines


def test_the_first_lines_of_an_event_are_written_and_the_rest_is_counted() -> None:
    with logged() as kept:
        flood = Flood(get_logger("test"), 0)
        let = [flood.lets("error", "e", f"t{number % 2}") for number in range(LINES_MAX + 5)]
        other = flood.lets("warning", "w", "t0")
        flood.turn(WINDOW_MS - 1)
        assert kept.lines() == []
        flood.turn(WINDOW_MS)

    assert let == [True] * LINES_MAX + [False] * 5
    assert other
    [line] = kept.lines("lines_withheld")
    assert (line["level"], line["withheld"], line["count"]) == ("error", "e", 5)
    assert line["kinds"] == {"t0": 3, "t1": 2}


def test_a_new_window_lets_lines_through_again() -> None:
    flood = Flood(get_logger("test"), 0)
    for _ in range(LINES_MAX):
        flood.lets("warning", "e", "t")
    assert not flood.lets("warning", "e", "t")
    with logged():
        flood.turn(WINDOW_MS)

    assert flood.lets("warning", "e", "t")


def test_kinds_without_number_share_a_name() -> None:
    with logged() as kept:
        flood = Flood(get_logger("test"), 0)
        for number in range(LINES_MAX + 10 * KINDS_MAX):
            flood.lets("warning", "e", f"t{number}")
        flood.turn(WINDOW_MS)

    [line] = kept.lines("lines_withheld")
    assert line["count"] == 10 * KINDS_MAX
    assert len(line["kinds"]) == KINDS_MAX + 1
    assert line["kinds"]["other"] == 9 * KINDS_MAX


# ---------------------------------------------------------------- the broker


async def settle(engine: Engine, worker: FakePeer, cause: Cause) -> str:
    [delivery] = await worker.delivered(1)
    error = f"ValueError: {SECRET}" if cause is not Cause.DONE else ""
    await engine.call(Settle((SettleItem(delivery.task_id, delivery.token, int(cause), b"", error),)), worker)
    return to_text(delivery.task_id)


def only(kept: Logged, event: str) -> dict[str, object]:
    [line] = kept.lines(event)
    assert list(line)[:5] == LEADING
    return line


def test_a_task_that_fails_for_good_is_an_error_and_what_it_held_is_not_told() -> None:
    async def scenario(engine: Engine) -> str:
        await engine.submit(spec(payload=SECRET.encode(), max_retries=0))
        worker = await engine.worker()
        engine.clock.advance(70)
        return await settle(engine, worker, Cause.ERROR)

    with logged() as kept:
        task_id = with_engine(scenario)

    line = only(kept, "task_failed")
    assert line["level"] == "error"
    assert {name: line[name] for name in ("task_id", "worker_id", "cause", "attempt", "task_type")} == {
        "task_id": task_id,
        "worker_id": "w1",
        "cause": "error",
        "attempt": 1,
        "task_type": "echo",
    }
    assert line["component"] == "broker"
    assert SECRET not in kept.text


def test_an_attempt_that_is_tried_again_is_a_warning() -> None:
    async def scenario(engine: Engine) -> None:
        await engine.submit(spec(max_retries=1))
        worker = await engine.worker()
        engine.clock.advance(70)
        await settle(engine, worker, Cause.TIMEOUT)

    with logged() as kept:
        with_engine(scenario)

    line = only(kept, "task_retried")
    assert (line["level"], line["cause"], line["duration_ms"]) == ("warning", "timeout", 70)
    assert isinstance(line["delay_ms"], int)
    assert line["delay_ms"] > 0
    assert kept.lines("task_failed") == []


@pytest.mark.parametrize("cause", [Cause.DONE, Cause.RELEASED, Cause.SNOOZED, Cause.CANCELLED])
def test_what_somebody_wanted_writes_nothing(cause: Cause) -> None:
    async def scenario(engine: Engine) -> None:
        worker = await engine.worker()
        await engine.submit(spec())
        await settle(engine, worker, cause)

    with logged() as kept:
        with_engine(scenario)

    assert {line["event"] for line in kept.lines()} == {"worker_registered"}


def test_a_task_that_took_more_than_ten_seconds_is_a_warning() -> None:
    async def scenario(engine: Engine) -> None:
        worker = await engine.worker(capacity=2)
        for ms in (10_000, 10_001):
            await engine.submit(spec())
            engine.clock.advance(ms)
            await settle(engine, worker, Cause.DONE)

    with logged() as kept:
        with_engine(scenario)

    line = only(kept, "task_slow")
    assert (line["level"], line["duration_ms"], line["worker_id"]) == ("warning", 10_001, "w1")


def test_a_task_whose_dependency_failed_is_told_too() -> None:
    async def scenario(engine: Engine) -> str:
        [first] = await engine.submit(spec(max_retries=0))
        [second] = await engine.submit(spec(dependencies=(first,)))
        worker = await engine.worker()
        await settle(engine, worker, Cause.ERROR)
        return to_text(second)

    with logged() as kept:
        second = with_engine(scenario)

    lines = kept.lines("task_failed")
    assert [line["task_id"] == second for line in lines] == [False, True]
    assert "depends on" in lines[1]["message"]


def test_workers_come_and_go_in_the_log_and_a_lost_one_is_an_error() -> None:
    async def scenario(engine: Engine) -> None:
        worker = await engine.worker()
        await engine.call(SetCapacity(0), worker)
        await engine.call(Deregister(), worker)
        lost = await engine.worker()
        await engine.submit(spec())
        await lost.delivered(1)
        engine.backend.disconnected(lost)
        engine.clock.advance(6_000)
        engine.backend._sweep()
        await engine.submit(spec())

    with logged() as kept:
        with_engine(scenario)

    told = [(line["level"], line["event"]) for line in kept.lines() if line["event"].startswith("worker")]
    assert told == [
        ("info", "worker_registered"),
        ("info", "worker_draining"),
        ("info", "worker_gone"),
        ("info", "worker_registered"),
        ("warning", "worker_disconnected"),
        ("error", "worker_lost"),
    ]
    assert kept.lines("worker_lost")[0]["tasks"] == 1
    assert only(kept, "task_retried")["cause"] == "lease_lost"


def test_ten_thousand_failures_are_a_few_lines() -> None:
    count = 10_000

    async def scenario(engine: Engine) -> None:
        await engine.call(Submit(tuple(spec(max_retries=0) for _ in range(count))))
        worker = await engine.worker(capacity=count)
        deliveries = await worker.delivered(count)
        items = tuple(SettleItem(each.task_id, each.token, int(Cause.ERROR)) for each in deliveries)
        await engine.call(Settle(items), worker)
        engine.clock.advance(1_000)
        engine.backend._chronicle.turn()

    with logged() as kept:
        with_engine(scenario)

    assert len(kept.lines("task_failed")) == LINES_MAX
    [rest] = kept.lines("lines_withheld")
    assert (rest["level"], rest["withheld"], rest["count"]) == ("error", "task_failed", count - LINES_MAX)


# ---------------------------------------------------------------- the worker


def failing_app() -> App:
    app = App()

    @app.handler("fail")
    async def fail(payload: bytes) -> bytes:
        raise ValueError(payload.decode())

    return app


@pytest.mark.parametrize(("attempt", "level"), [(1, "warning"), (4, "error")])
def test_a_worker_tells_the_type_of_an_error_and_not_its_text(attempt: int, level: str) -> None:
    async def scenario() -> None:
        async with bench(failing_app(), WorkerOptions(worker_id="w7")) as it:
            await it.broker.ending(it.broker.submit("fail", SECRET.encode(), attempt=attempt))

    with logged() as kept:
        run(scenario())

    line = only(kept, "task_failed")
    assert (line["level"], line["message"], line["worker_id"]) == (level, "fail raised: ValueError", "w7")
    assert {"task_id", "duration_ms", "attempt"} <= line.keys()
    assert SECRET not in kept.text


def test_a_handler_that_always_fails_does_not_flood_the_workers_log() -> None:
    async def scenario() -> None:
        async with bench(failing_app(), WorkerOptions(concurrency=50)) as it:
            for key in [it.broker.submit("fail", b"x") for _ in range(500)]:
                await it.broker.ending(key)

    with logged() as kept:
        run(scenario())

    windows = 1 + len(kept.lines("lines_withheld"))
    assert LINES_MAX <= len(kept.lines("task_failed")) <= LINES_MAX * windows


def test_payloads_that_no_handler_can_read_stay_out_of_the_log() -> None:
    app = App()

    @app.task(name="mail")
    def mail(to: str) -> None: ...

    async def scenario() -> None:
        async with bench(app) as it:
            await it.broker.ending(it.broker.submit("mail", SECRET.encode()))
            await it.broker.ending(it.broker.submit("mail", pack_arguments((), {SECRET: 1}, of="mail")))

    with logged() as kept:
        run(scenario())

    assert len(kept.lines("task_failed")) == 2
    assert SECRET not in kept.text


# ---------------------------------------------------------------- both, as they are run


def test_hundreds_of_failures_of_a_real_worker_flood_neither_log_nor_show_a_payload(tmp_path: Path) -> None:
    count = 300
    with start_broker(tmp_path) as broker:
        address = broker_address(broker)
        with start_worker(tmp_path, address) as worker, Client(address) as client:
            tasks = [Task("fail", SECRET.encode(), max_retries=0) for _ in range(count)]
            for task_id in client.submit_tasks(tasks):
                with pytest.raises(TqError):
                    client.wait_for_result(task_id, timeout=60)
        assert worker.stop() == 0
    for process, who in ((broker, "broker"), (worker, "worker")):
        text = process.log_path.read_text()
        assert SECRET not in text
        lines = list(process.events())
        told = [line for line in lines if line["event"] == "task_failed"]
        assert told
        assert {line["level"] for line in told} == {"error"}
        assert all(
            line["component"] == who and {"task_id", "worker_id", "duration_ms"} <= line.keys()
            for line in told
        )
        assert len(told) < count / 2
        assert all(list(line)[:5] == LEADING for line in lines)
