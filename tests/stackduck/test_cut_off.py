"""A connection that is lost between a statement and its answer: nobody knows whether it was done, and that is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.stackduck.cutting import Cutter, cutter
from tests.stackduck.serving import Broker, Deployment, Servers, deployed, run, until
from tq.errors import BrokerUnavailable, OutcomeUnknown
from tq.ids import from_text, new_id, to_text
from tq.task import DEAD_LETTER, PENDING, TaskSpec
from tq.verbs import GetHealth, Health, Purge, Reply, Retry, Submit, Submitted

MARK = b"cut me off"


@asynccontextmanager
async def behind_a_cutter(servers: Servers) -> AsyncIterator[tuple[Deployment, Broker, Cutter]]:
    async with deployed(servers) as here, cutter(servers.postgres.port) as way:
        direct = here.database_url
        here.database_url = direct.replace(f":{servers.postgres.port}/", f":{way.port}/")
        broker = await here.broker()
        here.database_url = direct
        yield here, broker, way


def task() -> TaskSpec:
    return TaskSpec(new_id(), "mail", b'"' + MARK + b'"', "stackduck")


@pytest.mark.parametrize("reaches", [True, False], ids=["done", "not-done"])
def test_an_insert_that_is_cut_off_is_unknown_and_asked_again_by_id_it_is_one_job(
    servers: Servers, reaches: bool
) -> None:
    async def scenario() -> None:
        async with behind_a_cutter(servers) as (here, broker, way):
            spec = task()

            async def is_there() -> bool:
                return bool(await here.sql("SELECT 1 FROM jobs WHERE id = $1", to_text(spec.task_id)))

            way.mark, way.reaches = MARK, reaches
            way.done = (lambda: until(is_there)) if reaches else None
            with pytest.raises(OutcomeUnknown, match="may have happened"):
                await broker.ask(Submit((spec,)))
            assert (way.cuts, await is_there()) == (1, reaches)

            way.mark = b""
            replies: list[Reply] = []

            async def accepted() -> bool:
                with suppress(BrokerUnavailable):
                    replies.append(await broker.ask(Submit((spec,))))
                return bool(replies)

            await until(accepted)
            assert isinstance(replies[0], Submitted)
            assert (len(replies[0].existing), replies[0].states) == (int(reaches), bytes([PENDING]))
            assert len(await here.sql("SELECT 1 FROM jobs")) == 1
            job = await broker.dequeued()
            assert job.id == to_text(spec.task_id)
            assert await broker.complete(job.id)
            assert (await broker.dequeue(), await here.queue(), await here.running()) == (None, [], [])

    run(scenario())


def test_a_job_whose_insert_was_cut_off_runs_though_nobody_asks_again(servers: Servers) -> None:
    async def scenario() -> None:
        async with behind_a_cutter(servers) as (here, broker, way):
            spec = task()

            async def is_there() -> bool:
                return bool(await here.sql("SELECT 1 FROM jobs"))

            way.mark, way.done = MARK, lambda: until(is_there)
            with pytest.raises(OutcomeUnknown):
                await broker.ask(Submit((spec,)))
            way.mark = b""

            assert (await broker.dequeued()).id == to_text(spec.task_id)

    run(scenario())


def test_a_retry_and_a_purge_that_are_cut_off_are_unknown(servers: Servers) -> None:
    async def scenario() -> None:
        async with behind_a_cutter(servers) as (here, broker, way):
            job_id = await broker.enqueue(max_retries=0)
            await broker.dequeued()
            assert await broker.fail(job_id)
            task_id = from_text(job_id)

            async def is_back() -> bool:
                health = await broker.ask(GetHealth())
                return isinstance(health, Health) and health.status == "healthy"

            way.reaches = False
            # What only the statement that changes something says: the status to be, or its own words.
            for request, mark in (
                (Retry(task_id), b"Queued"),
                (Purge(state=DEAD_LETTER), b"DELETE FROM jobs"),
            ):
                await until(is_back)
                way.mark = mark
                with pytest.raises(OutcomeUnknown):
                    await broker.ask(request)
                way.mark = b""
            assert way.cuts == 2
            assert await here.status(job_id) == "failed"

    run(scenario())
