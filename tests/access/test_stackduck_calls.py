"""StackDuck's calls ask for keys like all others, though StackDuck has none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.access.doors import Recorder, behind
from tests.access.keyring import key, keyring
from tests.access.samples import TASK_ID
from tests.doors.serving import run
from tq import ids
from tq.broker.access import Permission
from tq.broker.api.grpc.door import GrpcDoor
from tq.broker.api.stackduck.servicer import StackDuck
from tq.proto import stackduck_pb2 as pb
from tq.proto.stackduck_pb2_grpc import StackDuckServiceStub

JOB = ids.to_text(TASK_ID)
CALLS: dict[str, tuple[object, Permission]] = {
    "EnqueueJob": (pb.EnqueueJobRequest(job_type="t", payload="{}"), Permission.SUBMIT_TASKS),
    "ConsumeJobs": (pb.ConsumeJobsRequest(worker_id="w", job_types=["t"]), Permission.WORK_TASKS),
    "CompleteJob": (pb.CompleteJobRequest(job_id=JOB), Permission.WORK_TASKS),
    "FailJob": (pb.FailJobRequest(job_id=JOB), Permission.WORK_TASKS),
    "RetryJob": (pb.RetryJobRequest(job_id=JOB), Permission.WORK_TASKS),
    "DequeueJob": (pb.DequeueJobRequest(queue_name="t", worker_id="w"), Permission.WORK_TASKS),
    "DequeueRetriedJob": (pb.DequeueRetriedJobRequest(), Permission.WORK_TASKS),
}
"""call -> a request, the permission it takes"""
REFUSALS = ("AUTHENTICATION_FAILED", "PERMISSION_DENIED")


def test_every_call_of_the_service_is_here() -> None:
    service = pb.DESCRIPTOR.services_by_name["StackDuckService"]

    assert {method.name for method in service.methods} == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_its_permission_and_all_others_do_not_open_it(name: str) -> None:
    async def scenario() -> None:
        message, needed = CALLS[name]
        recorder = Recorder()
        keys: dict[str, list[Permission]] = {
            "others": [each for each in Permission if each not in (needed, Permission.ADMIN)],
            # Endings look a job up that this broker did not hand out.
            "worker": [needed, Permission.READ_TASKS],
            "admin": [Permission.ADMIN],
        }
        async with opened(recorder, keys) as stub:
            assert await code_of(stub, name, message, None) == "AUTHENTICATION_FAILED"
            assert await code_of(stub, name, message, "not-a-key") == "AUTHENTICATION_FAILED"
            assert await code_of(stub, name, message, "others") == "PERMISSION_DENIED"
            assert recorder.seen == []
            assert await code_of(stub, name, message, "worker") not in REFUSALS
            assert await code_of(stub, name, message, "admin") not in REFUSALS

    run(scenario())


@asynccontextmanager
async def opened(recorder: Recorder, keys: dict[str, list[Permission]]) -> AsyncIterator[Any]:
    """The service over a recorder. keys: token -> its permissions."""
    parts = behind(keyring(*(key(token, token, held) for token, held in keys.items())), recorder)
    door = GrpcDoor(parts.service, parts.admission, parts.observer, parts.feed, additions=(StackDuck,))
    host, port = await door.open("127.0.0.1", 0)
    try:
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            yield StackDuckServiceStub(channel)  # type: ignore[no-untyped-call]
    finally:
        door.stop_accepting()
        await door.close(0)


async def code_of(stub: Any, name: str, message: object, token: str | None) -> str:
    """The code of the error, or an empty text."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    call = getattr(stub, name)(message, metadata=metadata)
    try:
        if name == "ConsumeJobs":
            await call.read()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        found: dict[Any, Any] = dict(error.trailing_metadata() or ())
        return str(found.get("tq-code", ""))
    return ""
