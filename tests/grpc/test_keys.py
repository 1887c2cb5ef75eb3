"""Keys at the gRPC door: metadata `authorization: Bearer KEY`, on every call and every stream."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.access.keyring import key, keyring
from tests.grpc.serving import STACKDUCK, TASK_QUEUE, WAIT_S, Client, methods, refused, run, serving, trailing
from tq.broker.access import Permission
from tq.broker.rates import Rates
from tq.clock import ManualClock
from tq.ids import new_id
from tq.proto import stackduck_pb2 as duck
from tq.proto import taskqueue_pb2 as pb
from tq.task import TaskSpec
from tq.verbs import Submit

SUBMIT, READ, CANCEL, WORK = (
    Permission.SUBMIT_TASKS,
    Permission.READ_TASKS,
    Permission.CANCEL_TASKS,
    Permission.WORK_TASKS,
)
ID = "018f0000-0000-7000-8000-000000000001"
NEEDED: dict[str, Permission] = {
    "SubmitTask": SUBMIT,
    "SubmitTasks": SUBMIT,
    "GetTaskStatus": READ,
    "CancelTask": CANCEL,
    "ListTasks": READ,
    "GetStats": READ,
    "StreamTaskUpdates": READ,
    "Work": WORK,
    "EnqueueJob": SUBMIT,
    "ConsumeJobs": WORK,
    "CompleteJob": WORK,
    "FailJob": WORK,
    "RetryJob": WORK,
    "DequeueJob": WORK,
    "DequeueRetriedJob": WORK,
}
"""method -> the permission it takes; total over both services (a test checks it)"""
TASK = pb.TaskSpec(task_type="echo")
REQUESTS: dict[str, Any] = {
    "SubmitTask": pb.SubmitTaskRequest(task=TASK),
    "SubmitTasks": pb.SubmitTasksRequest(tasks=[TASK]),
    "GetTaskStatus": pb.GetTaskStatusRequest(task_id=ID),
    "CancelTask": pb.CancelTaskRequest(task_id=ID),
    "StreamTaskUpdates": pb.StreamTaskUpdatesRequest(task_id=ID),
    "EnqueueJob": duck.EnqueueJobRequest(payload="1"),
    "ConsumeJobs": duck.ConsumeJobsRequest(job_types=["a"]),
}
"""method -> a request that gets as far as the permission; the others need nothing in theirs"""


async def outcome_of(client: Client, service: str, method: str) -> grpc.StatusCode:
    """The status of one call; OK when a stream has begun. Work says in its answer what a call says by its status."""
    if method == "Work":
        worker = client.work()
        try:
            answer = await worker.register("echo", capacity=1)
        except (EOFError, grpc.aio.AioRpcError):
            return await worker.read_to_end()
        denied = answer.error.code == "PERMISSION_DENIED"
        return grpc.StatusCode.PERMISSION_DENIED if denied else grpc.StatusCode.OK
    request = REQUESTS[method].SerializeToString() if method in REQUESTS else b""
    path = f"/{service}/{method}"
    try:
        if method == "ConsumeJobs":
            call = client.channel.unary_stream(path)(request, metadata=client.metadata, timeout=WAIT_S)
            await call.read()
            call.cancel()  # a job came; by itself it never ends
        else:
            await client.raw(service, method, request)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("service", "method", "request_"),
    [
        (TASK_QUEUE, "GetTaskStatus", pb.GetTaskStatusRequest(task_id="x", wait_seconds=-1)),
        (TASK_QUEUE, "ListTasks", pb.ListTasksRequest(limit=5_000, cursor="x")),
        (TASK_QUEUE, "SubmitTask", pb.SubmitTaskRequest()),
        (TASK_QUEUE, "CancelTask", pb.CancelTaskRequest(task_id="x")),
        (TASK_QUEUE, "StreamTaskUpdates", pb.StreamTaskUpdatesRequest(task_id="x")),
        (STACKDUCK, "EnqueueJob", duck.EnqueueJobRequest(payload="{")),
        (STACKDUCK, "ConsumeJobs", duck.ConsumeJobsRequest()),
    ],
    ids=lambda value: value if isinstance(value, str) and "." not in value else None,
)
def test_a_stranger_does_not_learn_what_is_wrong_with_a_request(
    service: str, method: str, request_: Any
) -> None:
    async def scenario() -> None:
        async with serving(access=keyring(key("k", READ))) as here:
            error = await refused(here.client.raw(service, method, request_.SerializeToString()))

            assert error.code() == grpc.StatusCode.UNAUTHENTICATED

    run(scenario())


def test_every_method_has_its_permission() -> None:
    assert {method for _, method in methods()} == set(NEEDED)


@pytest.mark.parametrize(("service", "method"), methods(), ids=[name for _, name in methods()])
def test_method_takes_its_permission_and_no_other(service: str, method: str) -> None:
    async def scenario() -> None:
        words = {permission: f"{permission}-key" for permission in (SUBMIT, READ, CANCEL, WORK)}
        access = keyring(*(key(word, word, (permission,)) for permission, word in words.items()))
        async with serving(access=access) as here:
            await here.engine.call(Submit((TaskSpec(new_id(), "a", b"[1]", queue="stackduck"),)))
            allowed = []
            for permission, word in words.items():
                code = await outcome_of(here.connect(word), service, method)
                if code != grpc.StatusCode.PERMISSION_DENIED:
                    allowed.append(permission)

            assert allowed == [NEEDED[method]]
            for wrong in ("", "nobody's key"):
                code = await outcome_of(here.connect(wrong), service, method)
                assert code == grpc.StatusCode.UNAUTHENTICATED, wrong

    run(scenario())


def test_health_and_reflection_take_no_key() -> None:
    async def scenario() -> None:
        async with serving(access=keyring()) as here:
            assert await here.client.raw("grpc.health.v1.Health", "Check", b"") == b"\x08\x01"

    run(scenario())


def test_other_schemes_than_bearer_are_no_key() -> None:
    async def scenario() -> None:
        async with serving(access=keyring(key("ci", "secret"))) as here:
            client = here.connect()
            for value, code in (("Basic secret", grpc.StatusCode.UNAUTHENTICATED), ("bearer secret", None)):
                call = client.channel.unary_unary("/taskqueue.v1.TaskQueue/GetStats")
                try:
                    await call(b"", metadata=(("authorization", value),))
                except grpc.aio.AioRpcError as error:
                    assert error.code() == code
                else:
                    assert code is None

    run(scenario())


def test_streams_end_when_their_key_is_withdrawn() -> None:
    async def scenario() -> None:
        access = keyring(key("ci", "secret"))
        async with serving(access=access) as here:
            client = here.connect("secret")
            worker = await client.worker("echo")
            updates = client.updates(await client.submit(task_type="other"))
            await updates.read()
            access.replace([])

            assert await worker.read_to_end() == grpc.StatusCode.UNAUTHENTICATED
            assert (await refused(updates.read())).code() == grpc.StatusCode.UNAUTHENTICATED

    run(scenario())


def test_too_many_calls_of_a_key_are_told_when_to_come_back() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        access = keyring(key("ci", "secret", rate=2.0), clock=clock)
        async with serving(access=access, rates=Rates(clock.monotonic_ms)) as here:
            client = here.connect("secret")
            await client.submit()
            await client.submit()
            error = await refused(client.submit())
            told = trailing(error)

            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert told["tq-code"] == "RATE_LIMIT_EXCEEDED"
            assert 0 < int(told["tq-retry-after-ms"]) <= 1_000
            clock.advance(1_000)
            assert await client.submit()

    run(scenario())


def test_limited_enqueue_of_stackduck_is_no_success_and_no_status() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        access = keyring(key("ci", "secret", rate=1.0), clock=clock)
        async with serving(access=access, rates=Rates(clock.monotonic_ms)) as here:
            client = here.connect("secret")
            answers = [await client.ask(duck.EnqueueJobRequest(payload="1"), STACKDUCK) for _ in range(2)]

            assert [answer.success for answer in answers] == [True, False]

    run(scenario())
