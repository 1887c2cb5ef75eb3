"""StackDuck's calls on its own stores, from enqueue to the end."""

from __future__ import annotations

from tests.stackduck.serving import Servers, deployed, run


def test_job_goes_from_enqueue_to_completed(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue(payload='{"b": 1, "a": 2.0}', priority=1)
            assert await here.status(job_id) == "Queued"

            job = await broker.dequeue()
            assert job is not None
            assert (job.id, job.payload, job.status, job.priority) == (job_id, '{"a":2.0,"b":1}', "Queued", 1)
            assert await here.status(job_id) == "running"
            assert [member[:37] for member, _ in await here.running()] == [f"{job_id}:"]

            assert await broker.complete(job_id)
            assert await here.status(job_id) == "completed"
            assert await here.running() == []
            assert await broker.dequeue() is None

    run(scenario())


def test_failed_job_is_retried_and_then_dead_lettered(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue(max_retries=1, delay=1)
            assert await broker.dequeue() is not None
            assert await broker.fail(job_id)
            assert await here.status(job_id) == "Queued"

            again = await broker.dequeued()
            assert (again.id, again.retry_count, again.error_message) == (job_id, 1, "boom")
            assert await broker.fail(job_id, "bust")
            assert await here.status(job_id) == "failed"
            assert await here.redis.llen("Stackduck:dlq:mail") == 1
            assert await here.redis.get("Stackduck:dlq:mail:count") == b"1"

    run(scenario())


def test_consumer_gets_what_waits_and_what_comes(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            first = await broker.enqueue()
            stream = broker.client.consume("mail")
            message = await stream.read()
            assert (message.job.id, message.notification_type) == (first, "ExistingJob")
            second = await broker.enqueue()
            message = await stream.read()
            assert (message.job.id, message.notification_type) == (second, "NewJob")
            assert await broker.complete(first)
            assert await broker.complete(second)
            stream.cancel()

    run(scenario())


def test_completing_works_after_the_cache_has_expired_and_at_another_broker(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            first, second = await here.broker(), await here.broker()
            job_id = await first.enqueue()
            assert await first.dequeue() is not None
            await here.redis.delete(f"Stackduck:job:{job_id}")

            assert await second.complete(job_id)
            assert await here.status(job_id) == "completed"
            assert await here.running() == []
            assert await first.complete(job_id), "completing it twice is a yes"

    run(scenario())


def test_retry_of_an_unknown_job_is_no_success(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()

            assert not await broker.retry("018f0000-0000-4000-8000-000000000001")
            assert not await broker.complete("018f0000-0000-4000-8000-000000000001")

    run(scenario())


def test_retry_has_no_limit_and_counts(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue(max_retries=0, delay=1)
            assert await broker.dequeue() is not None

            assert await broker.retry(job_id, "once more")
            row = await here.row(job_id)
            assert (row["status"], row["retry_count"], row["error_message"]) == ("Queued", 1, "once more")

    run(scenario())
