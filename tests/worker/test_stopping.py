"""Every lane gives its slot back within a second of a time limit or a cancel, whatever the handler does."""

from __future__ import annotations

import socket
import threading

import msgpack
import pytest

from tests.metrics.logged import logged
from tests.worker import victim
from tests.worker.harness import LOOK_S, bench, run, seconds_of, until
from tq.clock import SystemClock
from tq.task import Cause
from tq.verbs import Heartbeat
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.context import current
from tq.worker.runtime import WorkerOptions

NO_ARGUMENTS = pack_arguments((), {}, of="test")
TWENTY_ONE = pack_arguments((21,), {}, of="test")
LIMIT_MS = 300
FREE_WITHIN_S = 1.0

HANDLERS = [
    "async.sleep_async",
    "async.spin_async",
    "async.block_async",
    "async.swallow_async",
    "thread.sleep_python",
    "thread.spin",
    "thread.block",
    "process.sleep_python",
    "process.sleep_async",
    "process.spin",
    "process.block",
]


def options(concurrency: int = 1) -> WorkerOptions:
    return WorkerOptions(concurrency=concurrency, app_path=victim.PATH)


def double_in_lane_of(handler: str) -> str:
    return handler.partition(".")[0] + ".double"


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_slot_is_free_within_a_second_of_the_time_limit(handler: str) -> None:
    async def scenario() -> None:
        async with bench(victim.make_app(), options()) as it:
            # A first task, so that the measured one does not wait for a child process to start.
            await it.broker.ending(it.broker.submit(double_in_lane_of(handler), TWENTY_ONE))
            stuck = it.broker.submit(handler, NO_ARGUMENTS, timeout_ms=LIMIT_MS)
            ending, seconds = await seconds_of(it.broker.ending(stuck))
            assert ending.cause == Cause.TIMEOUT
            assert "time limit of 0.3 s" in ending.error
            assert seconds < LIMIT_MS / 1000 + FREE_WITHIN_S
            after = await it.broker.ending(it.broker.submit(double_in_lane_of(handler), TWENTY_ONE))
            assert msgpack.unpackb(after.result) == 42

    run(scenario())


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_slot_is_free_within_a_second_of_a_cancel(handler: str) -> None:
    async def scenario() -> None:
        async with bench(victim.make_app(), options()) as it:
            await it.broker.ending(it.broker.submit(double_in_lane_of(handler), TWENTY_ONE))
            stuck = it.broker.submit(handler, NO_ARGUMENTS)
            await until(lambda: it.worker.counts.running == 1)
            it.broker.abort(stuck, "not needed any more")
            ending, seconds = await seconds_of(it.broker.ending(stuck))
            assert ending.cause == Cause.CANCELLED
            assert ending.error == "not needed any more"
            assert seconds < FREE_WITHIN_S
            after = await it.broker.ending(it.broker.submit(double_in_lane_of(handler), TWENTY_ONE))
            assert msgpack.unpackb(after.result) == 42

    run(scenario())


@pytest.mark.parametrize("handler", ["thread.spin", "thread.sleep_python", "async.spin_async"])
def test_python_code_is_thrown_out_of_its_thread(handler: str) -> None:
    async def scenario() -> None:
        async with bench(victim.make_app(), options()) as it:
            await it.broker.ending(it.broker.submit(handler, NO_ARGUMENTS, timeout_ms=LIMIT_MS))
            assert it.worker.counts.abandoned == 0

    run(scenario())


@pytest.mark.parametrize("handler", ["thread.block", "async.swallow_async", "async.block_async"])
def test_what_cannot_be_stopped_is_abandoned_and_counted(handler: str) -> None:
    async def scenario() -> None:
        async with bench(victim.make_app(), options()) as it:
            await it.broker.ending(it.broker.submit(handler, NO_ARGUMENTS, timeout_ms=LIMIT_MS))
            assert it.worker.counts.abandoned == 1

    run(scenario())


