"""StackDuck's unary calls in a line each, for tests."""

from __future__ import annotations

from typing import Any

from tests.grpc.serving import Serving
from tq.proto import stackduck_pb2 as duck
from tq.proto import taskqueue_pb2 as pb

NOW_S = 1_700_000_000
"""What the broker's clock says at first."""
UNKNOWN = "018f0000-0000-4000-8000-000000000001"


async def enqueue(here: Serving, **fields: Any) -> str:
    """A job's id."""
    request = duck.EnqueueJobRequest(**{"job_type": "mail", "payload": "{}"} | fields)
    answer = await here.client.duck(request)
    assert answer.success, answer
    return str(answer.job_id)


async def dequeue(here: Serving, job_type: str = "mail") -> duck.GrpcJob | None:
    answer = await here.client.duck(duck.DequeueJobRequest(queue_name=job_type, worker_id="w"))
    assert answer.success, answer
    return answer.job if answer.HasField("job") else None


async def status_of(here: Serving, job_id: str) -> str:
    return pb.TaskStatus.Name((await here.client.status(job_id)).status).removeprefix("TASK_STATUS_").lower()


async def complete(here: Serving, job_id: str) -> bool:
    return bool((await here.client.duck(duck.CompleteJobRequest(job_id=job_id))).success)


async def fail(here: Serving, job_id: str, text: str = "boom") -> bool:
    return bool((await here.client.duck(duck.FailJobRequest(job_id=job_id, error_message=text))).success)


async def retry(here: Serving, job_id: str, text: str = "boom") -> bool:
    return bool((await here.client.duck(duck.RetryJobRequest(job_id=job_id, error_message=text))).success)
