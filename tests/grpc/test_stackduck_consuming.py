"""ConsumeJobs: streams of jobs as StackDuck's consumers know them, and what becomes of the jobs of those that leave."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from tests.grpc.serving import WAIT_S, refused, run, serving
from tests.grpc.stackduck_calls import UNKNOWN, complete, dequeue, enqueue, fail, status_of
from tq.ids import from_text, to_text
from tq.proto import taskqueue_pb2 as pb
from tq.task import TaskSpec
from tq.verbs import Submit


def test_consumer_needs_a_job_type() -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(here.client.consume().read())

            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert error.details() == "job_types cannot be empty"

    run(scenario())


def test_consumer_is_told_what_waited_what_is_new_and_what_is_tried_again() -> None:
    async def scenario() -> None:
        async with serving() as here:
            waiting = [await enqueue(here) for _ in range(450)]
            consumer = here.client.consume("mail", "mail", "other")
            first = [await consumer.read() for _ in waiting]
            fresh = await enqueue(here, job_type="other", max_retries=1, delay=1)
            second = await consumer.read()
            assert await fail(here, fresh, "boom")
            await here.pass_time(1_000)
            third = await consumer.read()
            consumer.cancel()

            assert [message.job.id for message in first] == waiting
            assert {message.notification_type for message in first} == {"ExistingJob"}
            assert (second.job.id, second.notification_type) == (fresh, "NewJob")
            assert (third.job.id, third.notification_type) == (fresh, "RetryJob")
            assert (third.job.retry_count, third.job.error_message) == (1, "boom")

    run(scenario())


def test_jobs_that_came_together_wait_for_nothing() -> None:
    async def scenario() -> None:
        async with serving() as here:
            waiting = [await enqueue(here) for _ in range(3)]
            consumer = here.client.consume("mail")
            async with asyncio.timeout(WAIT_S):
                told = [(await consumer.read()).job.id for _ in waiting]
                fresh = await asyncio.gather(*(enqueue(here) for _ in range(3)))
                told_later = [(await consumer.read()).job.id for _ in fresh]
            consumer.cancel()

            assert told == waiting
            assert sorted(told_later) == sorted(fresh)

    run(scenario())


def test_scheduled_job_that_falls_due_is_told_as_a_retried_one() -> None:
    async def scenario() -> None:
        async with serving() as here:
            consumer = here.client.consume("mail")
            await enqueue(here)
            await consumer.read()
            await enqueue(here, scheduled_at="2023-11-14T22:13:30Z")  # ten seconds from now
            for job in (await here.client.ask(pb.ListTasksRequest(status=pb.TASK_STATUS_IN_PROGRESS))).tasks:
                assert await complete(here, job.task_id)
            await here.pass_time(10_000)
            message = await consumer.read()
            consumer.cancel()

            assert message.notification_type == "RetryJob"

    run(scenario())


def test_job_of_a_consumer_that_left_is_still_its_own_within_the_grace() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here)
            consumer = here.client.consume("mail")
            await consumer.read()
            consumer.cancel()
            await here.until(lambda: here.door.lasting_count == 0)

            assert await complete(here, job_id)
            assert await status_of(here, job_id) == "completed"

    run(scenario())


def test_a_consumer_that_left_is_leased_nothing_more_and_the_live_one_hears_of_new_jobs() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await enqueue(here)
            gone = here.client.consume("mail")
            await gone.read()
            await here.until(lambda: here.engine.backend.measures().pending == {"stackduck": 0})
            gone.cancel()
            await here.until(lambda: here.door.lasting_count == 0)
            live = here.client.consume("mail")
            await here.until(lambda: here.door.lasting_count == 1)
            ids = [await enqueue(here) for _ in range(10)]
            heard: dict[str, str] = {}
            while len(heard) < len(ids):
                message = await live.read()
                if message.job.id in ids:
                    heard[message.job.id] = message.notification_type
            live.cancel()

            assert set(heard.values()) == {"NewJob"}
            for job_id in ids:
                assert len((await here.client.status(job_id)).attempts) == 1

    run(scenario())


def test_a_job_that_was_handed_back_unseen_is_told_as_a_new_one() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here)
            worker = await here.client.worker("mail", queues=["stackduck"])
            taken = await worker.delivery()
            consumer = here.client.consume("mail", "other")
            word = "ExistingJob"
            while word == "ExistingJob":
                await enqueue(here, job_type="other")
                word = (await consumer.read()).notification_type
            await worker.send(capacity=0)
            await worker.settle(taken, cause=pb.Settlement.RELEASED)
            message = await consumer.read()
            consumer.cancel()
            worker.call.cancel()

            assert (message.job.id, message.notification_type) == (job_id, "NewJob")

    run(scenario())


def test_job_of_a_consumer_that_died_comes_back() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here)
            consumer = here.client.consume("mail")
            await consumer.read()
            consumer.cancel()
            other = here.client.consume("mail")
            message = await other.read()
            other.cancel()

            assert (message.job.id, message.job.retry_count) == (job_id, 0)

    run(scenario())


def test_jobs_that_a_consumer_did_not_read_go_back_uncharged() -> None:
    async def scenario() -> None:
        async with serving() as here:
            payload = f'"{"x" * 200_000}"'
            ids = {await enqueue(here, payload=payload) for _ in range(20)}
            stuck = here.connect().consume("mail")
            await stuck.read()
            stuck.cancel()
            await here.until(lambda: here.door.lasting_count == 0)
            other = here.client.consume("mail")
            # One was read, and some may be on the wire; both come back when the grace is over.
            seen = {(await other.read()).job.id for _ in ids}
            other.cancel()

            assert seen == ids

    run(scenario())


def test_two_consumers_share_the_jobs() -> None:
    async def scenario() -> None:
        async with serving() as here:
            one, two = here.client.consume("mail"), here.connect().consume("mail")
            await here.until(lambda: here.door.lasting_count == 2)
            ids = {await enqueue(here) for _ in range(20)}
            seen: list[str] = []
            tasks = [asyncio.ensure_future(reader(call, seen)) for call in (one, two)]
            await here.until(lambda: len(seen) == len(ids))
            for task in tasks:
                task.cancel()
            one.cancel()
            two.cancel()

            assert sorted(seen) == sorted(ids)

    run(scenario())


async def reader(call: Any, seen: list[str]) -> None:
    while True:
        seen.append((await call.read()).job.id)


def test_cancelled_job_is_taken_from_its_consumer() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id = await enqueue(here)
            consumer = here.client.consume("mail")
            await consumer.read()
            await here.client.ask(pb.CancelTaskRequest(task_id=job_id, force=True))
            await here.until_settled(job_id)

            assert await complete(here, job_id)
            assert await status_of(here, job_id) == "cancelled"
            consumer.cancel()

    run(scenario())


def test_task_of_another_client_that_is_no_job_is_set_aside() -> None:
    async def scenario() -> None:
        async with serving() as here:
            spec = TaskSpec(from_text(UNKNOWN), "mail", b"\xff", queue="stackduck")
            await here.engine.call(Submit((spec, TaskSpec(bytes(16), "mail", b"[1]", queue="stackduck"))))
            consumer = here.client.consume("mail")
            message = await consumer.read()
            consumer.cancel()

            assert (message.job.id, message.job.payload) == (to_text(bytes(16)), "[1]")
            await here.until_settled(UNKNOWN)
            found = await here.client.status(UNKNOWN)
            assert found.status == pb.TASK_STATUS_DEAD_LETTER
            assert "not JSON" in found.state_reason

    run(scenario())


def test_stopping_broker_ends_consumers_and_hands_their_jobs_back_uncharged() -> None:
    async def scenario() -> None:
        async with serving() as here:
            job_id, dequeued = await enqueue(here), await enqueue(here, job_type="other")
            await dequeue(here, "other")
            consumer = here.client.consume("mail")
            await consumer.read()
            here.door.stop_accepting()
            error = await refused(consumer.read())

            assert error.code() == grpc.StatusCode.UNAVAILABLE
            for each in (job_id, dequeued):
                found = await here.client.status(each)
                assert found.status == pb.TASK_STATUS_PENDING
                assert [attempt.outcome for attempt in found.attempts] == ["released"]

    run(scenario())


def test_trouble_while_looking_for_waiting_jobs_has_stackducks_words() -> None:
    async def scenario() -> None:
        async with serving() as here:
            here.service.drain()
            error = await refused(here.client.consume("mail").read())

            assert error.code() == grpc.StatusCode.INTERNAL
            assert error.details() == "Failed to check existing jobs"

    run(scenario())
