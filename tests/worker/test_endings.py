"""How attempts end, and how their endings travel."""

from __future__ import annotations

import asyncio

import msgpack
import pytest

from tests.worker.harness import bench, run, until
from tq.errors import BadRequest, BrokerUnavailable, LeaseLost
from tq.task import PAYLOAD_BYTES_MAX, Cause
from tq.verbs import Settle
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.control import Fatal, RetryLater, Snooze
from tq.worker.runtime import WorkerOptions

NO_ARGUMENTS = pack_arguments((), {}, of="test")
MANY = WorkerOptions(concurrency=100)


class Awkward(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def raising(error: BaseException) -> App:
    """An App whose task `async` and `thread` both raise this."""
    app = App()

    @app.task(name="async")
    async def in_loop() -> None:
        raise error

    @app.task(name="thread")
    def in_thread() -> None:
        raise error

    return app


def returning(value: object) -> App:
    app = App()

    @app.task(name="async")
    async def in_loop() -> object:
        return value

    @app.task(name="thread")
    def in_thread() -> object:
        return value

    return app


@pytest.mark.parametrize("lane", ["async", "thread"])
@pytest.mark.parametrize(
    ("error", "cause", "words", "delay_ms"),
    [
        (ValueError("bad address"), Cause.ERROR, "ValueError: bad address", -1),
        (SystemExit(3), Cause.ERROR, "SystemExit: 3", -1),
        (KeyboardInterrupt(), Cause.ERROR, "KeyboardInterrupt", -1),
        (GeneratorExit(), Cause.ERROR, "GeneratorExit", -1),
        (asyncio.CancelledError(), Cause.ERROR, "CancelledError", -1),
        (Awkward(), Cause.ERROR, "Awkward", -1),
        (RetryLater("rate limited", after="2m"), Cause.ERROR, "RetryLater: rate limited", 120_000),
        (Snooze(30), Cause.SNOOZED, "", 30_000),
        (Fatal("no such user"), Cause.FATAL, "Fatal: no such user", -1),
        (ValueError("x" * 100_000), Cause.ERROR, "characters left out", -1),
        (ValueError("lone \ud800 surrogate"), Cause.ERROR, "lone ? surrogate", -1),
    ],
)
def test_whatever_a_handler_raises_is_its_own_end_only(
    lane: str, error: BaseException, cause: Cause, words: str, delay_ms: int
) -> None:
    async def scenario() -> None:
        async with bench(raising(error)) as it:
            for _ in range(2):  # twice: the worker lives
                ending = await it.broker.ending(it.broker.submit(lane, NO_ARGUMENTS))
                assert (ending.cause, ending.delay_ms) == (cause, delay_ms)
                assert words in ending.error

    run(scenario())


@pytest.mark.parametrize("lane", ["async", "thread"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1, 2}, "the result is set, which cannot travel"),
        ({"a": [object()]}, "the result['a'][0] is object"),
        (2**70, "integer of more than 64 bits"),
        (b"x" * (PAYLOAD_BYTES_MAX + 1), "more than 10485760"),
    ],
)
def test_a_result_that_cannot_travel_is_an_error_that_says_why(lane: str, value: object, words: str) -> None:
    async def scenario() -> None:
        async with bench(returning(value)) as it:
            ending = await it.broker.ending(it.broker.submit(lane, NO_ARGUMENTS))
            assert ending.cause == Cause.ERROR
            assert words in ending.error

    run(scenario())


def test_a_traceback_begins_in_the_handlers_own_code() -> None:
    async def scenario() -> None:
        async with bench(raising(ValueError("bad"))) as it:
            ending = await it.broker.ending(it.broker.submit("thread", NO_ARGUMENTS))
            first_frame = next(line for line in ending.error.splitlines() if line.startswith("  File"))
            assert "in in_thread" in first_frame

    run(scenario())


def test_returning_a_snooze_means_the_same_as_raising_it() -> None:
    async def scenario() -> None:
        async with bench(returning(Snooze("1h"))) as it:
            ending = await it.broker.ending(it.broker.submit("async", NO_ARGUMENTS))
            assert (ending.cause, ending.delay_ms) == (Cause.SNOOZED, 3_600_000)

    run(scenario())


