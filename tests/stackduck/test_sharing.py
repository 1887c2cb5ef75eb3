"""Several brokers on one deployment, dead ones, and members that are no jobs."""

from __future__ import annotations

import json

import pytest

from tests.stackduck import rust
from tests.stackduck.serving import Servers, deployed, run, until
from tq.errors import Unsupported
from tq.ids import from_text, new_id
from tq.task import COMPLETED, TaskSpec, TaskView
from tq.verbs import Cancel, GetTask, ListTasks, PauseQueue, Retry, Submit, Submitted, TaskPage, TaskRef


def test_consumer_at_one_broker_gets_what_comes_to_another_and_each_job_once(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            first, second = await here.broker(), await here.broker()
            streams = [first.client.consume("mail"), second.client.consume("mail")]
            ids = [await first.enqueue() for _ in range(20)]
            remote = first.client.consume("other")
            other = await second.enqueue(job_type="other")
            assert (await remote.read()).job.id == other

            async def ended() -> bool:
                rows = await here.sql("SELECT id FROM jobs WHERE status = 'running' AND job_type = 'mail'")
                return len(rows) == len(ids)

            await until(ended)
            assert len({member[:36] for member, _ in await here.running()}) == len(ids) + 1
            for stream in (*streams, remote):
                stream.cancel()

    run(scenario())


def test_wait_at_one_broker_ends_when_the_job_ends_at_another(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            first, second = await here.broker(), await here.broker()
            job_id = await first.enqueue()
            assert await second.dequeued()

            wait = first.ask(GetTask(from_text(job_id), wait_ms=10_000))
            done, view = await second.complete(job_id), await wait
            assert done and isinstance(view, TaskView) and view.state == COMPLETED

    run(scenario())


def test_job_of_a_dead_broker_comes_back_and_the_third_time_is_dead_lettered(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue(payload="[1]")
            for _ in range(3):
                job = await rust.dequeue(here)
                while job is None:
                    job = await rust.dequeue(here)
                # A broker that took it and is no more: its lease stands, and nobody shows himself under its name.
                await here.sql("UPDATE jobs SET status = 'running' WHERE id = $1", job_id)
                await here.redis.hset("tq:stackduck:leases", job_id, "7:1:gone")

                async def back() -> bool:
                    return not await here.running()

                await until(back)
            assert await here.status(job_id) == "failed"
            letter = json.loads(await here.redis.lindex("Stackduck:dlq:mail", 0))
            assert (letter["job_id"], letter["payload"]) == (job_id, [1])
            assert "lost its worker 3 times" in letter["reason"]

    run(scenario())


def test_job_that_a_rust_server_lost_comes_back_after_its_half_hour_as_a_failure(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await rust.enqueue(here, priority=3)
            assert await rust.dequeue(here) is not None
            [(member, _)] = await here.running()
            await here.redis.zadd("Stackduck:running", {member: 1})

            again = await broker.dequeued()
            assert (again.id, again.retry_count) == (job_id, 1)

    run(scenario())


def test_row_that_no_queue_knows_is_put_back_once(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await rust.enqueue(here)
            await here.redis.flushall()

            assert (await broker.dequeued()).id == job_id
            assert await broker.complete(job_id)
            assert await broker.dequeue() is None

    run(scenario())


BAD = {
    "not JSON": b"hello",
    "not text": b"\xff\xfe{",
    "an array": b"[1,2]",
    "without id": b'{"job_type":"mail","payload":1,"status":"Queued"}',
    "without payload": b'{"id":"018f0000-0000-4000-8000-000000000001","job_type":"mail","status":"Queued"}',
    "wrong type": b'{"id":"018f0000-0000-4000-8000-000000000002","job_type":"mail","payload":1,"status":7}',
    "no UUID": b'{"id":"seven","job_type":"mail","payload":1,"status":"Queued"}',
}


def test_member_that_is_no_job_is_set_aside_with_the_reason_and_the_next_one_runs(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            await here.redis.zadd(
                "Stackduck:queue:mail", {member: 1 + n for n, member in enumerate(BAD.values())}
            )
            await here.redis.zadd("Stackduck:running", {b"rubbish": 1, b"\xff": 2})
            job_id = await broker.enqueue(priority=3)

            assert (await broker.dequeued()).id == job_id

            async def all_aside() -> bool:
                return await here.redis.llen("tq:stackduck:aside") == len(BAD) + 2

            await until(all_aside)
            found = [json.loads(entry) for entry in await here.redis.lrange("tq:stackduck:aside", 0, -1)]
            assert all(entry["reason"] and entry["at"] and entry["from"] for entry in found)
            assert "hello" in {entry["member"] for entry in found}
            assert [member[:36] for member, _ in await here.running()] == [job_id]
            assert await here.redis.hkeys("tq:stackduck:leases") == [job_id.encode()]

    run(scenario())


def test_duplicate_member_runs_once(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue()
            [(member, _)] = await here.queue()
            await here.redis.zadd("Stackduck:queue:mail", {member + " ": 5, member + "  ": 6})

            assert (await broker.dequeued()).id == job_id
            assert await broker.dequeue() is None
            assert await broker.complete(job_id)
            await here.redis.zadd("Stackduck:queue:mail", {member: 5})
            assert await broker.dequeue() is None
            assert await here.status(job_id) == "completed"
            reasons = [
                json.loads(each)["reason"] for each in await here.redis.lrange("tq:stackduck:aside", 0, -1)
            ]
            assert sorted(reasons) == [
                "duplicate: the job has ended", "duplicate: the job is running", "duplicate: the job is running",
            ]  # fmt: skip

    run(scenario())


def test_job_without_a_row_gets_one(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            job_id = await broker.enqueue()
            await here.sql("DELETE FROM jobs WHERE id = $1", job_id)

            assert (await broker.dequeued()).id == job_id
            assert await broker.complete(job_id)
            assert await here.status(job_id) == "completed"

    run(scenario())


# ---------------------------------------------------------------- tq's own doors


def test_task_is_submitted_once_cancelled_and_brought_back(servers: Servers) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            spec = TaskSpec(new_id(), "mail", b"\x00\xff", "default")
            first, again = await broker.ask(Submit((spec,))), await broker.ask(Submit((spec,)))
            assert isinstance(first, Submitted) and not first.existing
            assert isinstance(again, Submitted) and again.existing[0].task_id == spec.task_id
            assert len(await here.queue()) == 1

            assert isinstance(await broker.ask(Cancel(spec.task_id)), TaskRef)
            assert await here.queue() == []
            assert await here.status(str(await shown(spec))) == "Cancelled"
            assert isinstance(await broker.ask(Retry(spec.task_id)), TaskRef)
            view = await broker.ask(GetTask(spec.task_id, with_payload=True))
            assert isinstance(view, TaskView) and view.payload == b"\x00\xff"
            page = await broker.ask(ListTasks(limit=1))
            assert isinstance(page, TaskPage) and (page.total, len(page.tasks)) == (1, 1)

    async def shown(spec: TaskSpec) -> object:
        from uuid import UUID

        return UUID(bytes=spec.task_id)

    run(scenario())


@pytest.mark.parametrize(
    "changes",
    [
        {"queue": "other"},
        {"dependencies": (b"1" * 16,)},
        {"unique_key": "k"},
        {"expires_at_ms": 4_000_000_000_000},
        {"metadata": {"a": "b"}},
        {"timeout_ms": 1_000},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_has_no_place_in_the_stores_is_unsupported(servers: Servers, changes: dict[str, object]) -> None:
    async def scenario() -> None:
        async with deployed(servers) as here:
            broker = await here.broker()
            spec = TaskSpec(new_id(), "mail", b"{}")._replace(**changes)

            with pytest.raises(Unsupported):
                await broker.ask(Submit((spec,)))
            with pytest.raises(Unsupported):
                await broker.ask(PauseQueue("stackduck"))
            assert not broker.backend.capabilities.dependencies

    run(scenario())
