"""A store goes away and comes back: what is promised of each."""

from __future__ import annotations

import asyncio

import pytest

from tests.stackduck.pace import PACE
from tests.stackduck.serving import Broker, Servers, deployed, run, until
from tq.proto import stackduck_pb2 as duck
from tq.verbs import GetHealth, Health


async def health(broker: Broker) -> Health:
    found = await broker.ask(GetHealth())
    assert isinstance(found, Health)
    return found


async def degraded(broker: Broker) -> bool:
    return (await health(broker)).status == "degraded"


async def healthy(broker: Broker) -> bool:
    return (await health(broker)).status == "healthy"


def test_jobs_that_come_while_redis_is_away_are_kept_worked_on_and_put_back_once(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            before = await broker.enqueue(payload='"before"')
            servers.redis.kill()
            try:
                await until(lambda: degraded(broker))
                assert "Redis is away" in (await health(broker)).problems[0]
                ids = [await broker.enqueue() for _ in range(5)]
                assert [await here.status(job_id) for job_id in ids] == ["Queued"] * 5
                assert broker.backend.store_measures().in_memory == 5
                done, failed = [(await broker.dequeued()).id for _ in range(2)]
                assert await broker.complete(done)
                assert await here.status(done) == "completed"
            finally:
                await asyncio.to_thread(servers.redis.start)

            async def put_back() -> bool:
                return len(await here.queue()) == 4

            await until(lambda: healthy(broker))
            await until(put_back)
            assert [member[:37] for member, _ in await here.running()] == [f"{failed}:"], (
                "its lease is known now"
            )
            assert await broker.complete(failed)
            found = sorted([(await broker.dequeued()).id for _ in range(4)])
            assert found == sorted([before, *(each for each in ids if each not in (done, failed))])
            for job_id in found:
                assert await broker.complete(job_id)
            assert (await broker.dequeue(), await here.queue(), await here.running()) == (None, [], [])

    run(scenario())


def test_redis_that_is_back_is_not_taken_for_away_again_by_connections_of_before(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()

            async def work() -> None:
                await broker.enqueue()
                assert await broker.complete((await broker.dequeued()).id)

            await work()
            servers.redis.kill()
            try:
                await until(lambda: degraded(broker))
            finally:
                await asyncio.to_thread(servers.redis.start)
            await until(lambda: healthy(broker))
            for _ in range(3):
                await work()
            assert broker.backend.store_measures().outages["redis"] == 1

    run(scenario())


def test_end_that_redis_missed_is_told_when_it_is_back(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            done, failed = await broker.enqueue(), await broker.enqueue(max_retries=1, delay=1)
            assert {(await broker.dequeued()).id for _ in range(2)} == {done, failed}
            servers.redis.kill()
            try:
                assert await broker.complete(done)
                assert await broker.fail(failed)
                assert (await here.status(done), await here.status(failed)) == ("completed", "Queued")
            finally:
                await asyncio.to_thread(servers.redis.start)
            again = await broker.dequeued()
            assert (again.id, again.retry_count) == (failed, 1)
            assert [member[:37] for member, _ in await here.running()] == [f"{failed}:"]

    run(scenario())


def test_without_postgres_enqueue_is_refused_and_work_goes_on_and_is_written_down_later(
    servers: Servers,
) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            ids = [await broker.enqueue() for _ in range(2)]
            another = duck.EnqueueJobRequest(job_type="another", payload="1")
            servers.postgres.kill()
            try:
                # The backends of a server that is killed live on for a moment; and who meets a dying connection is told that
                # nobody knows what became of it.
                async def refused() -> bool:
                    return not (await broker.client.duck(another)).success

                await until(refused)
                answer = await broker.client.duck(another)
                assert not answer.success
                assert answer.error_message.startswith(
                    "Job Error: Failed to insert job into Postgres: PostgreSQL is away"
                )
                assert "PostgreSQL is away" in (await health(broker)).problems[0]
                for _ in ids:
                    assert await broker.complete((await broker.dequeued()).id)
                assert await here.redis.hlen("tq:stackduck:owed") == 2
            finally:
                await asyncio.to_thread(servers.postgres.start)

            async def written() -> bool:
                return [await here.status(job_id) for job_id in ids] == ["completed"] * 2

            await until(written)

            async def repaid() -> bool:
                return await here.redis.hlen("tq:stackduck:owed") == 0

            await until(repaid)
            assert await here.running() == []

    run(scenario())


@pytest.mark.parametrize("away", ["redis", "postgres"])
def test_broker_starts_with_a_store_away_and_works_when_it_comes(servers: Servers, away: str) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            first = await here.broker()
            waiting = await first.enqueue(payload='"old"')
            await first.stop()
            here.brokers.clear()
            server = servers.redis if away == "redis" else servers.postgres
            server.kill()
            try:
                broker = await here.broker()
                assert await degraded(broker)
                if away == "redis":
                    await broker.enqueue()
                else:
                    assert (await broker.dequeued()).id == waiting
                    assert await broker.complete(waiting)
            finally:
                await asyncio.to_thread(server.start)
            await until(lambda: healthy(broker))

            async def all_there() -> bool:
                if away == "redis":
                    return len(await here.queue()) == 2
                return await here.status(waiting) == "completed"

            await until(all_there)

    run(scenario())


def test_queue_that_redis_lost_is_made_again_from_the_record(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            ids = [await broker.enqueue() for _ in range(3)]
            held = (await broker.dequeued()).id
            await here.redis.flushall()

            async def made_again() -> bool:
                return len(await here.queue()) == 2

            await until(made_again)
            assert await broker.complete(held)
            found = {(await broker.dequeued()).id for _ in range(2)}
            assert found == set(ids) - {held}

    run(scenario())


def test_row_that_no_queue_knows_is_put_back_before_all_rows_are_looked_at_again(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            await (await here.broker()).stop()  # has made the table
            here.brokers.clear()
            await here.sql(
                "INSERT INTO jobs (job_type, payload, status, updated_at)"
                " VALUES ('mail', '{}', 'Queued', NOW() - INTERVAL '1 hour')"
            )
            await here.broker(PACE._replace(orphans_every_ms=3_600_000))

            async def put_back() -> bool:
                return len(await here.queue()) == 1

            await until(put_back)

    run(scenario())
