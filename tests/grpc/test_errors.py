"""What goes wrong: every error of tq as a status with what a client can act on, and nothing told of defects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO

import grpc
import pytest

from tests.access.keyring import key, keyring
from tests.doors.double import MemoryBackend
from tests.grpc.serving import STACKDUCK, TASK_QUEUE, methods, refused, run, serving, trailing
from tests.metrics.logged import logged
from tq.broker.api.status_map import STATUS_OF
from tq.broker.backend import Answer, Peer
from tq.errors import BY_CODE, TqError, from_code
from tq.proto import taskqueue_pb2 as pb
from tq.verbs import GetStats, Request, Stats


class Failing(MemoryBackend):
    """Answers everything with one error."""

    def __init__(self, error: TqError) -> None:
        super().__init__()
        self._error = error

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        answer(self._error)


class Talkative(MemoryBackend):
    """Answers with what no message can hold."""

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        answer(Stats(*("secret",) * 17, ()))  # type: ignore[arg-type]


@pytest.fixture
def debug_log() -> Iterator[StringIO]:
    with logged("debug") as kept:
        yield kept.stream


def test_a_refused_call_has_a_line_at_debug_without_payload_or_key(debug_log: StringIO) -> None:
    async def scenario() -> None:
        async with serving(access=keyring(key("ci", "right"))) as here:
            here.client.key = "secret-key"
            await refused(here.client.ask(pb.GetStatsRequest()))
            here.client.key = "right"
            task = pb.TaskSpec(task_type="", payload=b"secret-payload")
            await refused(here.client.ask(pb.SubmitTaskRequest(task=task)))

    run(scenario())
    found = [json.loads(line) for line in debug_log.getvalue().splitlines()]
    refusals = [line for line in found if line["event"] == "request_refused"]
    assert [(line["level"], line["component"], line["code"]) for line in refusals] == [
        ("debug", "grpc", "AUTHENTICATION_FAILED"),
        ("debug", "grpc", "BAD_REQUEST"),
    ]
    assert "task.task_type" in refusals[1]["message"]
    assert "secret" not in debug_log.getvalue()


@pytest.mark.parametrize("code", BY_CODE)
def test_error_is_a_status_with_its_code_outcome_and_advice(code: str) -> None:
    async def scenario() -> None:
        sent = from_code(code, "what happened, ünd why", retry_after_ms=1234, leader="10.0.0.7:6379")
        async with serving(backend=Failing(sent)) as here:
            error = await refused(here.client.ask(pb.GetStatsRequest()))

            assert error.code() == grpc.StatusCode[STATUS_OF[code].grpc]
            assert error.details() == "what happened, ünd why"
            assert trailing(error) == {
                "tq-code": code,
                "tq-outcome": sent.outcome.value,
                "tq-retry-after-ms": "1234",
                "grpc-retry-pushback-ms": "1234",
                "tq-leader": "10.0.0.7:6379",
            }
            assert here.observer.rejections[code] == 1

    run(scenario())


def test_advice_that_is_not_there_is_not_given() -> None:
    async def scenario() -> None:
        async with serving(backend=Failing(BY_CODE["BROKER_UNAVAILABLE"]())) as here:
            error = await refused(here.client.ask(pb.GetStatsRequest()))

            assert trailing(error) == {"tq-code": "BROKER_UNAVAILABLE", "tq-outcome": "unavailable"}

    run(scenario())


def test_text_too_long_for_a_header_is_cut_and_arrives() -> None:
    async def scenario() -> None:
        async with serving(backend=Failing(BY_CODE["BAD_REQUEST"]("x" * 100_000))) as here:
            error = await refused(here.client.ask(pb.GetStatsRequest()))

            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert error.details() == "x" * 1_000

    run(scenario())


def test_defect_of_the_door_is_internal_and_says_nothing_of_itself() -> None:
    async def scenario() -> None:
        async with serving(backend=Talkative()) as here:
            error = await refused(here.client.ask(pb.GetStatsRequest()))

            assert error.code() == grpc.StatusCode.INTERNAL
            assert "secret" not in str(error.details())
            assert trailing(error)["tq-code"] == "INTERNAL"

    run(scenario())


@pytest.mark.parametrize(
    ("service", "method"), methods(), ids=[f"{service.split('.')[-1]}.{name}" for service, name in methods()]
)
def test_bytes_that_are_no_message_are_an_invalid_argument(service: str, method: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            # A field of length 100 in a message of 3 bytes; GetStats and Work have no field 1 of text, and refuse it too.
            error = await refused(here.client.raw(service, method, b"\x0a\x64\x00"))

            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "are no" in str(error.details())

    run(scenario())


def test_text_that_is_not_utf_8_is_an_invalid_argument() -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(here.client.raw(STACKDUCK, "EnqueueJob", b"\x0a\x02\xff\xfe"))

            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT

    run(scenario())


def test_message_over_the_limit_is_refused_by_its_length() -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(here.client.raw(TASK_QUEUE, "SubmitTask", bytes(17 * 1024 * 1024)))

            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert (await here.client.ask(pb.GetStatsRequest())).pending_count == 0

    run(scenario())


def test_method_that_does_not_exist_is_unimplemented() -> None:
    async def scenario() -> None:
        async with serving() as here:
            error = await refused(here.client.raw(TASK_QUEUE, "SubmitNothing", b""))

            assert error.code() == grpc.StatusCode.UNIMPLEMENTED

    run(scenario())


def test_requests_under_way_are_bounded_in_bytes() -> None:
    async def scenario() -> None:
        from tq.broker.admission import Limits

        backend = MemoryBackend()
        async with serving(backend=backend, limits=Limits(bytes_in_flight_total_max=1_000)) as here:
            error = await refused(here.client.submit(payload=b"x" * 2_000))
            await here.client.submit(payload=b"x" * 100)

            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert trailing(error)["tq-retry-after-ms"] == "1000"

    run(scenario())


def test_counted_by_verb_like_at_every_door() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await here.client.ask(pb.GetStatsRequest())

            assert here.observer.requests[GetStats] == 1

    run(scenario())
