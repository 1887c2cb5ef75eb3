"""What brokers of one deployment tell each other, and that one alone tells nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.stackduck.serving import Broker, Deployment, Servers, deployed, run, until

NEWS = "tq:stackduck:news"


@asynccontextmanager
async def listening(servers: Servers) -> AsyncIterator[tuple[Deployment, Broker]]:
    """One broker that listens, and nothing said so far."""
    async with deployed(servers) as here:
        broker = await here.broker()
        await until_listeners(here, 1)
        await here.redis.config_resetstat()
        yield here, broker


async def until_listeners(here: Deployment, number: int) -> None:
    async def are_so_many() -> bool:
        return bool((await here.redis.pubsub_numsub(NEWS))[0][1] == number)

    await until(are_so_many)


async def said(here: Deployment) -> int:
    """How often anything was said, by anybody."""
    return int((await here.redis.info("commandstats")).get("cmdstat_publish", {}).get("calls", 0))


async def work(broker: Broker) -> str:
    """One job comes, runs and ends."""
    job_id = await broker.enqueue()
    assert (await broker.dequeued()).id == job_id
    assert await broker.complete(job_id)
    return job_id


def test_broker_that_is_alone_tells_nobody_of_its_jobs(servers: Servers) -> None:
    async def scenario() -> None:
        async with listening(servers) as (here, broker):
            await work(broker)
            failed = await broker.enqueue(max_retries=1, delay=1)
            await broker.dequeued()
            assert await broker.fail(failed)
            assert await said(here) == 0

    run(scenario())


def test_whoever_else_listens_is_told_what_is_ready_and_what_has_ended(servers: Servers) -> None:
    async def scenario() -> None:
        async with listening(servers) as (here, broker), here.redis.pubsub() as ear:
            await ear.subscribe(NEWS)
            await until_listeners(here, 2)
            job_id = await work(broker)
            heard: list[str] = []

            async def has_ended() -> bool:
                message = await ear.get_message(ignore_subscribe_messages=True, timeout=0.1)
                if message is not None:
                    heard.append(message["data"].decode())
                return f"ended {job_id}" in heard

            await until(has_ended)
            assert heard[0] == "ready"

    run(scenario())


@pytest.mark.parametrize("command", ["pubsub|numsub", "pubsub"])
def test_where_listeners_may_not_be_counted_everything_is_said(servers: Servers, command: str) -> None:
    async def scenario() -> None:
        async with listening(servers) as (here, broker):
            await here.redis.execute_command("ACL", "SETUSER", "default", f"-{command}")
            try:
                await work(broker)
                assert await said(here) >= 2
            finally:
                await here.redis.execute_command("ACL", "SETUSER", "default", "+@all")

    run(scenario())
