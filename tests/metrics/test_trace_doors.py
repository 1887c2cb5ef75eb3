"""A trace context that comes with a request goes with the tasks it submits, at every door, to the worker."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from tests.grpc.serving import serving as serving_grpc
from tests.metrics.test_spans import PARENT
from tests.rest.serving import run, running
from tq.proto import taskqueue_pb2 as pb

OWN = "00-11111111111111111111111111111111-2222222222222222-00"
STATE = "a=1"


@pytest.mark.parametrize(
    ("headers", "metadata", "expected"),
    [
        ({"traceparent": PARENT}, {}, {"traceparent": PARENT}),
        (
            {"traceparent": PARENT, "tracestate": STATE},
            {"user": "7"},
            {"user": "7", "traceparent": PARENT, "tracestate": STATE},
        ),
        ({"traceparent": PARENT}, {"traceparent": OWN}, {"traceparent": OWN}),
        ({"traceparent": "garbage", "tracestate": STATE}, {}, {}),
        ({}, {}, {}),
    ],
    ids=["alone", "beside-metadata", "own-trace", "garbage", "none"],
)
def test_rest_takes_the_headers(
    tmp_path: Path, headers: dict[str, str], metadata: dict[str, str], expected: dict[str, str]
) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as broker:
            body = {"task_type": "t", "metadata": metadata}
            one = await broker.http.post("/api/v1/tasks", json=body, headers=headers)
            many = await broker.http.post("/api/v1/tasks/batch", json={"tasks": [body]}, headers=headers)
            for task_id in (one.json()["task_id"], many.json()["task_ids"][0]):
                task = (await broker.http.get(f"/api/v1/tasks/{task_id}")).json()
                assert task["metadata"] == expected
            delivered = await broker.work()
            assert delivered.tasks[0].metadata == expected

    run(scenario())


def test_grpc_takes_the_metadata_of_the_call() -> None:
    async def scenario() -> None:
        async with serving_grpc() as broker:
            call = broker.client.channel.unary_unary(
                "/taskqueue.v1.TaskQueue/SubmitTask",
                request_serializer=pb.SubmitTaskRequest.SerializeToString,
                response_deserializer=pb.SubmitTaskResponse.FromString,
            )
            request = pb.SubmitTaskRequest(task=pb.TaskSpec(task_type="echo", metadata={"user": "7"}))
            headers = grpc.aio.Metadata(("traceparent", PARENT), ("tracestate", STATE))
            await call(request, metadata=headers)
            worker = await broker.client.worker("echo")
            delivery = await worker.delivery()
            assert dict(delivery.metadata) == {"user": "7", "traceparent": PARENT, "tracestate": STATE}

    run(scenario())
