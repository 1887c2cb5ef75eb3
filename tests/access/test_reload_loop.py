"""The loop that reloads: what it survives, and that no request for a reload is lost."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO

import pytest

from tests.doors.serving import WAIT_S, run
from tq import logs
from tq.broker.reload import reload_when_asked
from tq.config import BrokerConfig, ConfigProblems, Problem


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (ConfigProblems([Problem("f", 1, 1, "a.b", "is wrong", "put it right")]), "reload_refused"),
        (RuntimeError("a defect"), "reload_failed"),
    ],
)
def test_a_reload_that_fails_is_told_and_the_next_one_is_heard(error: Exception, event: str) -> None:
    async def scenario() -> None:
        asked, used = asyncio.Event(), list[BrokerConfig]()
        errors = [error]

        def load() -> BrokerConfig:
            if errors:
                raise errors.pop()
            return BrokerConfig()

        async with reloading(asked, load, used.append):
            asked.set()
            await until(lambda: event in out.getvalue())
            asked.set()
            await until(lambda: len(used) == 1)

    out = StringIO()
    logs.configure("info", "json", out)
    run(scenario())
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == [event, "reloaded"]


def test_a_reload_that_is_asked_for_while_one_runs_follows_it() -> None:
    async def scenario() -> None:
        asked, used, go_on = asyncio.Event(), list[BrokerConfig](), threading.Event()
        begun: list[None] = []

        def load() -> BrokerConfig:
            begun.append(None)
            assert go_on.wait(WAIT_S)
            return BrokerConfig()

        async with reloading(asked, load, used.append):
            asked.set()
            await until(lambda: len(begun) == 1)
            for _ in range(3):
                asked.set()
            go_on.set()
            await until(lambda: len(used) == 2)
            assert not asked.is_set()

    logs.configure("critical", "json", StringIO())
    run(scenario())


@asynccontextmanager
async def reloading(
    asked: asyncio.Event, load: Callable[[], BrokerConfig], used: Callable[[BrokerConfig], None]
) -> AsyncIterator[None]:
    """The loop runs while the block does."""

    async def use(config: BrokerConfig) -> None:
        used(config)

    task = asyncio.ensure_future(reload_when_asked(asked, BrokerConfig(), load, use))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  it turns in a thread
            await asyncio.sleep(0.002)
