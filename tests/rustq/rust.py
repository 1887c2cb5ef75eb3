"""The other side: what rustq's Rust programs put on the wire and do with it, written from its contract alone.

Nothing here imports tq. The bytes are a transcript of what serde writes; the steps are those of its producer and its
worker, with aio-pika and redis standing in for lapin and redis-rs.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import aio_pika
from redis.asyncio import Redis

KEYS = (
    "id", "job_type", "payload", "status", "created_at", "updated_at",
    "retry_count", "max_retries", "last_error", "backoff",
)  # fmt: skip

PRODUCED = (
    b'{"id":"0b0e7f5c-6c55-4b43-9f0c-2f1a3c7f9d11","job_type":"send_email",'
    b'"payload":[123,34,116,111,34,58,34,97,64,98,46,99,34,44,34,110,34,58,55,125],'
    b'"status":"Pending","created_at":1735689600,"updated_at":1735689600,"retry_count":0,"max_retries":3,'
    b'"last_error":null,"backoff":{"Exponential":{"secs":1,"nanos":0}}}'
)
"""A job as a Rust producer publishes and stores it; its data is {"to":"a@b.c","n":7}."""
RETRIED = (
    b'{"id":"0b0e7f5c-6c55-4b43-9f0c-2f1a3c7f9d11","job_type":"send_email",'
    b'"payload":[123,34,116,111,34,58,34,97,64,98,46,99,34,44,34,110,34,58,55,125],'
    b'"status":"Pending","created_at":1735689600,"updated_at":1735689607,"retry_count":1,"max_retries":3,'
    b'"last_error":"Handler error: SMTP said \\"no\\"","backoff":{"Exponential":{"secs":1,"nanos":0}}}'
)
"""The same after its first failure, as a Rust worker publishes it into the retry queue."""
DATA = {"to": "a@b.c", "n": 7}


class RustJob(NamedTuple):
    """What a Rust worker understands of a body. It takes what serde takes and nothing else."""

    id: str
    job_type: str
    payload: bytes
    status: str
    created_at: int
    updated_at: int
    retry_count: int
    max_retries: int
    last_error: str | None
    backoff: dict[str, Any]


def read(body: bytes | str | None) -> RustJob:
    """Raises on what serde would refuse: missing keys, wrong types, numbers that are no bytes."""
    assert isinstance(body, bytes)
    value = json.loads(body)
    value.setdefault("last_error", None)
    assert type(value["payload"]) is list and all(
        type(each) is int and 0 <= each < 256 for each in value["payload"]
    )
    assert value["status"] in ("Pending", "Processing", "Completed", "Failed", "Cancelled")
    for key in ("created_at", "updated_at", "retry_count", "max_retries"):
        assert type(value[key]) is int, key
    ((tag, content),) = value["backoff"].items()
    assert tag in ("Fixed", "Exponential", "Custom")
    for each in content if tag == "Custom" else [content]:
        assert type(each["secs"]) is int and 0 <= each["nanos"] < 1_000_000_000
    return RustJob(**{key: value[key] for key in KEYS} | {"payload": bytes(value["payload"])})


async def declare_main(channel: aio_pika.abc.AbstractChannel, queue: str) -> aio_pika.abc.AbstractQueue:
    """Durable, no arguments; done on every push and on consume."""
    return await channel.declare_queue(queue, durable=True)


async def push(channel: aio_pika.abc.AbstractChannel, queue: str, body: bytes) -> None:
    """To the default exchange, with default properties: transient, no content type, not mandatory."""
    await declare_main(channel, queue)
    await channel.default_exchange.publish(aio_pika.Message(body), queue, mandatory=False)


async def push_retry(
    channel: aio_pika.abc.AbstractChannel, queue: str, body: bytes, *, job_type: str, delay_ms: int
) -> None:
    arguments = {
        "x-message-ttl": delay_ms,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
    }
    await channel.declare_queue(f"{job_type}_retry_{delay_ms}", durable=True, arguments=arguments)  # type: ignore[arg-type]
    await channel.default_exchange.publish(
        aio_pika.Message(body), f"{job_type}_retry_{delay_ms}", mandatory=False
    )


async def store_job(redis: Redis, body: bytes) -> None:
    job = read(body)
    await redis.set(f"job:data:{job.id}", body)
    await redis.set(f"job:status:{job.id}", "Pending")
    await redis.sadd("jobs:Pending", job.id)
    await redis.zadd("jobs:by_created", {job.id: job.created_at})
    await redis.sadd("job:types", job.job_type)


async def update_status(redis: Redis, job_id: str, status: str) -> None:
    old = await redis.get(f"job:status:{job_id}")
    await redis.set(f"job:status:{job_id}", status)
    before = old.decode() if isinstance(old, bytes) else None
    if before is not None and before != status:
        await redis.sadd(f"jobs:{status}", job_id)
        await redis.srem(f"jobs:{before}", job_id)


async def work_off(
    redis: Redis, channel: aio_pika.abc.AbstractChannel, queue: str, *, fails: bool = False
) -> RustJob:
    """A Rust worker's way with one delivery; fails: its handler returns an error, and a retry is left."""
    main = await declare_main(channel, queue)
    message = await main.get(timeout=10)
    job = read(message.body)
    await update_status(redis, job.id, "Processing")
    if not fails:
        await update_status(redis, job.id, "Completed")
        await message.ack()
        return job
    again = job._replace(
        retry_count=job.retry_count + 1, last_error="Handler error: no", updated_at=job.updated_at + 1
    )
    body = json.dumps(again._asdict() | {"payload": list(again.payload)}, separators=(",", ":")).encode()
    await store_job(redis, body)
    delay_ms = 50
    await push_retry(channel, queue, body, job_type=job.job_type, delay_ms=delay_ms)
    await message.ack()
    return again
