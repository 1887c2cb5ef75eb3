"""StackDuck's unary calls, as its clients know them, on the native backend."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.grpc.serving import refused, run, serving
from tests.grpc.stackduck_calls import NOW_S, UNKNOWN, complete, dequeue, enqueue, fail, retry, status_of
from tq.broker.admission import Limits
from tq.proto import stackduck_pb2 as duck

# ---------------------------------------------------------------- enqueue

CLAMPED = [
    ({}, {"priority": 2, "max_retries": 0, "delay": 30}),
    ({"priority": 1, "max_retries": 3, "delay": 3_600}, {"priority": 1, "max_retries": 3, "delay": 3_600}),
    ({"priority": 3, "max_retries": 1, "delay": 1}, {"priority": 3, "max_retries": 1, "delay": 1}),
    ({"priority": 4, "max_retries": 4, "delay": 3_601}, {"priority": 2, "max_retries": 2, "delay": 30}),
    ({"priority": -1, "max_retries": -1, "delay": -1}, {"priority": 2, "max_retries": 2, "delay": 30}),
]


@pytest.mark.parametrize(("sent", "shown"), CLAMPED, ids=["unset", "highest", "lowest", "above", "below"])
def test_numbers_out_of_range_are_silently_replaced(sent: dict[str, int], shown: dict[str, int]) -> None:
    async def scenario() -> None:
        async with serving() as here:
            await enqueue(here, **sent)
            job = await dequeue(here)

            assert job is not None
            assert {name: getattr(job, name) for name in shown} == shown

    run(scenario())


def test_job_is_shown_as_it_was_queued() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here, payload='{"to": "x", "at": 1.0}', priority=1)
            here.engine.clock.advance(5_000)
            job = await dequeue(here)

            assert job == duck.GrpcJob(
                id=job_id,
                job_type="mail",
                payload='{"at":1.0,"to":"x"}',
                status="Queued",
                priority=1,
                delay=30,
                created_at=NOW_S,
                updated_at=NOW_S,
            )
            assert job_id[14] == "4", "StackDuck's ids are random UUIDs"

    run(scenario())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"payload": ""}, "Invalid JSON payload: "),
        ({"payload": "{", "scheduled_at": "x"}, "Invalid JSON payload: "),
        ({"scheduled_at": "2026-01-01"}, "Invalid scheduled_at format: "),
    ],
    ids=["payload", "payload-first", "time"],
)
def test_wrong_payload_or_time_is_an_invalid_argument(fields: dict[str, str], text: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(enqueue(here, **fields))

            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert str(error.details()).startswith(text)

    run(scenario())


def test_other_failures_are_ok_without_success() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(queue_depth_max=1)) as here:
            long = await here.client.duck(duck.EnqueueJobRequest(job_type="a" * 256, payload="1"))
            await enqueue(here)
            full = await here.client.duck(duck.EnqueueJobRequest(job_type="a", payload="1"))

            for answer in (long, full):
                assert (answer.job_id, answer.success) == ("", False)
                assert answer.error_message.startswith("Job Error: Failed to insert job into Postgres: ")

    run(scenario())


@pytest.mark.parametrize("job_type", ["", "a b", "50%", "a\nb", "é"])
def test_any_text_is_a_job_type(job_type: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here, job_type=job_type)
            job = await dequeue(here, job_type)

            assert job is not None
            assert (job.id, job.job_type) == (job_id, job_type)

    run(scenario())


def test_blank_time_is_now_and_a_past_one_is_due() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await enqueue(here, scheduled_at="  ")
            await enqueue(here, scheduled_at="1960-01-01T00:00:00Z")

            assert await dequeue(here)
            assert await dequeue(here)

    run(scenario())


# ---------------------------------------------------------------- order and time


def test_priority_1_comes_before_2_before_3_at_once_and_first_in_first_out() -> None:
    async def scenario() -> None:
        async with serving() as here:
            ids = {
                (priority, number): await enqueue(here, priority=priority)
                for number in range(2)
                for priority in (3, 2, 1)
            }
            taken = [job.id for _ in ids if (job := await dequeue(here))]

            assert taken == [ids[place] for place in sorted(ids)]

    run(scenario())


def test_scheduled_job_is_not_handed_out_before_its_time() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here, scheduled_at="2023-11-14T22:14:20Z")  # a minute from now
            early = await dequeue(here)
            await here.pass_time(60_000)
            consumer = here.client.consume("mail")
            message = await consumer.read()
            consumer.cancel()

            assert early is None
            assert (message.job.id, message.job.scheduled_at) == (job_id, NOW_S + 60)

    run(scenario())


def test_queue_without_a_due_job_is_success_without_a_job() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await enqueue(here, job_type="other")

            assert await dequeue(here) is None

    run(scenario())


# ---------------------------------------------------------------- endings


def test_completed_job_is_done_and_completing_again_is_a_yes() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here)
            await dequeue(here)

            assert [await complete(here, job_id), await complete(here, job_id.upper())] == [True, True]
            assert await status_of(here, job_id) == "completed"

    run(scenario())


@pytest.mark.parametrize("call", [complete, fail, retry], ids=["complete", "fail", "retry"])
@pytest.mark.parametrize("job_id", ["", "no uuid", UNKNOWN])
def test_job_that_does_not_exist_is_no_success(call: Any, job_id: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            assert await call(here, job_id) is False

    run(scenario())


def test_failed_job_runs_again_after_its_delay_until_its_retries_are_used_up() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here, max_retries=2, delay=10)
            seen = []
            for delay_s in (10, 20):
                job = await dequeue(here)
                assert job is not None
                seen.append((job.retry_count, job.error_message, job.scheduled_at))
                assert await fail(here, job_id, f"after {delay_s}")
                await here.pass_time(delay_s * 1000 - 1)
                assert await dequeue(here) is None
                await here.pass_time(1)
                await here.until_due(job_id)
            job = await dequeue(here)
            assert job is not None
            seen.append((job.retry_count, job.error_message, job.scheduled_at))
            assert await fail(here, job_id)

            assert seen == [(0, "", 0), (1, "after 10", NOW_S + 10), (2, "after 20", NOW_S + 30)]
            assert await status_of(here, job_id) == "dead_letter"

    run(scenario())


def test_no_retries_means_none() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here, max_retries=0)
            await dequeue(here)

            assert await fail(here, job_id)
            assert await status_of(here, job_id) == "dead_letter"

    run(scenario())


def test_retry_goes_past_the_retries_and_brings_back_the_dead() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here, max_retries=0, delay=10)
            await dequeue(here)
            assert await retry(here, job_id)
            waiting = await status_of(here, job_id)
            await here.pass_time(10_000)
            await here.until_due(job_id)
            assert await dequeue(here)
            assert await fail(here, job_id)
            dead = await status_of(here, job_id)
            assert await retry(here, job_id)

            assert (waiting, dead, await status_of(here, job_id)) == ("scheduled", "dead_letter", "pending")
            assert await dequeue(here)
            assert await complete(here, job_id)
            assert not await retry(here, job_id)

    run(scenario())


def test_job_that_waits_again_is_cancelled_when_its_worker_says_it_is_done() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here)

            assert await fail(here, job_id), "it waits to run, which is all that failing could lead to"
            assert await status_of(here, job_id) == "pending"
            assert await complete(here, job_id)
            assert await status_of(here, job_id) == "cancelled"

    run(scenario())


def test_dequeued_job_goes_back_after_half_an_hour_as_one_that_ran_out_of_time() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here, max_retries=1)
            await dequeue(here)
            await here.pass_time(1_806_000)
            await here.until_settled(job_id)
            await here.pass_time(30_000)
            await here.until_due(job_id)
            job = await dequeue(here)

            assert job is not None
            assert (job.id, job.retry_count) == (job_id, 1)
            assert await complete(here, job_id)
            assert await status_of(here, job_id) == "completed"

    run(scenario())


def test_dequeue_retried_job_says_whether_there_was_one() -> None:
    async def scenario() -> None:
        async with serving() as here:
            with_job = await here.client.duck(duck.DequeueRetriedJobRequest(job=duck.GrpcJob(id="x")))
            without = await here.client.duck(duck.DequeueRetriedJobRequest())

            assert (with_job.success, without.success) == (True, False)

    run(scenario())
