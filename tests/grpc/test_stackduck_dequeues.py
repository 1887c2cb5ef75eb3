"""DequeueJob for many job types: over few sessions, with any number of jobs out, and nothing left of callers that went."""

from __future__ import annotations

import asyncio

import pytest

from tests.grpc.serving import WAIT_S, Serving, run, serving
from tests.grpc.stackduck_calls import complete, dequeue, enqueue, status_of
from tq.broker.api.stackduck import dequeues
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import Register


async def workers(here: Serving) -> int:
    return int((await here.client.ask(pb.GetStatsRequest())).worker_count)


async def until_workers(here: Serving, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while await workers(here) > count:
            continue


def test_dequeues_of_many_types_do_not_look_like_many_workers() -> None:
    async def scenario() -> None:
        async with serving() as here:
            for number in range(100):
                assert await dequeue(here, f"t{number}") is None

            assert await workers(here) <= 32

    run(scenario())


def test_a_session_that_holds_nothing_is_closed_when_nobody_uses_it() -> None:
    async def scenario() -> None:
        async with serving(idle_s=0.02) as here:
            job_id = await enqueue(here, job_type="held")
            assert await dequeue(here, "held")
            assert await dequeue(here, "empty") is None
            assert here.observer.requests[Register] == 2
            await until_workers(here, 1)

            assert await status_of(here, job_id) == "in_progress"
            assert await complete(here, job_id)
            assert await status_of(here, job_id) == "completed"
            await until_workers(here, 0)
            assert await dequeue(here, "empty") is None, "and it is opened again"

    run(scenario())


def test_jobs_of_any_number_of_types_can_be_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dequeues, "COUNTERS_MAX", 2)

    async def scenario() -> None:
        async with serving() as here:
            types = [f"t{number}" for number in range(7)]
            ids = [await enqueue(here, job_type=each) for each in types]
            taken = [await dequeue(here, each) for each in types]
            assert [job and job.id for job in taken] == ids
            assert await workers(here) == 2
            assert [await dequeue(here, each) for each in types] == [None] * len(types)

            for job_id in ids:
                assert await complete(here, job_id)
                found = await here.client.status(job_id)
                assert found.status == pb.TASK_STATUS_COMPLETED
                assert len(found.attempts) == 1, "changing a session's type took nothing from anybody"

    run(scenario())


def test_dequeues_at_the_same_time_each_get_their_own_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dequeues, "COUNTERS_MAX", 3)

    async def scenario() -> None:
        async with serving() as here:
            types = [f"t{number % 10}" for number in range(40)]
            ids = {await enqueue(here, job_type=each) for each in types}
            jobs = await asyncio.gather(*(dequeue(here, each) for each in types))

            assert {job.id for job in jobs if job} == ids
            assert [job.job_type for job in jobs if job] == types
            assert await workers(here) == 3

    run(scenario())


def test_a_type_that_no_job_can_have_is_refused_and_opens_nothing() -> None:
    async def scenario() -> None:
        async with serving() as here:
            with pytest.raises(AssertionError, match="1 to 255 characters"):
                await dequeue(here, "x" * 256)

            assert await workers(here) == 0
            assert await dequeue(here) is None

    run(scenario())
