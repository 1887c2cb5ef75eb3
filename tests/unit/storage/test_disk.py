"""The disk thread: order, hand-back, failure, stopping."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tq.broker.storage.disk import DiskThread


def run(test: Callable[[DiskThread, list[BaseException]], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        errors: list[BaseException] = []
        disk = DiskThread(asyncio.get_running_loop(), errors.append)
        disk.start()
        try:
            await test(disk, errors)
        finally:
            await disk.stop()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_jobs_run_in_the_order_given_off_the_loop_and_answer_on_it() -> None:
    async def test(disk: DiskThread, errors: list[BaseException]) -> None:
        here = threading.get_ident()
        ran: list[tuple[int, bool]] = []
        answered: list[tuple[int, bool]] = []
        last = asyncio.get_running_loop().create_future()

        def job(number: int) -> int:
            ran.append((number, threading.get_ident() == here))
            return number

        def done(result: object) -> None:
            assert isinstance(result, int)
            answered.append((result, threading.get_ident() == here))
            if result == 99:
                last.set_result(None)

        for number in range(100):
            disk.call(lambda number=number: job(number), done)
        await last

        assert ran == [(number, False) for number in range(100)]
        assert answered == [(number, True) for number in range(100)]
        assert errors == []

    run(test)


def test_called_job_that_raises_hands_the_exception_to_done() -> None:
    async def test(disk: DiskThread, errors: list[BaseException]) -> None:
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        disk.call(lambda: 1 // 0, answer.set_result)

        assert isinstance(await answer, ZeroDivisionError)
        assert errors == []

    run(test)


def test_forgotten_job_that_raises_is_fatal_and_the_thread_goes_on() -> None:
    async def test(disk: DiskThread, errors: list[BaseException]) -> None:
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        disk.run(lambda: 1 // 0)
        disk.call(lambda: "next", answer.set_result)

        assert await answer == "next"
        assert [type(error) for error in errors] == [ZeroDivisionError]

    run(test)


def test_done_that_raises_is_fatal_and_the_others_still_hear() -> None:
    async def test(disk: DiskThread, errors: list[BaseException]) -> None:
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def bad(result: object) -> None:
            raise LookupError

        disk.call(lambda: 1, bad)
        disk.call(lambda: 2, answer.set_result)

        assert await answer == 2
        assert [type(error) for error in errors] == [LookupError]

    run(test)


def test_stop_drains_what_was_given_before_and_takes_no_more() -> None:
    async def test(disk: DiskThread, errors: list[BaseException]) -> None:
        gate = threading.Event()
        ran: list[int] = []
        disk.run(lambda: gate.wait(60))
        for number in range(10):
            disk.call(lambda number=number: number, lambda result: ran.append(result))

        stopping = asyncio.ensure_future(disk.stop())
        gate.set()
        await stopping

        assert ran == list(range(10))
        with pytest.raises(RuntimeError, match="stopped"):
            disk.run(lambda: None)
        await disk.stop()

    run(test)


def test_jobs_without_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tq.broker.storage.disk.JOBS_MAX", 3)

    async def test(disk: DiskThread, errors: list[BaseException]) -> None:
        gate, begun = threading.Event(), threading.Event()
        disk.run(lambda: (begun.set(), gate.wait(60)))
        assert begun.wait(60)
        for _ in range(3):
            disk.run(lambda: None)

        with pytest.raises(RuntimeError, match="3 jobs wait"):
            disk.run(lambda: None)
        gate.set()

    run(test)


def test_stopping_a_thread_that_never_started_returns() -> None:
    async def main() -> None:
        await DiskThread(asyncio.get_running_loop(), lambda error: None).stop()

    asyncio.run(asyncio.wait_for(main(), 60))
