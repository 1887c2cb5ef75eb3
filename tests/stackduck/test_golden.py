"""What is in the stores is what a StackDuck server writes and reads, both ways."""

from __future__ import annotations

import json
import re
import time
import zlib
from typing import Any

import asyncpg

from tests.stackduck import rust
from tests.stackduck.serving import Deployment, Servers, deployed, run, until

KEYS = [
    *(
        "id",
        "job_type",
        "payload",
        "status",
        "priority",
        "retry_count",
        "max_retries",
        "error_message",
        "delay",
    ),
    *("scheduled_at", "started_at", "completed_at", "created_at", "updated_at"),
]
MOMENT = r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z"'


async def cache_of(here: Deployment, job_id: str) -> dict[str, Any]:
    return dict(json.loads(await here.redis.get(f"Stackduck:job:{job_id}")))


def test_queued_job_is_written_as_serde_writes_it(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue(
                payload='{"to": "é\\n", "n": 1e3}', priority=3, max_retries=1, delay=5
            )
            [(member, score)] = await here.queue()

            assert list(json.loads(member)) == KEYS
            fixed = (
                f'{{"id":"{job_id}","job_type":"mail","payload":{{"n":1000.0,"to":"é\\n"}},"status":"Queued",'
                '"priority":3,"retry_count":0,"max_retries":1,"error_message":null,"delay":5,"scheduled_at":null,'
                '"started_at":null,"completed_at":null,'
            )
            times = f'"created_at":{MOMENT},"updated_at":{MOMENT}}}'
            assert re.fullmatch(re.escape(fixed) + times, member), member
            assert 8e8 < score < 1.2e9, "the band of the lowest priority, below any time of this century"
            assert (await here.redis.get(f"Stackduck:job:{job_id}")).decode() == member
            assert 3500 < await here.redis.ttl(f"Stackduck:job:{job_id}") <= 3600

    run(scenario())


def test_rows_and_status_words_are_stackducks(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue(priority=1, max_retries=1, delay=1)
            row = await here.row(job_id)
            assert {key: row[key] for key in ("status", "priority", "delay", "retry_count", "max_retries")} == {
                "status": "Queued", "priority": 1, "delay": 1, "retry_count": 0, "max_retries": 1,
            }  # fmt: skip
            assert (row["error_message"], row["scheduled_at"], row["started_at"]) == (None, None, None)

            before_s = int(time.time())
            assert await broker.dequeue() is not None
            [(member, score)] = await here.running()
            assert member.startswith(f'{job_id}:{{"id":"{job_id}"')
            assert before_s + 1800 <= score <= time.time() + 1800
            assert await here.status(job_id) == "running"

            async def shown_running() -> bool:
                return (await cache_of(here, job_id))["status"] == "Running"

            await until(shown_running)
            assert await broker.fail(job_id)
            assert (await cache_of(here, job_id))["status"] == "Queued"
            assert await here.redis.ttl(f"Stackduck:job:{job_id}") > 3600
            assert (await broker.dequeued()).id == job_id
            assert await broker.fail(job_id, "bust")
            assert await here.status(job_id) == "failed"
            assert (await cache_of(here, job_id))["status"] == "Failed"

    run(scenario())


def test_dead_letter_has_stackducks_keys_in_their_order(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue(payload='"x"', delay=7)
            assert await broker.dequeue() is not None
            assert await broker.fail(job_id, "boom")
            letter = (await here.redis.lindex("Stackduck:dlq:mail", 0)).decode()

            assert list(json.loads(letter)) == sorted(json.loads(letter))
            found = json.loads(letter)
            assert found.pop("failed_at").endswith("+00:00")
            assert found.pop("original_created_at").endswith("+00:00")
            assert found == {
                "delay": 7,
                "job_id": job_id,
                "job_type": "mail",
                "max_retries": 0,
                "payload": "x",
                "reason": "Max retries (0) exceeded with error: boom",
                "retry_count": 0,
            }

    run(scenario())


def test_rust_server_pops_what_tq_queued_in_order_of_priority(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            low, normal, high = [await broker.enqueue(priority=priority) for priority in (3, 2, 1)]
            await broker.enqueue(scheduled_at="2099-01-01T00:00:00Z", priority=1)

            found = [await rust.dequeue(here) for _ in range(4)]

            assert [job and job["id"] for job in found] == [high, normal, low, None]
            [(_, score)] = await here.queue()
            assert score == 4070908800, "a future job stands at its plain second"

    run(scenario())


def test_tq_hands_out_at_once_what_a_rust_server_enqueued_in_order_of_priority(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            ids = [await rust.enqueue(here, priority=priority) for priority in (3, 2, 1)]

            async def rescored() -> bool:
                return all(score < 1.2e9 for _, score in await here.queue())

            await until(rescored)
            assert [(await broker.dequeued()).id for _ in range(3)] == ids[::-1]
            for job_id in ids:
                assert await broker.complete(job_id)
                assert await here.status(job_id) == "completed"

    run(scenario())


def test_scheduled_rust_job_keeps_its_time(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            await rust.enqueue(here, priority=1, scheduled_at="2099-01-01T00:00:00Z")
            due = await rust.enqueue(here, priority=3, scheduled_at=rust.ago(hours=2))

            assert (await broker.dequeued()).id == due
            assert await broker.dequeue() is None

    run(scenario())


def test_job_that_a_rust_server_handed_out_is_completed_here(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue()
            assert await rust.dequeue(here) is not None

            assert await broker.complete(job_id)
            assert (await here.status(job_id), await here.running()) == ("completed", [])

    run(scenario())


def test_migration_ledger_is_what_sqlx_expects(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            await here.broker()
            await here.broker()
            rows = await here.sql("SELECT * FROM _sqlx_migrations ORDER BY version")

            assert [(row["version"], row["description"], row["success"]) for row in rows] == [
                (20250723223839, "create jobs table", True),
                (20250803185302, "add error message column", True),
            ]
            assert [row["checksum"].hex()[:16] for row in rows] == ["de90ac5da5b551a1", "605e50c0c0acb3a6"]

    run(scenario())


def test_schema_waits_for_the_lock_that_sqlx_takes(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            connection = await asyncpg.connect(here.database_url)
            database = here.database_url.rpartition("/")[2]
            await connection.execute(
                "SELECT pg_advisory_lock($1)", 0x3D32AD9E * zlib.crc32(database.encode())
            )
            broker = await here.broker()
            assert await connection.fetchval("SELECT to_regclass('jobs')") is None
            await connection.close()

            async def made() -> bool:
                return bool(
                    await here.sql("SELECT to_regclass('jobs') AS t WHERE to_regclass('jobs') IS NOT NULL")
                )

            await until(made)
            assert broker.defects == []

    run(scenario())
