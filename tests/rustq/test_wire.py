"""A Rust producer's job runs here, a job added here runs there: bodies, queue arguments and Redis keys agree."""

from __future__ import annotations

import asyncio
import uuid

import aio_pika
import pytest

from tests.rustq import rust
from tests.rustq.places import Deployment, Seen, ended, serving, until
from tq.client.rustq import BackoffStrategy, JobOptions, JobStatus
from tq.client.rustq.job import from_json, to_json


def own(body: bytes) -> tuple[bytes, str]:
    """The transcript with an id of this test's own: the key space of Redis is shared."""
    job_id = str(uuid.uuid4())
    return body.replace(b"0b0e7f5c-6c55-4b43-9f0c-2f1a3c7f9d11", job_id.encode()), job_id


@pytest.mark.parametrize("transcript", [rust.PRODUCED, rust.RETRIED], ids=["produced", "retried"])
def test_a_document_of_rust_is_written_again_byte_for_byte(transcript: bytes) -> None:
    assert to_json(from_json(transcript)) == transcript


def test_a_job_of_a_rust_producer_runs_here_and_rust_sees_it_completed(deployment: Deployment) -> None:
    async def scene() -> None:
        body, job_id = own(rust.PRODUCED)
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            await rust.store_job(redis, body)
            await rust.push(channel, deployment.name, body)
            seen = Seen()

            async def send_email(data: object) -> None:
                assert await redis.get(f"job:status:{job_id}") == b"Processing"
                assert await redis.sismember("jobs:Processing", job_id)
                await seen(data)

            async with serving(queue, send_email=send_email):
                await ended(queue, job_id)

            assert seen.data == [rust.DATA]
            assert await redis.get(f"job:status:{job_id}") == b"Completed"
            assert await redis.get(f"job:data:{job_id}") == body
            assert [await redis.sismember(f"jobs:{status}", job_id) for status in JobStatus] == [
                0,
                0,
                1,
                0,
                0,
            ]
            left = await rust.declare_main(channel, deployment.name)
            assert left.declaration_result.message_count == 0

    asyncio.run(scene())


def test_a_job_that_rust_retried_runs_here_with_the_retries_it_has_left(deployment: Deployment) -> None:
    async def scene() -> None:
        body, job_id = own(rust.RETRIED)
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            await rust.store_job(redis, body)
            await rust.declare_main(channel, deployment.name)
            await rust.push_retry(channel, deployment.name, body, job_type=deployment.name, delay_ms=30)
            ran = Seen()

            async def send_email(data: object) -> None:
                await ran(data)
                if len(ran.data) == 1:
                    raise RuntimeError("once more")

            async with serving(queue, send_email=send_email):
                await until(lambda: redis.exists(f"tq:rustq:next:{job_id}"))
                waiting = rust.read(await redis.get(f"job:data:{job_id}"))
                assert waiting.retry_count == 2
                assert waiting.last_error == "Handler error: RuntimeError: once more"
                assert await redis.get(f"job:status:{job_id}") == b"Pending"
                await ended(queue, job_id)

    asyncio.run(scene())


def test_a_job_added_here_is_acknowledged_by_a_rust_worker(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            job_id = await queue.add("send_email", rust.DATA)

            stored = await redis.get(f"job:data:{job_id}")
            assert tuple(rust.read(stored)._fields) == rust.KEYS
            assert await redis.sismember("jobs:Pending", job_id)
            assert await redis.sismember("job:types", "send_email")
            assert await redis.zscore("jobs:by_created", job_id) == rust.read(stored).created_at
            job = await rust.work_off(redis, channel, deployment.name)

            assert (job.id, job.job_type, job.max_retries) == (job_id, "send_email", 3)
            assert job.payload == b'{"to":"a@b.c","n":7}'
            assert job.backoff == {"Exponential": {"secs": 1, "nanos": 0}}
            assert await queue.get_job_status(job_id) is JobStatus.COMPLETED

    asyncio.run(scene())


def test_a_rust_worker_reads_a_job_with_every_option_and_its_retry_comes_back_here(
    deployment: Deployment,
) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            options = JobOptions(
                timeout=30, attempts=9, max_retries=5, backoff=BackoffStrategy.custom(["1s", "1500ms"])
            )
            job_id = await queue.add("other", {"a": [1]}, options)
            again = await rust.work_off(redis, channel, deployment.name, fails=True)
            assert (again.max_retries, again.retry_count) == (5, 1)
            assert again.backoff == {"Custom": [{"secs": 1, "nanos": 0}, {"secs": 1, "nanos": 500_000_000}]}
            seen = Seen()

            async def other(data: object) -> None:
                await seen(data)

            async with serving(queue, other=other):
                await ended(queue, job_id)
            assert seen.data == [{"a": [1]}]

    asyncio.run(scene())


def test_what_is_published_is_persistent_and_the_main_queue_has_no_arguments(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            await queue.add("work", 1)
            main = await rust.declare_main(channel, deployment.name)  # 406 if it had any
            message = await main.get()
            assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
            assert not message.headers
            await message.ack()

    asyncio.run(scene())


def test_a_delay_queue_deletes_itself_and_a_dead_letter_says_why(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            job_id = await queue.add(
                "snap", 1, JobOptions(max_retries=1, backoff=BackoffStrategy.fixed(0.05))
            )

            async def snap(_: object) -> None:
                raise ValueError("it snapped")

            async with serving(queue, snap=snap):
                await ended(queue, job_id, JobStatus.FAILED)

            arguments = {
                "x-message-ttl": 50,
                "x-expires": 3_600_050,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": deployment.name,
            }
            delay = f"{deployment.name}.tq.delay.50"
            await channel.declare_queue(delay, durable=True, arguments=arguments)  # type: ignore[arg-type]
            dead = await channel.declare_queue(f"{deployment.name}.tq.dead", durable=True)
            letter = await dead.get()
            await letter.ack()
            assert letter.headers["x-tq-reason"] == "Handler error: ValueError: it snapped"
            assert rust.read(letter.body).id == job_id

    asyncio.run(scene())
