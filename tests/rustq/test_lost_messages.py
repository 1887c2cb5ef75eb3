"""What RabbitMQ loses, the record brings back; and what it did not lose is not run twice for it."""

from __future__ import annotations

import asyncio

import pytest

from tests.rustq.places import Deployment, Seen, ended, serving
from tq.client.rustq import JobOptions, JobStatus, deployment_worker, names
from tq.client.rustq.redis_storage import RedisStorage


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look soon and often: the waits themselves are not what is tested."""
    monkeypatch.setattr(names, "OVERDUE_MS", 100)
    monkeypatch.setattr(deployment_worker, "LOOK_SECONDS", 0.05)


def test_a_delayed_job_whose_message_was_lost_on_its_way_runs_all_the_same(
    deployment: Deployment, impatient: None
) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            job_id = await queue.add("work", 1, JobOptions(delay="200ms"))
            await channel.queue_delete(f"{deployment.name}.tq.delay.200")
            seen = Seen()

            async def work(data: object) -> None:
                await seen(data)

            async with serving(queue, work=work):
                await ended(queue, job_id)
            assert seen.data == [1]

    asyncio.run(scene())


def test_only_pending_jobs_whose_time_is_over_are_looked_for_and_again_only_later(
    deployment: Deployment,
) -> None:
    async def scene() -> None:
        storage = RedisStorage(deployment.redis_url)
        async with deployment.queue(storage=storage) as queue:
            late = await queue.add("work", 1, JobOptions(delay="1h"))
            ready = await queue.add("work", 2)
            redis = storage._redis
            assert await redis.zscore(f"tq:rustq:due:{deployment.name}", ready) is None
            assert await storage.take_overdue(deployment.name, 60_000, 10) == []
            await redis.zadd(f"tq:rustq:due:{deployment.name}", {late: 1, "ended": 1})
            await redis.set("job:status:ended", JobStatus.COMPLETED.value)

            assert await storage.take_overdue(deployment.name, 60_000, 10) == [late]
            assert await storage.take_overdue(deployment.name, 60_000, 10) == []
            assert await redis.zscore(f"tq:rustq:due:{deployment.name}", "ended") is None

    asyncio.run(scene())