def test_all_that_ends_while_a_settle_is_under_way_goes_in_one_frame() -> None:
    async def scenario() -> None:
        async with bench(returning(1), MANY) as it:
            it.broker.settle_gate.clear()
            first = it.broker.submit("async", NO_ARGUMENTS)
            await it.broker.until(lambda: len(it.broker.settle_frames) == 1)
            keys = [it.broker.submit("async", NO_ARGUMENTS) for _ in range(50)]
            await until(lambda: it.worker.counts.unsettled == 51)
            assert len(it.broker.settle_frames) == 1
            it.broker.settle_gate.set()
            await it.broker.until(lambda: {first, *keys} <= it.broker.settled.keys())
            assert [len(frame.items) for frame in it.broker.settle_frames] == [1, 50]

    run(scenario())


def test_a_settle_answered_lease_lost_is_not_sent_again() -> None:
    async def scenario() -> None:
        async with bench(returning(1)) as it:
            it.broker.settle_gate.clear()
            lost = it.broker.submit("async", NO_ARGUMENTS)
            it.broker.lost.add(lost)
            it.broker.settle_gate.set()
            await until(lambda: it.worker.counts.lost == 1)
            assert it.worker.counts.unsettled == 0
            await it.broker.ending(it.broker.submit("async", NO_ARGUMENTS))
            assert (
                sum(item.task_id == lost[0] for frame in it.broker.settle_frames for item in frame.items) == 1
            )

    run(scenario())


def test_a_settle_that_could_not_be_taken_is_sent_again() -> None:
    async def scenario() -> None:
        async with bench(returning(1)) as it:
            refusals = iter([BrokerUnavailable("electing", retry_after_ms=10), BrokerUnavailable("electing")])
            it.broker.refuse = lambda request: next(refusals, None) if isinstance(request, Settle) else None
            ending = await it.broker.ending(it.broker.submit("async", NO_ARGUMENTS))
            assert msgpack.unpackb(ending.result) == 1
            assert len(it.broker.settle_frames) == 3

    run(scenario())


def test_a_refused_result_becomes_an_error_and_spoils_no_other() -> None:
    async def scenario() -> None:
        def refuse(request: object) -> BadRequest | None:
            if isinstance(request, Settle) and any(
                item.task_id == bad[0] and item.result for item in request.items
            ):
                return BadRequest("result is odd")
            return None

        async with bench(returning(1), MANY) as it:
            it.broker.settle_gate.clear()
            it.broker.submit("async", NO_ARGUMENTS)
            await it.broker.until(lambda: len(it.broker.settle_frames) == 1)
            bad = it.broker.submit("async", NO_ARGUMENTS)
            good = it.broker.submit("async", NO_ARGUMENTS)
            await until(lambda: it.worker.counts.unsettled == 3)
            it.broker.refuse = refuse
            it.broker.settle_gate.set()
            assert (await it.broker.ending(good)).cause == Cause.DONE
            ending = await it.broker.ending(bad)
            assert ending.cause == Cause.ERROR
            assert "refused the result: result is odd" in ending.error

    run(scenario())


def test_a_session_that_is_gone_loses_its_leases_and_the_worker_goes_on() -> None:
    async def scenario() -> None:
        async with bench(returning(1)) as it:
            refusals = iter([LeaseLost("no such session")])
            it.broker.refuse = lambda request: next(refusals, None) if isinstance(request, Settle) else None
            it.broker.submit("async", NO_ARGUMENTS)
            await until(lambda: it.worker.counts.lost == 1)
            assert it.worker.counts.unsettled == 0

    run(scenario())


def test_a_type_that_is_not_served_goes_back_uncharged() -> None:
    async def scenario() -> None:
        async with bench(returning(1)) as it:
            ending = await it.broker.ending(it.broker.submit("never heard of"))
            assert ending.cause == Cause.RELEASED

    run(scenario())
