"""`tq-admin rustq adopt`: a deployment's jobs become the broker's, once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

from tests.admin.running import Admin
from tests.rustq import rust
from tests.rustq.places import Deployment, Place, Seen, ended, serving
from tq.client.rustq import BackoffStrategy, JobOptions, JobStatus


def adopt(deployment: Deployment, broker: str, *options: str) -> Any:
    return Admin(broker).document(
        *("rustq", "adopt", deployment.name, "--types", deployment.name, *options),
        *("--redis-url", deployment.redis_url, "--amqp-url", deployment.amqp_url),
    )


def body_of(deployment: Deployment, **changes: object) -> bytes:
    """A document of Rust's of a type of this test's own, as documents do not name their queue."""
    document = json.loads(rust.PRODUCED) | {"id": str(uuid.uuid4()), "job_type": deployment.name} | changes
    return json.dumps(document, separators=(",", ":")).encode()


async def fill(deployment: Deployment) -> dict[str, str]:
    """A deployment with something of everything. name -> job id."""
    ids: dict[str, str] = {}
    now_s = int(time.time())
    jobs: dict[str, dict[str, Any]] = {
        "ready": {},
        "retrying": {
            "retry_count": 1,
            "updated_at": now_s,
            "backoff": {"Fixed": {"secs": 3600, "nanos": 0}},
        },
        "failed": {"retry_count": 3, "last_error": "Handler error: no"},
        "completed": {"created_at": now_s - 50, "updated_at": now_s - 20, "retry_count": 2},
        "cancelled": {},
        "acked late": {},
        "processing": {},
    }
    async with deployment.queue() as queue, deployment.stores() as (redis, channel):
        for name, changes in jobs.items():
            body = body_of(deployment, **changes)
            ids[name] = json.loads(body)["id"]
            await rust.store_job(redis, body)
            if name in ("ready", "acked late"):
                await rust.push(channel, deployment.name, body)
        await rust.update_status(redis, ids["failed"], "Failed")
        await rust.update_status(redis, ids["completed"], "Completed")
        await rust.update_status(redis, ids["acked late"], "Completed")
        await rust.update_status(redis, ids["cancelled"], "Cancelled")
        await rust.update_status(redis, ids["processing"], "Processing")
        await rust.push(channel, deployment.name, b"no job")
        ids["added"] = await queue.add(
            deployment.name, {"n": 1}, JobOptions(priority="high", max_retries=7, timeout=9)
        )
        ids["late"] = await queue.add(
            deployment.name, {"n": 2}, JobOptions(delay="1h", backoff=BackoffStrategy.fixed(9))
        )
    return ids


def test_a_dry_run_counts_and_changes_nothing_and_the_run_moves_everything_once(
    deployment: Deployment, broker: str
) -> None:
    ids = asyncio.run(fill(deployment))
    moved = {
        "messages": 4, "moved": 8, "already_there": 0, "waiting": 2, "failed": 1, "completed": 2, "cancelled": 1,
        "ended_messages": 1, "unreadable": 1, "processing_left": 1, "broken_left": 0,
    }  # fmt: skip

    counted = adopt(deployment, broker, "--dry-run")
    assert {name: counted[name] for name in moved} == moved
    assert counted["dry_run"] is True

    first = adopt(deployment, broker)
    assert {name: first[name] for name in moved} == moved
    second = adopt(deployment, broker)
    assert (second["moved"], second["messages"], second["unreadable"]) == (0, 1, 1)
    kept = Admin(broker).document("status", ids["completed"])
    assert (kept["status"], kept["retry_count"]) == ("completed", 2)
    assert kept["created_at"] < kept["ended_at"]
    assert Admin(broker).document("status", ids["failed"])["status"] == "dead_letter"
    asyncio.run(look(Place(deployment.name, f"tq://{broker}", ""), deployment, ids))


async def look(place: Place, deployment: Deployment, ids: dict[str, str]) -> None:
    """The same queue, its URL changed."""
    async with place.queue() as queue:
        statuses = {name: await queue.get_job_status(job_id) for name, job_id in ids.items()}
        assert statuses == {
            "ready": JobStatus.PENDING,
            "retrying": JobStatus.PENDING,
            "failed": JobStatus.FAILED,
            "completed": JobStatus.COMPLETED,
            "cancelled": JobStatus.CANCELLED,
            "acked late": JobStatus.COMPLETED,
            "processing": None,
            "added": JobStatus.PENDING,
            "late": JobStatus.PENDING,
        }
        failed = await queue.get_job(ids["failed"])
        assert failed is not None and failed.last_error == "Handler error: no"
        added = await queue.get_job(ids["added"])
        assert added is not None
        assert (added.max_retries, added.additions.priority, added.additions.timeout_ms) == (7, 200, 9_000)
        seen = Seen()

        async def work(data: object) -> None:
            await seen(data)

        async with serving(queue, **{deployment.name: work}):  # type: ignore[arg-type]
            await ended(queue, ids["ready"])
            await ended(queue, ids["added"])
        assert len(seen.data) == 2
        assert await queue.get_job_status(ids["late"]) is JobStatus.PENDING
        assert await queue.get_job_status(ids["retrying"]) is JobStatus.PENDING


def test_a_queue_with_workers_is_left_alone_unless_asked_twice(deployment: Deployment, broker: str) -> None:
    async def scene() -> None:
        async with deployment.queue() as queue:
            last = await queue.add("work", 1)

            async def work(_: object) -> None: ...

            async with serving(queue, work=work):
                await ended(queue, last)
                done = await asyncio.to_thread(
                    Admin(broker).run,
                    *("rustq", "adopt", deployment.name),
                    *("--redis-url", deployment.redis_url, "--amqp-url", deployment.amqp_url),
                )
            assert done.exit_code == 1
            assert "consumers are connected" in done.errors

    asyncio.run(scene())


def test_stores_that_cannot_be_reached_end_it_with_exit_code_3(deployment: Deployment, broker: str) -> None:
    done = Admin(broker).run(
        *("rustq", "adopt", deployment.name, "--redis-url", "redis://127.0.0.1:1"),
        *("--amqp-url", deployment.amqp_url),
    )
    assert done.exit_code == 3
    assert "Redis cannot be reached" in done.errors
