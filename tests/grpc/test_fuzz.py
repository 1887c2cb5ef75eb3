"""Anything at all, at every method: the door answers with a status, and goes on serving."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grpc.serving import Serving, methods, run, serving
from tq.proto import stackduck_pb2 as duck
from tq.proto import taskqueue_pb2 as pb

SENT_PER_EXAMPLE = 20
METHODS = methods()
ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What a caller's own nonsense may lead to; INTERNAL, UNKNOWN and UNAVAILABLE would be ours."""
CALL_S = 0.5


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


def fields(depth: int) -> st.SearchStrategy[bytes]:
    """Bytes that are a message of some kind: numbers, texts and messages in fields that often exist."""
    inside = st.binary(max_size=40) | st.text(max_size=40).map(str.encode)
    if depth:
        inside = inside | fields(depth - 1)
    numbers = st.tuples(st.integers(1, 30), st.integers(0, 2**64 - 1)).map(
        lambda pair: varint(pair[0] << 3) + varint(pair[1])
    )
    texts = st.tuples(st.integers(1, 30), inside).map(
        lambda pair: varint(pair[0] << 3 | 2) + varint(len(pair[1])) + pair[1]
    )
    doubles = st.tuples(st.integers(1, 30), st.binary(min_size=8, max_size=8)).map(
        lambda pair: varint(pair[0] << 3 | 1) + pair[1]
    )
    return st.lists(numbers | texts | doubles, max_size=6).map(b"".join)


MESSAGES = st.binary(max_size=200) | fields(2)


async def status_of(here: Serving, service: str, method: str, data: bytes) -> grpc.StatusCode:
    try:
        call: Any = here.client.channel.unary_unary(f"/{service}/{method}")(data, timeout=CALL_S)
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(("service", "method"), METHODS, ids=[name for _, name in METHODS])
@settings(max_examples=4)
@given(data=st.lists(MESSAGES, min_size=SENT_PER_EXAMPLE, max_size=SENT_PER_EXAMPLE))
def test_any_bytes_are_answered_and_break_nothing(service: str, method: str, data: list[bytes]) -> None:
    async def scenario() -> None:
        async with serving() as here:
            codes = await asyncio.gather(*(status_of(here, service, method, each) for each in data))

            # Streams asked for as single answers are ended by the client's library, which calls that INTERNAL.
            extra = (
                {grpc.StatusCode.INTERNAL}
                if method in ("ConsumeJobs", "Work", "StreamTaskUpdates")
                else set()
            )
            assert set(codes) <= ALLOWED | extra
            assert here.observer.rejections["INTERNAL"] == 0
            assert await here.client.submit()

    run(scenario())


@settings(max_examples=10)
@given(requests=st.lists(MESSAGES, max_size=SENT_PER_EXAMPLE))
def test_any_requests_of_a_worker_break_nothing(requests: list[bytes]) -> None:
    async def scenario() -> None:
        async with serving() as here:
            call = here.client.channel.stream_stream("/taskqueue.v1.TaskQueue/Work")()
            register = pb.Register(session_id=f"{1:032x}", worker_id="w", task_types=["echo"], capacity=1)
            await call.write(pb.WorkRequest(register=register).SerializeToString())
            # Bytes that are no message end the stream, and whatever is written or read after that raises.
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                for data in requests:
                    await call.write(data)
                await call.done_writing()
                while await call.read() is not grpc.aio.EOF:
                    continue

            # A client that writes to a stream that has ended calls that INTERNAL itself; ours is counted below.
            assert await call.code() in ALLOWED | {grpc.StatusCode.INTERNAL}
            assert here.observer.rejections["INTERNAL"] == 0
            assert (await here.client.ask(duck_of("1"), "stackduck.StackDuckService")).success

    run(scenario())


def duck_of(payload: str) -> duck.EnqueueJobRequest:
    return duck.EnqueueJobRequest(job_type="a", payload=payload)
