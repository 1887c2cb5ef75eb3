"""What PostgreSQL cannot keep: no text of it holds a NUL."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

from tests.stackduck.serving import Servers, deployed, run, until


def test_failure_whose_text_holds_a_nul_is_a_failure_like_any_other(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue(max_retries=0)
            await broker.dequeued()
            assert await broker.fail(job_id, "no\x00good")
            row = await here.row(job_id)
            assert (row["status"], row["error_message"]) == ("failed", "no\ufffdgood")

    run(scenario())


def test_end_that_postgresql_refuses_is_refused_alone(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            refused, fine = await broker.enqueue(), await broker.enqueue()
            assert {(await broker.dequeued()).id for _ in range(2)} == {refused, fine}
            await here.sql(f"ALTER TABLE jobs ADD CHECK (id <> '{refused}' OR status <> 'completed')")
            assert await asyncio.gather(*map(broker.complete, (refused, fine))) == [False, True]
            assert (await here.status(refused), await here.status(fine)) == ("running", "completed")
            assert await broker.fail(refused), "it is still its worker's"

    run(scenario())


def test_job_in_a_queue_that_postgresql_cannot_keep_is_set_aside_and_the_next_one_runs(
    servers: Servers,
) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            for place, payload in enumerate(("bad \x00 bad", "good"), 1):
                job = {
                    "id": str(uuid4()),
                    "job_type": "mail",
                    "payload": {"text": payload},
                    "status": "Queued",
                }
                await here.redis.zadd("Stackduck:queue:mail", {json.dumps(job): place})
            found = await broker.dequeued()
            assert json.loads(found.payload) == {"text": "good"}

            async def is_set_aside() -> bool:
                return bool(await here.redis.llen("tq:stackduck:aside"))

            await until(is_set_aside)
            entry = json.loads((await here.redis.lrange("tq:stackduck:aside", 0, -1))[0])
            assert "PostgreSQL" in entry["reason"] and "bad" in entry["member"]
            assert [member[:36] for member, _ in await here.running()] == [found.id]

    run(scenario())
