"""`tq-admin stackduck adopt` and `check`, as people run them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.processes import broker_address, program, start_broker
from tests.stackduck import rust
from tests.stackduck.serving import Deployment, Servers, deployed, run, until
from tq.client.aio import AsyncClient


async def admin(here: Deployment, address: str, *arguments: str, code: int = 0) -> Any:
    stores = ("--redis-url", here.servers.redis.url, "--database-url", here.database_url)
    stores = stores if arguments[0] == "stackduck" else ()
    command = [program("tq-admin"), "--broker-addr", address, "--format", "json", *arguments, *stores]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=PROGRAMS_S, check=False
    )
    assert done.returncode == code, done
    return json.loads(done.stdout)


async def deployment_of_every_kind(here: Deployment) -> dict[str, str]:
    """One job of each kind; ids by kind."""
    broker = await here.broker()
    ids = {"completed": await broker.enqueue(), "dead": await broker.enqueue(priority=2)}
    assert await broker.complete((await broker.dequeued()).id)
    assert await broker.fail((await broker.dequeued()).id, "it broke")
    await broker.stop()
    here.brokers.clear()
    ids["running"] = await rust.enqueue(here, "slow", priority=3)
    assert await rust.dequeue(here, "slow") is not None
    ids["queued"] = await rust.enqueue(here, priority=1)
    ids["scheduled"] = await rust.enqueue(here, scheduled_at="2099-01-01T00:00:00Z")
    ids["orphan"] = await rust.enqueue(here, "lost")
    await here.redis.delete("Stackduck:queue:lost")
    ids["redis_only"] = await rust.enqueue(here, "norow")
    await here.sql("DELETE FROM jobs WHERE id = $1", ids["redis_only"])
    await here.redis.zadd("Stackduck:queue:mail", {b"\xffno job": 5})
    return ids


PROGRAMS_S = 280.0
"""Several programs start one after the other."""
COUNTS = {
    "queue": 2, "running": 1, "orphan_rows": 1, "redis_only": 1, "dead_letters": 1, "history": 1, "unreadable": 1,
}  # fmt: skip


def test_deployment_is_adopted_once_with_every_count(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            ids = await deployment_of_every_kind(here)
            before = (await here.queue(), await here.running())
            with start_broker(tmp_path) as native:
                address = await asyncio.to_thread(broker_address, native)
                dry = await admin(here, address, "stackduck", "adopt", "--dry-run")
                assert dry == {"dry_run": True, **COUNTS, "moved": 0, "already_there": 0}
                first = await admin(here, address, "stackduck", "adopt")
                assert first == {"dry_run": False, **COUNTS, "moved": 7, "already_there": 0}
                again = await admin(here, address, "stackduck", "adopt")
                assert again == {"dry_run": False, **COUNTS, "moved": 0, "already_there": 7}
                assert (await here.queue(), await here.running()) == before, (
                    "the stores are left as they were"
                )

                async with AsyncClient(address) as client:
                    await looks_as_it_did(here, client, ids)
                    assert await client.retry_task(ids["dead"]) == "pending"

    run(scenario(), PROGRAMS_S)


async def looks_as_it_did(here: Deployment, client: AsyncClient, ids: dict[str, str]) -> None:
    by_id = {task.task_id: task.status for task in (await client.list_tasks(limit=50)).tasks}
    assert {name: by_id[each] for name, each in ids.items()} == {
        "completed": "completed", "dead": "dead_letter", "running": "pending", "queued": "pending",
        "scheduled": "scheduled", "orphan": "pending", "redis_only": "pending",
    }  # fmt: skip
    dead = (await client.get_task(ids["dead"])).view
    assert (dead.error, dead.retry_count, len(dead.attempts)) == ("it broke", 0, 1)
    done = (await client.get_task(ids["completed"])).view
    [row] = await here.sql("SELECT created_at, completed_at FROM jobs WHERE id = $1", ids["completed"])
    for found_ms, when in ((done.created_ms, row["created_at"]), (done.ended_ms, row["completed_at"])):
        assert abs(found_ms - when.timestamp() * 1000) <= 1


HISTORY = 450
"""More than two batches."""


def test_adoption_that_is_killed_half_way_goes_on_and_keeps_every_job_as_it_ended(
    servers: Servers, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            await (await here.broker()).stop()  # has made the tables
            here.brokers.clear()
            await here.sql(
                "INSERT INTO jobs (job_type, payload, status, retry_count, max_retries, error_message, completed_at)"
                " SELECT 'mail', '{}', CASE WHEN n % 3 = 0 THEN 'failed' ELSE 'completed' END, n % 2, 3, 'no', NOW()"
                f" FROM generate_series(1, {HISTORY}) AS n"
            )
            with start_broker(tmp_path) as native:
                address = await asyncio.to_thread(broker_address, native)
                stores = ("--redis-url", here.servers.redis.url, "--database-url", here.database_url)
                command = (program("tq-admin"), "--broker-addr", address, "stackduck", "adopt", *stores)
                async with AsyncClient(address) as client:

                    async def ended() -> int:
                        stats = await client.stats()
                        return stats.completed_count + stats.dead_letter_count

                    half = await asyncio.create_subprocess_exec(
                        *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                    )
                    await until(ended)
                    with suppress(ProcessLookupError):
                        half.kill()
                    await half.wait()

                    again = await admin(here, address, "stackduck", "adopt")
                    assert again["moved"] + again["already_there"] == HISTORY
                    assert await ended() == HISTORY
                    assert (await client.stats()).dead_letter_count == HISTORY // 3

    run(scenario(), PROGRAMS_S)


def test_check_names_what_one_store_has_and_the_other_has_not(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            ids = await deployment_of_every_kind(here)

            found = await admin(here, "127.0.0.1:1", "stackduck", "check", code=1)
            assert found["findings"] == {
                "rows_in_no_queue": [ids["orphan"]],
                "jobs_without_a_row": [ids["redis_only"]],
                "ended_but_in_redis": [],
                "more_than_once": [],
            }
            assert found["unreadable"] == 1

            broker = await here.broker()

            async def put_right() -> bool:
                return len(await here.queue("lost")) == 1

            await until(put_right)
            assert (await broker.dequeued()).id == ids["queued"]
            assert (await broker.dequeued("norow")).id == ids["redis_only"]
            found = await admin(here, "127.0.0.1:1", "stackduck", "check")
            assert not any(found["findings"].values())

    run(scenario(), PROGRAMS_S)
