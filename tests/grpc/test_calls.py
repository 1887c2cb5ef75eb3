"""How calls are accepted and ended, whatever they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from tests.grpc.serving import TASK_QUEUE, WAIT_S, refused, run, serving, trailing
from tq.broker.access import OpenAccess, Verdict
from tq.broker.api.grpc import door as grpc_door
from tq.broker.api.grpc.server import ACCEPTING
from tq.errors import AuthenticationFailed, RateLimited, Unsupported
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import Submit

TASK = pb.SubmitTaskRequest(task=pb.TaskSpec(task_type="t"))


class NoVerdict(OpenAccess):
    """Keys whose check never ends."""

    is_open = False

    def authenticate(self, token: str, verdict: Verdict, address: str = "") -> None:
        return


class Strangers(OpenAccess):
    """Knows nobody."""

    is_open = False

    def authenticate(self, token: str, verdict: Verdict, address: str = "") -> None:
        verdict(AuthenticationFailed())


def test_submits_that_come_together_share_entries_of_the_log() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await here.client.submit()
            before = here.engine.log.last_index
            here.engine.log.holds = True
            asked = [asyncio.ensure_future(here.client.ask(TASK)) for _ in range(100)]
            await here.until(lambda: here.observer.requests[Submit] == 101)
            here.engine.log.holds = False
            here.engine.log.let_go()
            await asyncio.gather(*asked)

            assert here.engine.log.last_index - before < 50

    run(scenario())


def test_a_caller_that_leaves_while_its_submit_is_under_way_leaves_no_call_behind() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await here.client.submit()
            here.engine.log.holds = True
            while (
                here.observer.requests[Submit] < 2
            ):  # on a busy machine a call may be over before it has arrived
                left = await refused(here.client.ask(TASK, timeout=0.2))
                assert left.code() == grpc.StatusCode.DEADLINE_EXCEEDED

            await here.until(lambda: here.door.calls_count == 0)
            here.engine.log.holds = False
            here.engine.log.let_go()
            assert await here.client.submit()

    run(scenario())


def test_calls_that_wait_for_long_keep_no_others_out() -> None:
    async def scenario() -> None:
        async with serving() as here:
            here.engine.log.holds = True
            count = 3 * ACCEPTING
            asked = [asyncio.ensure_future(here.client.ask(TASK)) for _ in range(count)]
            await here.until(lambda: here.observer.requests[Submit] == count)
            here.engine.log.holds = False
            here.engine.log.let_go()

            assert len(await asyncio.gather(*asked)) == count

    run(scenario())


def test_a_door_closes_while_a_key_is_being_checked() -> None:
    async def scenario() -> None:
        async with serving(access=NoVerdict()) as here:
            waiting = asyncio.ensure_future(refused(here.client.ask(TASK)))
            await here.until(lambda: here.door.calls_count == 1)
            async with asyncio.timeout(WAIT_S):
                await here.door.close(0)

            assert (await waiting).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    run(scenario())


def test_one_call_more_than_the_most_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_door, "CALLS_MAX", 2)

    async def scenario() -> None:
        async with serving() as here:
            here.engine.log.holds = True
            held = [asyncio.ensure_future(here.client.ask(TASK)) for _ in range(2)]
            await here.until(lambda: here.door.calls_count == 2)
            error = await refused(here.client.ask(TASK))
            here.engine.log.holds = False
            here.engine.log.let_go()
            await asyncio.gather(*held)

            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert trailing(error)["tq-code"] == RateLimited.code
            assert await here.client.submit()

    run(scenario())


@pytest.mark.parametrize(
    "path",
    ["/no.Such/Method", f"/{TASK_QUEUE}/NoSuch", "/grpc.health.v1.Health/List"],
    ids=["service", "method", "a method that generated code leaves to be written"],
)
def test_a_method_that_nobody_serves_is_unimplemented(path: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(here.client.channel.unary_unary(path)(b"", timeout=WAIT_S))

            assert (error.code(), trailing(error)["tq-code"]) == (
                grpc.StatusCode.UNIMPLEMENTED,
                Unsupported.code,
            )

    run(scenario())


@pytest.mark.parametrize("method", ["SubmitTask", "GetTaskStatus", "StreamTaskUpdates"])
def test_a_call_without_its_request_is_told_so(method: str) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        for message in ():
            yield message

    async def scenario() -> None:
        async with serving() as here:
            call = here.client.channel.stream_unary(f"/{TASK_QUEUE}/{method}")
            error = await refused(call(nothing(), timeout=WAIT_S))

            assert (error.code(), error.details()) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "there was no request",
            )

    run(scenario())


def test_a_refused_worker_that_writes_on_is_told_why() -> None:
    """grpcio's client shows a write into an ended stream as an error of its own core."""

    async def scenario() -> None:
        async with serving(access=Strangers()) as here:
            for _ in range(5):
                call = here.client.channel.stream_stream(f"/{TASK_QUEUE}/Work")(timeout=WAIT_S)
                await call.write(pb.WorkRequest(request_id=1, deregister=True).SerializeToString())

                assert await call.code() == grpc.StatusCode.UNAUTHENTICATED

    run(scenario())
