"""What is no job, or a job that was meddled with: set aside with a reason, and the next one runs."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import aio_pika
import pytest

from tests.rustq import rust
from tests.rustq.places import Deployment, Seen, ended, serving, until
from tq.client.rustq import JobOptions, JobStatus
from tq.errors import BadRequest

DOCUMENT = json.loads(rust.PRODUCED)


def changed(**changes: Any) -> bytes:
    return json.dumps({**DOCUMENT, "id": str(uuid.uuid4()), **changes}).encode()


def without(key: str) -> bytes:
    return json.dumps({name: value for name, value in DOCUMENT.items() if name != key}).encode()


BAD = {
    "empty": (b"", "not JSON"),
    "text": (b"hello", "not JSON"),
    "binary": (b"\xff\xfe\x00", "not JSON"),
    "nested": (b"[" * 100_000, "not JSON"),
    "list": (b"[1]", "not a JSON object"),
    "no id": (without("id"), "the key id is missing"),
    "no backoff": (without("backoff"), "the key backoff is missing"),
    "no payload": (without("payload"), "the key payload is missing"),
    "id a number": (changed(id=7), "id is int"),
    "id empty": (changed(id=""), "id has 0 characters"),
    "type endless": (changed(job_type="x" * 300), "job_type has 300 characters"),
    "half a surrogate": (
        changed().replace(b'"send_email"', b'"\\ud800"'),
        "half a surrogate",
    ),
    "payload a string": (changed(payload="e30="), "payload is str"),
    "payload beyond bytes": (changed(payload=[1, 256]), "not an array of byte numbers"),
    "payload fractions": (changed(payload=[1.5]), "not an array of byte numbers"),
    "status unknown": (changed(status="Sleeping"), "status is not one"),
    "count negative": (changed(retry_count=-1), "retry_count is not a whole number"),
    "count a truth": (changed(max_retries=True), "max_retries is not a whole number"),
    "error a number": (changed(last_error=1), "last_error is int"),
    "backoff of two": (changed(backoff={"Fixed": {"secs": 1, "nanos": 0}, "Custom": []}), "one key"),
    "backoff unknown": (changed(backoff={"Linear": {"secs": 1, "nanos": 0}}), "not one of"),
    "backoff without secs": (changed(backoff={"Fixed": {"nanos": 0}}), "lacks secs"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_message_that_is_no_job_is_set_aside_with_its_reason_and_as_it_came(
    deployment: Deployment, name: str
) -> None:
    body, reason = BAD[name]

    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            await rust.push(channel, deployment.name, body)
            last = await queue.add("work", 1)

            async def work(_: object) -> None: ...

            async with serving(queue, work=work) as worker:
                await ended(queue, last)
                letter = await dead_letter(deployment, channel)
            assert letter.body == body
            assert reason in str(letter.headers["x-tq-reason"])
            assert worker.get_metrics().set_aside == 1

    asyncio.run(scene())


async def dead_letter(
    deployment: Deployment, channel: aio_pika.abc.AbstractChannel
) -> aio_pika.abc.AbstractIncomingMessage:
    dead = await channel.declare_queue(f"{deployment.name}.tq.dead", durable=True)

    async def read() -> aio_pika.abc.AbstractIncomingMessage | None:
        return await dead.get(fail=False, no_ack=True)

    letter = await until(read)
    assert letter is not None
    return letter


def test_a_job_type_without_a_handler_is_retried_and_then_set_aside(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            job_id = await queue.add("foreign", 1, JobOptions(max_retries=0))

            async def work(_: object) -> None: ...

            async with serving(queue, work=work):
                await ended(queue, job_id, JobStatus.FAILED)
                letter = await dead_letter(deployment, channel)
            assert letter.headers["x-tq-reason"] == "Handler error: no handler for job type 'foreign'"

    asyncio.run(scene())


def test_a_job_whose_record_is_of_another_type_is_set_aside(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            body = changed()
            await redis.lpush(f"job:status:{json.loads(body)['id']}", "what")
            await rust.push(channel, deployment.name, body)
            good = await queue.add("send_email", 1)

            async def send_email(_: object) -> None: ...

            async with serving(queue, send_email=send_email):
                letter = await dead_letter(deployment, channel)
                await ended(queue, good)
            assert "hold something else" in str(letter.headers["x-tq-reason"])

    asyncio.run(scene())


def test_a_message_without_a_record_runs_and_gets_one(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            body = changed()
            job_id = json.loads(body)["id"]
            await rust.push(channel, deployment.name, body)

            async def send_email(_: object) -> None: ...

            async with serving(queue, send_email=send_email):
                await ended(queue, job_id)
            assert await redis.get(f"job:data:{job_id}") == body

    asyncio.run(scene())


@pytest.mark.parametrize("status", ["Completed", "Cancelled"])
def test_a_copy_of_a_job_that_has_ended_is_answered_and_does_not_run(
    deployment: Deployment, status: str
) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            body = changed()
            job_id = json.loads(body)["id"]
            await rust.store_job(redis, body)
            await rust.update_status(redis, job_id, status)
            await rust.push(channel, deployment.name, body)
            seen = Seen()

            async def send_email(data: object) -> None:
                await seen(data)

            async with serving(queue, send_email=send_email) as worker:

                async def answered() -> bool:
                    return worker.get_metrics().duplicates == 1

                await until(answered)
            assert not seen.data
            assert await queue.get_job_status(job_id) is JobStatus(status)

    asyncio.run(scene())


def test_two_copies_of_one_job_complete_it_once(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            body = changed()
            for _ in range(2):
                await rust.push(channel, deployment.name, body)
            seen = Seen()

            async def send_email(data: object) -> None:
                await seen(data)

            async with serving(queue, send_email=send_email) as worker:

                async def both_answered() -> bool:
                    return worker.get_metrics().duplicates == 1

                await until(both_answered)
            assert len(seen.data) == 1
            assert worker.get_metrics().completed == 1

    asyncio.run(scene())


def test_a_job_that_killed_its_workers_three_times_is_set_aside(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (redis, channel):
            job_id = await queue.add("send_email", 1)
            # What a worker that died leaves behind, twice over: its word, a message in hand, a count.
            await rust.update_status(redis, job_id, "Processing")
            await redis.set(f"tq:rustq:crashes:{job_id}", 2)
            main = await rust.declare_main(channel, deployment.name)
            message = await main.get()
            await message.nack(requeue=True)

            async def send_email(_: object) -> None:
                raise AssertionError("it must not run")

            async with serving(queue, send_email=send_email):
                letter = await dead_letter(deployment, channel)
                await ended(queue, job_id, JobStatus.FAILED)
            assert "for the third time" in str(letter.headers["x-tq-reason"])

    asyncio.run(scene())


def test_a_queue_that_somebody_made_with_arguments_is_used_as_it_is(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            await channel.declare_queue(deployment.name, durable=True, arguments={"x-max-priority": 5})
            job_id = await queue.add("work", 1)

            async def work(_: object) -> None: ...

            async with serving(queue, work=work):
                await ended(queue, job_id)

    asyncio.run(scene())


def test_a_delay_queue_that_would_not_delay_is_refused(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            await channel.declare_queue(f"{deployment.name}.tq.delay.7000", durable=True)
            with pytest.raises(BadRequest, match="would not delay"):
                await queue.add("work", 1, JobOptions(delay=7))
            job_id = str(uuid.uuid4())
            with pytest.raises(BadRequest):
                await queue.add("work", 1, JobOptions(delay=7), job_id=job_id)
            assert await queue.get_job(job_id) is None

    asyncio.run(scene())


def test_jobs_of_a_queue_that_is_deleted_under_its_consumers_run_all_the_same(deployment: Deployment) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue, deployment.stores() as (_, channel):
            go, started = asyncio.Event(), Seen()

            async def work(data: object) -> None:
                await started(data)
                await go.wait()

            ids = await queue.add_many("work", range(6))
            from tq.client.rustq import WorkerOptions

            async with serving(queue, WorkerOptions(concurrency=1), work=work):
                await started.count(1)
                await channel.queue_delete(deployment.name)
                go.set()
                for job_id in ids:
                    await ended(queue, job_id)
            assert sorted(started.data) == list(range(6))  # type: ignore[type-var]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("redis_url", "amqp_url", "text"),
    [
        ("redis://h", "", "needs redis"),
        ("tq://h", "amqp://h", "needs redis"),
        ("tq://h", "tq://other", "different brokers"),
        ("mongo://h", "amqp://h", "no job store for mongo"),
        ("h:6379", "amqp://h", "lacks its scheme"),
        ("redis://h:port", "amqp://h", "Redis address is wrong"),
    ],
)
def test_addresses_that_make_no_sense_are_refused_at_once(redis_url: str, amqp_url: str, text: str) -> None:
    from tq.client.rustq import AsyncQueue

    with pytest.raises(BadRequest, match=text):
        AsyncQueue("mail", redis_url, amqp_url)
