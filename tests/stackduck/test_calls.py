"""StackDuck's calls on its own stores, from enqueue to the end."""

from __future__ import annotations

from tests.metrics.logged import logged
from tests.stackduck.serving import Deployment, Servers, deployed, run
from tq.ids import new_id
from tq.retry import EXPONENTIAL, RetryPolicy
from tq.task import TaskSpec, TaskView
from tq.verbs import GetTask, Submit


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


def test_what_is_rounded_is_shown_counted_and_logged_once(servers: Servers) -> None:
    async def scenario() -> None:
        with logged("warning") as log:
            async with deployed(servers) as here:
                await look_at_what_is_rounded(here)
            assert len(log.lines("rounded")) == 1

    async def look_at_what_is_rounded(here: Deployment) -> None:
        broker = await here.broker()
        spread = RetryPolicy(EXPONENTIAL, 30_000, 2_000, 3_600_000, jitter_permille=100)
        exact = TaskSpec(new_id(), "mail", queue="stackduck", priority=200)
        rounded = [
            TaskSpec(new_id(), "mail", queue="stackduck", priority=230),
            TaskSpec(new_id(), "mail", queue="stackduck", retry=spread),
        ]
        await broker.ask(Submit((exact, *rounded)))

        assert broker.backend.store_measures().events["rounded"] == 2
        assert not broker.backend.capabilities.priorities
        assert not broker.backend.capabilities.jitter
        views = [await broker.ask(GetTask(each.task_id)) for each in rounded]
        assert [view.priority for view in views if isinstance(view, TaskView)] == [200, 150]
        assert [view.retry.jitter_permille for view in views if isinstance(view, TaskView)] == [0, 0]

    run(scenario())
