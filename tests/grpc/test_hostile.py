"""Clients that leave at the worst moment, say half of it, do not read, or send what is no message."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from io import StringIO

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.grpc.serving import STACKDUCK, TASK_QUEUE, WAIT_S, Client, refused, run, serving, trailing
from tests.metrics.logged import logged
from tq.broker.admission import Limits
from tq.broker.api.grpc import door as grpc_door
from tq.broker.api.grpc import events as grpc_events
from tq.broker.api.grpc import large_answers, strangers
from tq.errors import BadRequest, BrokerUnavailable, RateLimited
from tq.proto import stackduck_pb2 as duck
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import Submit

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
SUBMIT, STATUS, WORK = (f"/{TASK_QUEUE}/{name}" for name in ("SubmitTask", "GetTaskStatus", "Work"))
TASK = pb.SubmitTaskRequest(task=pb.TaskSpec(task_type="t")).SerializeToString()
ID = "018f0000-0000-7000-8000-000000000001"
NO_MESSAGE = b"\xff\xff\xff"
COMING = 100
"""Calls at once: more than the loop takes in a few turns, fewer than the core hands over unasked."""
IDLE_MS = 400


@pytest.fixture
def log() -> Iterator[StringIO]:
    with logged("warning") as kept:
        yield kept.stream


def watch(client: Client) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
    return client.channel.unary_stream(WATCH)(b"", timeout=WAIT_S)


# ------------------------------------------------------------ leaving


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (STATUS, pb.GetTaskStatusRequest(task_id=ID, wait_seconds=30)),
        (f"/{TASK_QUEUE}/StreamTaskUpdates", pb.StreamTaskUpdatesRequest(task_id=ID)),
        (f"/{STACKDUCK}/ConsumeJobs", duck.ConsumeJobsRequest(job_types=["a"])),
        (SUBMIT, pb.SubmitTaskRequest(task=pb.TaskSpec(task_type="t"))),
        (WATCH, health_pb2.HealthCheckRequest()),
    ],
    ids=["GetTaskStatus", "StreamTaskUpdates", "ConsumeJobs", "SubmitTask", "Watch"],
)
def test_caller_that_leaves_with_its_request_leaves_no_call_behind(
    path: str, message: pb.GetTaskStatusRequest
) -> None:
    async def scenario() -> None:
        async with serving() as here:
            raw = here.raw()
            stream = raw.begin(path)
            await here.until(lambda: here.door.calls_count == 1)
            # The request and the cancellation are found by the loop in the same turn.
            raw.say(stream, message.SerializeToString())
            raw.settled()
            raw.cancel(stream)
            raw.settled()

            await here.until(lambda: here.door.calls_count == 0)
            assert here.door.lasting_count == 0

    run(scenario())


def test_worker_that_leaves_as_it_comes_leaves_no_call_behind() -> None:
    async def scenario() -> None:
        async with serving() as here:
            raw = here.raw()
            for _ in range(20):
                raw.cancel(raw.begin(WORK))
            raw.settled()
            assert await here.client.submit()

            await here.until(lambda: here.door.calls_count == 0)

    run(scenario())


# ------------------------------------------------------------ saying half of it


def test_call_whose_request_does_not_come_is_ended() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(idle_ms=60)) as here:
            raw = here.raw()
            end = await asyncio.to_thread(raw.end_of, raw.begin(SUBMIT))

            assert BadRequest.code.encode() in end
            assert b"did not come" in end
            await here.until(lambda: here.door.calls_count == 0)

    run(scenario())


def test_worker_that_has_nothing_to_say_for_long_is_not_ended() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(idle_ms=60)) as here:
            worker = here.client.work()
            half = here.raw()
            await asyncio.to_thread(half.end_of, half.begin(SUBMIT))

            assert (await worker.register("echo", capacity=1)).registered.grace_seconds > 0

    run(scenario())


def test_a_broker_that_stood_still_ends_no_call_whose_request_came_meanwhile() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(idle_ms=IDLE_MS)) as here:
            raw = here.raw()
            stream = raw.begin(SUBMIT)
            await here.until(lambda: here.door.calls_count == 1)
            await here.until(lambda: here.door._servers[0]._standing)
            # It is said while the loop does not turn, and for longer than a call may be without its request.
            raw.say(stream, TASK)
            raw.settled()
            threading.Event().wait(2 * IDLE_MS / 1000)

            assert BadRequest.code.encode() not in await asyncio.to_thread(raw.end_of, stream)

    run(scenario())


def test_full_door_lets_those_give_way_who_have_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_door, "CALLS_MAX", 2)

    async def scenario() -> None:
        async with serving() as here:
            raw = here.raw()
            first, _ = raw.begin(SUBMIT), raw.begin(SUBMIT)
            await here.until(lambda: here.door.calls_count == 2)

            assert await here.client.submit()
            assert RateLimited.code.encode() in await asyncio.to_thread(raw.end_of, first)

    run(scenario())


# ------------------------------------------------------------ not reading


def test_watcher_of_health_that_does_not_read_holds_up_nobody() -> None:
    async def scenario() -> None:
        async with serving() as here:
            raw = here.raw(window=0)
            raw.call(WATCH, b"")
            await here.until(lambda: here.door.lasting_count == 1)
            reading = watch(here.client)
            first = await reading.read()
            here.door.stop_accepting()
            second = await reading.read()

            seen = [health_pb2.HealthCheckResponse.FromString(each).status for each in (first, second)]
            assert seen == [
                health_pb2.HealthCheckResponse.SERVING,
                health_pb2.HealthCheckResponse.NOT_SERVING,
            ]

    run(scenario())


def test_large_answers_that_are_not_read_are_bounded_on_each_connection() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(out_max_bytes=3_000_000)) as here:
            task_id = await here.client.submit(payload=b"x" * 1_000_000)
            asked = pb.GetTaskStatusRequest(task_id=task_id, with_payload=True).SerializeToString()
            raw = here.raw(window=0)
            for _ in range(3):
                raw.call(STATUS, asked)
            await here.until(lambda: here.door.calls_count == 3)
            end = await asyncio.to_thread(raw.end_of, raw.call(STATUS, asked))

            assert RateLimited.code.encode() in end
            assert len((await here.client.status(task_id, with_payload=True)).payload) == 1_000_000
            raw.close()
            await here.until(lambda: here.door.calls_count == 0)
            assert here.door.unread_bytes == 0

    run(scenario())


def test_answer_that_is_not_read_is_cut_in_time(log: StringIO) -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(unread_ms=60)) as here:
            task_id = await here.client.submit(payload=b"x" * 1_000_000)
            asked = pb.GetTaskStatusRequest(task_id=task_id, with_payload=True).SerializeToString()
            raw = here.raw(window=0)
            raw.call(STATUS, asked)
            await here.until(lambda: here.observer.rejections[BrokerUnavailable.code])

            await here.until(lambda: here.door.calls_count == 0)
            assert here.door.unread_bytes == 0

    run(scenario())
    assert [json.loads(line)["event"] for line in log.getvalue().splitlines()] == ["stream_cut"]


# ------------------------------------------------------------ what is no message


@pytest.mark.parametrize("path", [CHECK, WATCH, REFLECTION])
def test_what_is_no_message_is_the_callers_mistake_and_no_defect(path: str, log: StringIO) -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(here.client.channel.stream_stream(path)(iter([NO_MESSAGE])).read())

            assert (error.code(), trailing(error)["tq-code"]) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                BadRequest.code,
            )

    run(scenario())
    assert log.getvalue() == ""


def test_key_that_is_no_text_is_not_in_the_log(log: StringIO) -> None:
    async def scenario() -> None:
        async with serving() as here:
            raw = here.raw()
            stream = raw.call(SUBMIT, TASK, (b"authorization", b"Bearer geheim\xff"))
            await asyncio.to_thread(raw.end_of, stream)

    run(scenario())
    assert "geheim" not in log.getvalue()


# ------------------------------------------------------------ while the door closes


def test_call_that_comes_while_the_door_closes_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_events, "EVENTS_PER_TURN_MAX", 4)

    async def scenario() -> None:
        async with serving() as here:
            raw = here.raw()
            streams = [raw.call(SUBMIT, TASK) for _ in range(COMING)]
            raw.settled()
            # The core has them all, and the loop sees some of them, or all, only when it has begun to close.
            reading = asyncio.to_thread(lambda: [raw.end_of(stream) for stream in streams])
            ends, _ = await asyncio.gather(reading, here.door.close(5_000))

            late = [end for end in ends if BrokerUnavailable.code.encode() in end]
            assert all(b"grpc-status\x010" in end for end in ends if end not in late)
            assert late
            assert here.observer.requests[Submit] == COMING - len(late)

    run(scenario())


@pytest.mark.parametrize("path", [WATCH, REFLECTION])
def test_stream_of_a_stranger_is_ended_and_not_waited_for(path: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            call = here.client.channel.stream_stream(path)()
            await call.write(b"")
            await call.read()
            async with asyncio.timeout(WAIT_S / 2):
                await here.door.close(60_000)
            error = await refused(call.read())

            assert (error.code(), trailing(error)["tq-code"]) == (
                grpc.StatusCode.UNAVAILABLE,
                BrokerUnavailable.code,
            )

    run(scenario())


def test_streams_that_need_no_key_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "STRANGERS_MAX", 2)

    async def scenario() -> None:
        async with serving() as here:
            held = [watch(here.client) for _ in range(2)]
            for each in held:
                await each.read()
            error = await refused(watch(here.client).read())
            held[0].cancel()
            await here.until(lambda: here.door.lasting_count == 1)

            assert (error.code(), trailing(error)["tq-code"]) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                RateLimited.code,
            )
            assert await watch(here.client).read()

    run(scenario())


def test_what_counts_as_large_keeps_a_connections_small_answers_within_bounds() -> None:
    small_bytes = large_answers.LARGE_BYTES * grpc_door.STREAMS_PER_CONNECTION_MAX

    assert small_bytes <= Limits().out_max_bytes
