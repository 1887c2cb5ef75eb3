"""Ends that were acknowledged while PostgreSQL was away, and what operators and clients ask before they are written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.stackduck.cutting import Cutter, cutter
from tests.stackduck.serving import Broker, Deployment, Servers, deployed, run, until
from tq.broker.adapters.stackduck.watch import Watch
from tq.errors import InvalidStatus
from tq.ids import from_text
from tq.task import COMPLETED, DEAD_LETTER, TaskView
from tq.verbs import Cancel, GetHealth, GetTask, Health, Retry, TaskRef

OWED = "tq:stackduck:owed"
UPDATE_STATUS = b"completed"
"""What only the statement says that writes down that a job is completed."""


async def healthy(broker: Broker) -> bool:
    found = await broker.ask(GetHealth())
    return isinstance(found, Health) and found.status == "healthy"


@asynccontextmanager
async def late(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Deployment, Broker]]:
    """PostgreSQL is back, and what it missed is not written down before the block ends; then it is, by the broker."""
    may_write_down = asyncio.Event()
    repay = Watch._repay

    async def held_up(watch: Watch) -> None:
        if may_write_down.is_set():
            await repay(watch)

    monkeypatch.setattr(Watch, "_repay", held_up)
    async with deployed(servers) as here:
        broker = await here.broker()
        yield here, broker
        may_write_down.set()

        async def written_down() -> bool:
            return not await here.redis.hlen(OWED)

        await until(written_down)


async def end_while_away(here: Deployment, broker: Broker, *, fails: bool = False) -> str:
    """A job that ended, acknowledged, while PostgreSQL was away; it is back."""
    job_id = await broker.enqueue(max_retries=0)
    await broker.dequeued()
    here.servers.postgres.kill()
    try:
        assert await (broker.fail(job_id) if fails else broker.complete(job_id))
    finally:
        await asyncio.to_thread(here.servers.postgres.start)
    await until(lambda: healthy(broker))
    assert await here.redis.hlen(OWED) == 1
    assert await here.status(job_id) in ("running", "Queued"), "a mark may go with the server"
    return job_id


@pytest.mark.parametrize("force", [False, True], ids=["plain", "forced"])
def test_job_whose_end_is_not_written_down_yet_is_not_cancelled(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    async def scenario() -> None:
        async with late(servers, monkeypatch) as (here, broker):
            job_id = await end_while_away(here, broker)
            with pytest.raises(InvalidStatus, match="ended as completed"):
                await broker.ask(Cancel(from_text(job_id), force=force))
        assert await here.status(job_id) == "completed"

    run(scenario())


def test_job_whose_end_is_not_written_down_yet_is_shown_as_ended_and_failing_it_changes_nothing(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with late(servers, monkeypatch) as (here, broker):
            job_id = await end_while_away(here, broker)
            other = await here.broker()
            view = await other.ask(GetTask(from_text(job_id)))
            assert isinstance(view, TaskView) and view.state == COMPLETED
            assert await other.fail(job_id)
            assert (await here.queue(), await here.status(job_id)) == ([], "completed")
        assert await here.status(job_id) == "completed"

    run(scenario())


def test_dead_letter_that_is_brought_back_is_not_ended_by_what_is_written_down_late(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with late(servers, monkeypatch) as (here, broker):
            job_id = await end_while_away(here, broker, fails=True)
            view = await broker.ask(GetTask(from_text(job_id)))
            assert isinstance(view, TaskView) and view.state == DEAD_LETTER
            assert isinstance(await broker.ask(Retry(from_text(job_id))), TaskRef)
        assert await here.status(job_id) == "Queued"

    run(scenario())


def test_cancel_that_comes_while_the_job_is_being_ended_waits_for_what_becomes_of_it(
    servers: Servers,
) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue()
            await broker.dequeued()
            holder = await asyncpg.connect(here.database_url)
            transaction = holder.transaction()
            await transaction.start()
            try:
                await holder.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", job_id)
                ending = asyncio.ensure_future(broker.complete(job_id))
                waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE jobs%'"
                await until(lambda: here.sql(waiting))
                cancelling = asyncio.ensure_future(broker.ask(Cancel(from_text(job_id), force=True)))
                # Whether its end was written down nobody knows: its connection is lost. So Redis keeps it.
                await here.sql(waiting.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))
                assert await ending
                with pytest.raises(InvalidStatus, match="ended"):
                    await cancelling
            finally:
                await transaction.rollback()
                await holder.close()

            async def written_down() -> bool:
                return await here.status(job_id) == "completed"

            await until(written_down)

    run(scenario())


@asynccontextmanager
async def two_ways(servers: Servers) -> AsyncIterator[tuple[Deployment, Broker, Broker, Cutter]]:
    """Two brokers; the way of the first to PostgreSQL can be cut."""
    async with deployed(servers) as here, cutter(servers.postgres.port) as way:
        direct = here.database_url
        here.database_url = direct.replace(f":{servers.postgres.port}/", f":{way.port}/")
        first = await here.broker()
        here.database_url = direct
        yield here, first, await here.broker(), way


def test_end_of_a_job_that_was_cancelled_elsewhere_does_not_count_without_the_record_either(
    servers: Servers,
) -> None:
    async def scenario() -> None:
        async with two_ways(servers) as (here, first, second, way):
            job_id = await first.enqueue()
            await first.dequeued()
            assert isinstance(await second.ask(Cancel(from_text(job_id), force=True)), TaskRef)

            way.mark, way.reaches = UPDATE_STATUS, False
            await first.complete(job_id)
            way.mark = b""
            assert (way.cuts, await here.redis.hlen(OWED)) == (1, 0)
            await until(lambda: healthy(first))
            assert await here.status(job_id) == "Cancelled"

    run(scenario())


@pytest.mark.parametrize("status", ["cancelled", "Queued"])
def test_end_that_was_acknowledged_stands_though_the_record_was_told_something_else_before(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    async def scenario() -> None:
        async with late(servers, monkeypatch) as (here, broker):
            job_id = await end_while_away(here, broker)
            # Somebody who looked before it ended, and wrote after; and died before it could tell Redis, or anybody.
            await here.sql("UPDATE jobs SET status = $1, retry_count = 1 WHERE id = $2", status, job_id)
        assert await here.status(job_id) == "completed"

    run(scenario())
