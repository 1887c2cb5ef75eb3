"""The process lane: what dies there is told apart from what fails there."""

from __future__ import annotations

import asyncio
import os

import msgpack
import pytest

from tests.worker import victim
from tests.worker.harness import bench, run, until
from tq.client.routing import Address
from tq.errors import BadRequest
from tq.task import Cause
from tq.verbs import Extend, Heartbeat
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.context import current
from tq.worker.runtime import EXIT_FAILED, Worker, WorkerOptions
from tq.worker.uplink import Dialing

OPTIONS = WorkerOptions(concurrency=1, app_path=victim.PATH, heartbeat_ms=100)


def arguments(*args: object) -> bytes:
    return pack_arguments(args, {}, of="test")


@pytest.mark.parametrize(
    ("handler", "args", "words"),
    [
        ("process.exit_with", (3,), "exited with code 3"),
        ("process.exit_with", (0,), "exited with code 0"),
        ("process.kill_self", (victim.SIGKILL,), "killed by signal 9 (SIGKILL); was it out of memory?"),
        ("process.segfault", (), "killed by signal 11 (SIGSEGV)"),
    ],
)
def test_a_child_that_dies_is_a_crash_with_its_exit_code_or_signal(
    handler: str, args: tuple[object, ...], words: str
) -> None:
    async def scenario() -> None:
        async with bench(victim.make_app(), OPTIONS) as it:
            ending = await it.broker.ending(it.broker.submit(handler, arguments(*args)))
            assert ending.cause == Cause.CRASH
            assert words in ending.error
            after = await it.broker.ending(it.broker.submit("process.double", arguments(21)))
            assert msgpack.unpackb(after.result) == 42

    run(scenario())


def test_an_exception_or_system_exit_in_a_child_is_an_error_and_the_child_lives() -> None:
    async def scenario() -> None:
        async with bench(victim.make_app(), OPTIONS) as it:
            before = await it.broker.ending(it.broker.submit("process.pid", arguments()))
            for payload, word in ((arguments("x", "y"), "TypeError"), (b"\xc1", "msgpack")):
                ending = await it.broker.ending(it.broker.submit("process.double", payload))
                assert ending.cause == Cause.ERROR
                assert word in ending.error
            ending = await it.broker.ending(it.broker.submit("process.raise_system_exit", arguments()))
            assert ending.cause == Cause.ERROR
            assert "SystemExit: 7" in ending.error
            after = await it.broker.ending(it.broker.submit("process.pid", arguments()))
            assert before.result == after.result

    run(scenario())


def test_progress_and_extension_reach_the_broker_from_a_child() -> None:
    async def scenario() -> None:
        async with bench(victim.make_app(), OPTIONS) as it:
            key = it.broker.submit("process.tell_and_extend", arguments())
            ending = await it.broker.ending(key)
            assert msgpack.unpackb(ending.result)[1:] == [1, key[1]]
            await it.broker.until(lambda: bool(it.broker.of_type(Extend)))
            assert it.broker.of_type(Extend)[0].items[0][:2] == key  # type: ignore[attr-defined]

    run(scenario())


def test_progress_travels_with_the_next_heartbeat() -> None:
    async def scenario() -> None:
        app = App()
        release = asyncio.Event()

        @app.task(name="slow")
        async def slow() -> None:
            current().progress(0.25, "a quarter")
            await release.wait()

        async with bench(app, OPTIONS) as it:
            key = it.broker.submit("slow", arguments())
            told = (key[0], 250, "a quarter")
            await it.broker.until(lambda: any(told in beat.progress for beat in it.broker.of_type(Heartbeat)))  # type: ignore[attr-defined]

    run(scenario())


def test_children_end_when_their_worker_ends() -> None:
    async def scenario() -> None:
        async with bench(victim.make_app(), OPTIONS) as it:
            ending = await it.broker.ending(it.broker.submit("process.pid", arguments()))
            pid = msgpack.unpackb(ending.result)
        await until(lambda: not os.path.exists(f"/proc/{pid}"))

    run(scenario())


def test_a_worker_whose_children_cannot_load_the_app_does_not_start() -> None:
    async def scenario() -> None:
        dialing = Dialing((Address("127.0.0.1", 1),), "", None)
        worker = Worker(victim.make_app(), WorkerOptions(app_path="tests.worker.no_such_module:app"), dialing)
        assert await worker.run() == EXIT_FAILED

    run(scenario())


def test_process_tasks_without_an_app_path_are_refused_in_words() -> None:
    async def scenario() -> None:
        with pytest.raises(BadRequest, match="MODULE:APP"):
            Worker(victim.make_app(), WorkerOptions(), Dialing((Address("127.0.0.1", 1),), "", None))

    run(scenario())
