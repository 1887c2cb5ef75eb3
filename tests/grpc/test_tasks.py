"""The calls of clients: what is sent comes back as it was meant, in the words of the .proto file."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.grpc.serving import WAIT_S, refused, run, serving, trailing
from tq.broker.admission import Limits
from tq.proto import taskqueue_pb2 as pb

ID = "018f0000-0000-7000-8000-000000000001"


def test_every_field_of_a_task_comes_back_as_it_was_sent() -> None:
    async def scenario() -> None:
        async with serving() as here:
            first = await here.client.submit(task_id=ID)
            sent = pb.TaskSpec(
                task_type="mail",
                queue="slow",
                payload=b"\x00\xff",
                priority=7,
                schedule_at=Timestamp(seconds=1_900_000_000, nanos=5_000_000),
                timeout_seconds=1.5,
                max_retries=9,
                retry=pb.RetryPolicy(strategy=pb.RetryPolicy.LINEAR, base_seconds=0.25, jitter=0),
                dependencies=[first],
                expires_at=Timestamp(seconds=2_000_000_000),
                unique_key="once",
                unique_ttl_seconds=60,
                metadata={"trace": "1"},
            )
            answer = await here.client.ask(pb.SubmitTaskRequest(task=sent))
            found = await here.client.status(answer.task_id, with_payload=True)

            assert answer.status == found.status == pb.TASK_STATUS_BLOCKED
            assert not answer.existed
            assert answer.created_at == found.created_at
            same = (
                "task_type",
                "queue",
                "payload",
                "priority",
                "schedule_at",
                "timeout_seconds",
                "max_retries",
            )
            for name in (*same, "dependencies", "expires_at", "unique_key", "metadata"):
                assert getattr(found, name) == getattr(sent, name), name
            assert found.retry.strategy == pb.RetryPolicy.LINEAR
            assert (found.retry.base_seconds, found.retry.factor, found.retry.jitter) == (0.25, 2, 0)
            assert found.payload_bytes == 2
            assert first in found.state_reason

    run(scenario())


def test_what_is_left_out_has_the_defaults_of_the_proto_file() -> None:
    async def scenario() -> None:
        async with serving() as here:
            found = await here.client.status(await here.client.submit())

            assert found.queue == "default"
            assert (found.priority, found.timeout_seconds, found.max_retries) == (150, 300, 3)
            assert found.retry.strategy == pb.RetryPolicy.EXPONENTIAL
            assert (found.retry.base_seconds, found.retry.factor) == (5, 2)
            assert (found.retry.cap_seconds, found.retry.jitter) == (3600, 0.1)
            for absent in (
                "schedule_at",
                "expires_at",
                "started_at",
                "ended_at",
                "result",
                "payload",
                "progress",
            ):
                assert not found.HasField(absent), absent

    run(scenario())


def test_priority_and_retries_of_zero_are_meant() -> None:
    async def scenario() -> None:
        async with serving() as here:
            found = await here.client.status(await here.client.submit(priority=0, max_retries=0))

            assert (found.priority, found.max_retries) == (0, 0)

    run(scenario())


def test_an_id_that_exists_gives_the_task_that_exists() -> None:
    async def scenario() -> None:
        async with serving() as here:
            first = await here.client.ask(pb.SubmitTaskRequest(task=pb.TaskSpec(task_id=ID, task_type="a")))
            here.engine.clock.advance(5_000)
            again = pb.TaskSpec(task_id=ID.upper().replace("-", ""), task_type="b")
            second = await here.client.ask(pb.SubmitTaskRequest(task=again))

            assert not first.existed
            assert second.existed
            assert second.task_id == first.task_id == ID
            assert second.created_at == first.created_at
            assert (await here.client.status(ID)).task_type == "a"

    run(scenario())


def test_batch_is_answered_in_order_and_taken_whole_or_not_at_all() -> None:
    async def scenario() -> None:
        async with serving() as here:
            tasks = [pb.TaskSpec(task_type=f"t{number}") for number in range(5)]
            answers = (await here.client.ask(pb.SubmitTasksRequest(tasks=tasks))).tasks
            types = [(await here.client.status(answer.task_id)).task_type for answer in answers]
            error = await refused(
                here.client.ask(
                    pb.SubmitTasksRequest(tasks=[*tasks, pb.TaskSpec(task_type="x", priority=256)])
                )
            )

            assert types == ["t0", "t1", "t2", "t3", "t4"]
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "tasks[5].priority: 256" in str(error.details())
            assert (await here.client.ask(pb.GetStatsRequest())).pending_count == 5

    run(scenario())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"task_type": ""}, "task.task_type"),
        ({"task_type": "a" * 256}, "task.task_type"),
        ({"task_id": "no uuid"}, "task.task_id"),
        ({"task_id": "018f0000 0000 7000 8000 000000000001"}, "task.task_id"),
        ({"priority": 256}, "task.priority"),
        ({"timeout_seconds": 0.0}, "task.timeout_seconds"),
        ({"timeout_seconds": float("nan")}, "task.timeout_seconds"),
        ({"timeout_seconds": 1e300}, "task.timeout_seconds"),
        ({"delay_seconds": -1.0}, "task.delay_seconds"),
        ({"schedule_at": Timestamp(seconds=-5)}, "task.schedule_at"),
        ({"schedule_at": Timestamp(seconds=2**62)}, "task.schedule_at"),
        ({"retry": pb.RetryPolicy(strategy=pb.RetryPolicy.CUSTOM)}, "task.retry.delays_ms"),
        ({"retry": pb.RetryPolicy(factor=float("inf"))}, "task.retry.factor"),
        ({"dependencies": [ID]}, "dependencies"),
        ({"metadata": {"k": "v" * 70_000}}, "task.metadata"),
        ({"payload": b"x" * (10 * 1024 * 1024 + 1)}, "task.payload"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_wrong_field_is_named(fields: dict[str, object], words: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(here.client.submit(**fields))

            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert words in str(error.details())
            assert trailing(error)["tq-outcome"] == "rejected"

    run(scenario())


def test_every_wrong_field_is_named() -> None:
    async def scenario() -> None:
        async with serving() as here:
            bad = pb.TaskSpec(
                task_id="x",
                task_type="",
                priority=300,
                timeout_seconds=-1,
                dependencies=["y"],
                retry=pb.RetryPolicy(jitter=2),
                unique_ttl_seconds=1,
            )
            one = await refused(here.client.ask(pb.SubmitTaskRequest(task=bad)))
            fine = pb.TaskSpec(task_type="t")
            many = await refused(here.client.ask(pb.SubmitTasksRequest(tasks=[fine, bad, fine])))
            listing = pb.ListTasksRequest(limit=2_000, offset=200_000, cursor="x", queue="q" * 256)
            page = await refused(here.client.ask(listing))
            look = await refused(here.client.ask(pb.GetTaskStatusRequest(task_id="x", wait_seconds=-1)))

        fields = [
            "task_id",
            "timeout_seconds",
            "unique_ttl_seconds",
            "dependencies[0]",
            "retry.jitter",
            "task_type",
            "priority",
        ]
        assert set(named(one)) == {f"task.{field}" for field in fields}
        assert set(named(many)) == {f"tasks[1].{field}" for field in fields}
        assert set(named(page)) == {"cursor", "limit", "offset", "queue"}
        assert set(named(look)) == {"task_id", "wait_seconds"}

    run(scenario())


def named(error: grpc.aio.AioRpcError) -> list[str]:
    """The fields that an error names."""
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    return [text.partition(": ")[0] for text in str(error.details()).split("; ") if ": " in text]


def test_largest_payload_goes_through() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = here.connect(options=[("grpc.max_receive_message_length", 32 * 1024 * 1024)])
            payload = b"x" * (10 * 1024 * 1024)
            task_id = await client.submit(payload=payload)

            assert (await client.status(task_id, with_payload=True)).payload == payload

    run(scenario())


def test_waiting_for_a_task_is_answered_when_it_ends() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            waiting = asyncio.ensure_future(here.client.status(task_id, wait_seconds=60))
            await here.until(lambda: here.door.lasting_count)
            worker = await here.client.worker("echo")
            await worker.settle(await worker.delivery(), result=b"done")
            found = await waiting

            assert (found.status, found.result) == (pb.TASK_STATUS_COMPLETED, b"done")
            assert [attempt.outcome for attempt in found.attempts] == ["done"]

    run(scenario())


def test_waiting_ends_in_time_for_the_callers_deadline() -> None:
    async def scenario() -> None:
        # By its own clock the door has a second left, and the caller has all the time that an answer may take.
        async with serving(ahead_ms=int(WAIT_S * 1000) - 1_000) as here:
            request = pb.GetTaskStatusRequest(task_id=await here.client.submit(), wait_seconds=60)
            found = await here.client.ask(request, timeout=WAIT_S)

            assert found.status == pb.TASK_STATUS_PENDING

    run(scenario())


def test_waiting_for_a_task_that_has_ended_or_never_was_does_not_wait() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            await here.client.ask(pb.CancelTaskRequest(task_id=task_id))
            ended = await here.client.status(task_id, wait_seconds=60)
            unknown = await refused(here.client.status(ID, wait_seconds=60))

            assert ended.status == pb.TASK_STATUS_CANCELLED
            assert unknown.code() == grpc.StatusCode.NOT_FOUND

    run(scenario())


def test_caller_that_stops_waiting_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            waiting = asyncio.ensure_future(here.client.status(task_id, wait_seconds=60))
            await here.until(lambda: here.door.lasting_count == 1)
            waiting.cancel()

            await here.until(lambda: here.door.lasting_count == 0)

    run(scenario())


def test_cancelling_follows_the_state_of_the_task() -> None:
    async def scenario() -> None:
        async with serving() as here:
            waiting = await here.client.submit()
            cancelled = await here.client.ask(pb.CancelTaskRequest(task_id=waiting))
            again = await refused(here.client.ask(pb.CancelTaskRequest(task_id=waiting)))
            running = await here.client.submit()
            worker = await here.client.worker("echo")
            await worker.delivery()
            politely = await refused(here.client.ask(pb.CancelTaskRequest(task_id=running)))
            await here.client.ask(pb.CancelTaskRequest(task_id=running, force=True))
            abort = await worker.abort()

            assert cancelled.status == pb.TASK_STATUS_CANCELLED
            assert again.code() == politely.code() == grpc.StatusCode.FAILED_PRECONDITION
            assert trailing(politely)["tq-code"] == "INVALID_STATUS"
            assert abort.task_id == running

    run(scenario())


def test_pages_follow_each_other_by_cursor() -> None:
    async def scenario() -> None:
        async with serving() as here:
            ids = [await here.client.submit(queue="q") for _ in range(5)]
            await here.client.submit(queue="other")
            first = await here.client.ask(pb.ListTasksRequest(queue="q", limit=2))
            await here.client.submit(queue="q")
            rest = await here.client.ask(pb.ListTasksRequest(queue="q", cursor=first.next_cursor))

            assert [task.task_id for task in [*first.tasks, *rest.tasks]] == ids[::-1]
            assert (first.total, first.limit, rest.limit, rest.next_cursor) == (5, 2, 100, "")

    run(scenario())


def test_lists_are_filtered_by_status_and_type() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await here.client.submit(task_type="a")
            later = await here.client.submit(task_type="a", delay_seconds=60)
            await here.client.submit(task_type="b", delay_seconds=60)
            wanted = pb.ListTasksRequest(status=pb.TASK_STATUS_SCHEDULED, task_type="a")
            found = await here.client.ask(wanted)

            assert [task.task_id for task in found.tasks] == [later]
            assert not found.tasks[0].HasField("payload_bytes"), "a length nobody looked at"

    run(scenario())


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.ListTasksRequest(cursor="next"), "cursor"),
        (pb.ListTasksRequest(cursor="9" * 30), "cursor"),
        (pb.ListTasksRequest(limit=1_001), "limit"),
        (pb.ListTasksRequest(offset=100_001), "offset"),
        (pb.ListTasksRequest(status=77), "state"),  # type: ignore[arg-type]
        (pb.GetTaskStatusRequest(task_id="x"), "task_id"),
        (pb.GetTaskStatusRequest(task_id=ID, wait_seconds=301), "wait_seconds"),
        (pb.GetTaskStatusRequest(task_id=ID, wait_seconds=-1), "wait_seconds"),
        (pb.CancelTaskRequest(), "task_id"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value).strip()[:30],
)
def test_wrong_question_is_named(request_: pb.ListTasksRequest, words: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(here.client.ask(request_))

            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert words in str(error.details())

    run(scenario())


def test_statistics_count_by_state_queue_and_tier() -> None:
    async def scenario() -> None:
        async with serving() as here:
            for priority in (250, 150, 10):
                await here.client.submit(priority=priority, queue="q")
            await here.client.submit(delay_seconds=60)
            found = await here.client.ask(pb.GetStatsRequest())
            queues = {queue.queue: queue for queue in found.queues}

            assert (found.pending_count, found.scheduled_count, found.worker_count) == (3, 1, 0)
            depths = found.queue_depth_by_priority
            assert (depths.high, depths.normal, depths.low) == (1, 1, 1)
            assert (queues["q"].pending, list(queues["q"].unserved)) == (3, ["echo"])
            assert found.durability == "strict"

    run(scenario())


def test_a_queue_that_is_full_says_when_to_try_again() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(queue_depth_max=1)) as here:
            await here.client.submit()
            error = await refused(here.client.submit())
            found = trailing(error)

            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert (found["tq-code"], found["tq-outcome"]) == ("QUEUE_DEPTH_EXCEEDED", "unavailable")
            assert found["tq-retry-after-ms"] == found["grpc-retry-pushback-ms"] == "1000"

    run(scenario())
