"""StreamTaskUpdates: every change of one task, and an end with its end."""

from __future__ import annotations

from typing import Any

import grpc

from tests.engine.harness import FEED_EVENTS
from tests.grpc.serving import refused, run, serving
from tq.proto import taskqueue_pb2 as pb

ID = "018f0000-0000-7000-8000-000000000001"


async def statuses(call: Any) -> list[str]:
    """The words of the rest of a stream."""
    return [pb.TaskStatus.Name(task.status).removeprefix("TASK_STATUS_").lower() async for task in call]


def test_stream_tells_each_status_and_ends_with_the_result() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit(max_retries=1, retry=pb.RetryPolicy(base_seconds=0, jitter=0))
            call = here.client.updates(task_id)
            seen = [await call.read()]
            worker = await here.client.worker("echo")
            delivery = await worker.delivery()
            seen.append(await call.read())
            await worker.settle(delivery, cause=pb.Settlement.ERROR, error="first")
            delivery = await worker.delivery()
            while seen[-1].status != pb.TASK_STATUS_IN_PROGRESS or not seen[-1].retry_count:
                seen.append(await call.read())
            await worker.settle(delivery, result=b"out")
            seen.append(await call.read())

            assert await call.read() is grpc.aio.EOF
            assert await call.code() == grpc.StatusCode.OK
            words = [task.status for task in seen]
            assert words[:2] == [pb.TASK_STATUS_PENDING, pb.TASK_STATUS_IN_PROGRESS]
            assert words[-2:] == [pb.TASK_STATUS_IN_PROGRESS, pb.TASK_STATUS_COMPLETED]
            assert (seen[-1].result, seen[-1].attempts[0].error) == (b"out", "first")

    run(scenario())


def test_stream_of_a_task_that_has_ended_is_its_end() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            await here.client.ask(pb.CancelTaskRequest(task_id=task_id))

            assert await statuses(here.client.updates(task_id.upper())) == ["cancelled"]

    run(scenario())


def test_stream_of_an_unknown_task_is_not_found() -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(statuses(here.client.updates(ID)))

            assert error.code() == grpc.StatusCode.NOT_FOUND

    run(scenario())


def test_listener_that_leaves_is_forgotten() -> None:
    async def scenario() -> None:
        async with serving() as here:
            call = here.client.updates(await here.client.submit())
            await call.read()
            assert here.engine.feed.has_listeners
            call.cancel()

            await here.until(lambda: not here.engine.feed.has_listeners)
            assert here.door.lasting_count == 0

    run(scenario())


def test_stream_goes_on_after_it_fell_behind_the_feed() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            call = here.client.updates(task_id)
            first = await call.read()
            # More events of this task at once than the feed keeps, before the stream can look at any.
            too_many = ({"task_id": task_id} for _ in range(FEED_EVENTS + 1))
            here.engine.feed.publish(0, "task_update", too_many)
            await here.client.ask(pb.CancelTaskRequest(task_id=task_id))
            last = await call.read()

            assert (first.status, last.status) == (pb.TASK_STATUS_PENDING, pb.TASK_STATUS_CANCELLED)
            assert await call.read() is grpc.aio.EOF

    run(scenario())


def test_stream_ends_when_the_door_closes() -> None:
    async def scenario() -> None:
        async with serving() as here:
            call = here.client.updates(await here.client.submit())
            await call.read()
            await here.door.close(100)

            assert (await refused(call.read())).code() == grpc.StatusCode.UNAVAILABLE

    run(scenario())