SWEEPS = 2
"""Looks at the clock by which the worker has seen how late it is."""


STEPS = 300
"""Of a handler, until it has gone on too far: three seconds of them, and a thread is looked at ten times a second."""


class ShiftedClock(SystemClock):
    """The machine's, ahead by as much as the test says; counts how often it was looked at."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        self.looks = 0

    def monotonic_ms(self) -> int:
        self.looks += 1
        return super().monotonic_ms() + self.ahead_ms


def test_a_handler_that_had_no_time_to_leave_is_not_abandoned() -> None:
    """A worker that stood still for half a second after a cancel gave up handlers that had been told a moment ago."""

    async def scenario() -> None:
        app, clock = App(), ShiftedClock()
        is_told, may_leave = threading.Event(), threading.Event()

        @app.task(name="polite")
        def polite() -> None:
            context = current()
            while not context.cancelled:
                is_told.wait(LOOK_S)
            is_told.set()
            may_leave.wait()

        async with bench(app, WorkerOptions(), clock=clock) as it:
            key = it.broker.submit("polite", NO_ARGUMENTS)
            await until(lambda: it.worker.counts.running == 1)
            it.broker.abort(key)
            await until(is_told.is_set)
            looks = clock.looks
            clock.ahead_ms = 10_000
            await until(lambda: clock.looks >= looks + SWEEPS)
            may_leave.set()
            assert (await it.broker.ending(key)).cause == Cause.CANCELLED
            assert log.lines("handler_abandoned") == []

    with logged("error") as log:
        run(scenario())


def test_tasks_on_a_blocked_loop_are_handed_back_uncharged() -> None:
    async def scenario() -> None:
        async with bench(victim.make_app(), options(3)) as it:
            patient = it.broker.submit("async.sleep_async", NO_ARGUMENTS)
            await until(lambda: it.worker.counts.running == 1)
            blocker = it.broker.submit("async.block_async", NO_ARGUMENTS, timeout_ms=LIMIT_MS)
            assert (await it.broker.ending(blocker)).cause == Cause.TIMEOUT
            ending = await it.broker.ending(patient)
            assert ending.cause == Cause.RELEASED
            assert "blocked by async.block_async" in ending.error
            assert ending.delay_ms == 0

    run(scenario())


def test_heartbeats_go_on_while_a_handler_blocks_its_loop() -> None:
    async def scenario() -> None:
        beating = WorkerOptions(concurrency=2, app_path=victim.PATH, heartbeat_ms=100)
        async with bench(victim.make_app(), beating) as it:
            it.broker.submit("async.spin_async", NO_ARGUMENTS, timeout_ms=60_000)
            before = len(it.broker.of_type(Heartbeat))
            await it.broker.until(lambda: len(it.broker.of_type(Heartbeat)) >= before + 5)
            assert it.broker.of_type(Heartbeat)[-1].running == 1  # type: ignore[attr-defined]

    run(scenario())


def test_an_abandoned_handler_goes_no_further_when_its_call_returns() -> None:
    async def scenario() -> None:
        app = App()
        returning, waiting = socket.socketpair()
        never, went_on = threading.Event(), threading.Event()

        @app.task(name="stuck")
        def stuck() -> None:
            waiting.recv(1)
            for _ in range(
                STEPS
            ):  # in many steps: one that takes long because nobody runs is no more than one
                never.wait(LOOK_S)
            went_on.set()

        async with bench(app, WorkerOptions(concurrency=1)) as it:
            key = it.broker.submit("stuck", NO_ARGUMENTS, timeout_ms=100)
            assert (await it.broker.ending(key)).cause == Cause.TIMEOUT
            assert it.worker.counts.abandoned == 1
            returning.send(b"x")
            await until(lambda: it.worker.counts.abandoned == 0)
            assert not went_on.is_set()
        returning.close()
        waiting.close()

    run(scenario())
