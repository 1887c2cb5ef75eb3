"""What a handler sees and says: context, middleware, hooks, raw handlers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgpack
import pytest

from tests.worker.harness import bench, run, until
from tq import ids
from tq.client.routing import Address
from tq.task import Cause
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.context import CURRENT, TaskContext, current
from tq.worker.runtime import EXIT_FAILED, Worker, WorkerOptions
from tq.worker.uplink import Dialing

NO_ARGUMENTS = pack_arguments((), {}, of="test")


def seen() -> list[object]:
    context = current()
    return [
        context.task_id,
        context.task_type,
        context.queue,
        context.attempt,
        context.max_retries,
        context.token,
        context.metadata,
        context.cancelled,
        0 < context.remaining <= 60,
    ]


def seeing() -> App:
    app = App()

    @app.task(name="async")
    async def in_loop() -> list[object]:
        # In a task of the handler's own too.
        return await asyncio.create_task(asyncio.to_thread(seen))

    app.task(name="thread")(seen)
    return app


@pytest.mark.parametrize("lane", ["async", "thread"])
def test_a_handler_sees_its_task(lane: str) -> None:
    async def scenario() -> None:
        async with bench(seeing()) as it:
            key = it.broker.submit(lane, NO_ARGUMENTS, attempt=2, metadata={"trace": "7"})
            ending = await it.broker.ending(key)
            expected = [ids.to_text(key[0]), lane, "default", 2, 3, key[1], {"trace": "7"}, False, True]
            assert msgpack.unpackb(ending.result) == expected

    run(scenario())


def test_outside_of_a_handler_there_is_no_current_task() -> None:
    with pytest.raises(RuntimeError, match="no task runs here"):
        current()


def test_what_a_handler_sets_in_its_context_ends_with_it() -> None:
    async def scenario() -> None:
        app = App()

        @app.task(name="thread")
        def leaky() -> bool:
            is_clean = CURRENT.get().metadata == {"n": current().metadata["n"]}
            CURRENT.set(TaskContext.__new__(TaskContext))
            return is_clean

        async with bench(app, WorkerOptions(concurrency=1)) as it:
            for number in ("1", "2"):
                ending = await it.broker.ending(
                    it.broker.submit("thread", NO_ARGUMENTS, metadata={"n": number})
                )
                assert msgpack.unpackb(ending.result) is True

    run(scenario())


def test_a_thread_handler_can_leave_by_the_cancel_flag() -> None:
    async def scenario() -> None:
        app = App()
        started = threading.Event()
        never = threading.Event()

        @app.task(name="polite")
        def polite() -> None:
            started.set()
            while not never.wait(0.01):
                current().check_cancelled()

        async with bench(app) as it:
            key = it.broker.submit("polite", NO_ARGUMENTS)
            await until(started.is_set)
            it.broker.abort(key)
            assert (await it.broker.ending(key)).cause == Cause.CANCELLED
            assert it.worker.counts.abandoned == 0

    run(scenario())


def test_middleware_wraps_handlers_of_its_colour_the_first_outermost() -> None:
    async def scenario() -> None:
        app = App()
        order: list[str] = []

        @app.middleware
        async def outer(call: Callable[[], Awaitable[object]], context: TaskContext) -> object:
            order.append(f"outer {context.task_type}")
            return ["outer", await call()]

        @app.middleware
        async def inner(call: Callable[[], Awaitable[object]], context: TaskContext) -> object:
            order.append("inner")
            return ["inner", await call()]

        @app.middleware
        def plain(call: Callable[[], object], context: TaskContext) -> object:
            return ["plain", call()]

        @app.task(name="async")
        async def in_loop() -> int:
            return 1

        @app.task(name="thread")
        def in_thread() -> int:
            return 2

        async with bench(app) as it:
            ending = await it.broker.ending(it.broker.submit("async", NO_ARGUMENTS))
            assert msgpack.unpackb(ending.result) == ["outer", ["inner", 1]]
            assert order == ["outer async", "inner"]
            ending = await it.broker.ending(it.broker.submit("thread", NO_ARGUMENTS))
            assert msgpack.unpackb(ending.result) == ["plain", 2]

    run(scenario())


def test_what_a_middleware_raises_is_the_tasks_error() -> None:
    async def scenario() -> None:
        app = App()

        @app.middleware
        async def refuse(call: Callable[[], Awaitable[object]], context: TaskContext) -> object:
            raise PermissionError("not this one")

        @app.task(name="async")
        async def in_loop() -> int:
            return 1

        async with bench(app) as it:
            ending = await it.broker.ending(it.broker.submit("async", NO_ARGUMENTS))
            assert ending.cause == Cause.ERROR
            assert "PermissionError: not this one" in ending.error

    run(scenario())


def test_hooks_and_lifespan_surround_the_tasks_on_the_handlers_own_loop() -> None:
    async def scenario() -> None:
        app = App()
        events: list[object] = []

        @app.on_startup
        async def up() -> None:
            events.append(("up", asyncio.get_running_loop()))

        @app.on_shutdown
        def down() -> None:
            events.append("down")

        @app.lifespan
        @asynccontextmanager
        async def pool() -> AsyncIterator[None]:
            async with asyncio.TaskGroup():
                events.append("open")
                yield
                events.append("close")

        @app.task(name="async")
        async def in_loop() -> None:
            events.append(("run", asyncio.get_running_loop()))

        async with bench(app) as it:
            await it.broker.ending(it.broker.submit("async", NO_ARGUMENTS))
        loop = events[0][1]  # type: ignore[index]
        assert events == [("up", loop), "open", ("run", loop), "close", "down"]

    run(scenario())


def test_a_start_up_hook_that_fails_keeps_the_worker_from_starting() -> None:
    async def scenario() -> None:
        app = App()

        @app.on_startup
        def up() -> None:
            raise ConnectionError("no database")

        @app.task(name="async")
        async def in_loop() -> None: ...

        worker = Worker(app, WorkerOptions(), Dialing((Address("127.0.0.1", 1),), "", None))
        assert await worker.run() == EXIT_FAILED

    run(scenario())


def test_a_raw_handler_gets_bytes_and_returns_bytes() -> None:
    async def scenario() -> None:
        app = App()

        @app.handler("reverse")
        def reverse(payload: bytes) -> bytes:
            return payload[::-1]

        @app.handler("wrong")
        async def wrong(payload: bytes) -> object:
            return len(payload)

        async with bench(app) as it:
            assert (await it.broker.ending(it.broker.submit("reverse", b"abc"))).result == b"cba"
            ending = await it.broker.ending(it.broker.submit("wrong", b"abc"))
            assert "a raw handler returns bytes" in ending.error

    run(scenario())


def test_an_alias_is_served_like_the_name() -> None:
    async def scenario() -> None:
        app = App()

        @app.task(name="new", aliases=["old"])
        async def moved() -> int:
            return 1

        async with bench(app) as it:
            assert (await it.broker.ending(it.broker.submit("old", NO_ARGUMENTS))).cause == Cause.DONE

    run(scenario())


@pytest.mark.parametrize(("kind", "is_on_loop"), [("auto", True), ("thread", False)])
def test_the_workers_kind_moves_tasks_that_left_it_open(kind: str, is_on_loop: bool) -> None:
    async def scenario() -> None:
        app = App()

        @app.task(name="where")
        async def where() -> str:
            return threading.current_thread().name

        async with bench(app, WorkerOptions(kind=kind)) as it:  # type: ignore[arg-type]
            ending = await it.broker.ending(it.broker.submit("where", NO_ARGUMENTS))
            assert msgpack.unpackb(ending.result) == ("tq-loop" if is_on_loop else "tq-lane")

    run(scenario())
