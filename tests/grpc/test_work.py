"""The Work stream: a worker in any language needs nothing else."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.grpc.serving import GRACE_MS, refused, run, serving, trailing
from tq.broker.admission import Limits
from tq.proto import taskqueue_pb2 as pb
from tq.task import Cause, State
from tq.verbs import Draining


def test_task_goes_to_the_worker_and_its_result_to_the_client() -> None:
    async def scenario() -> None:
        async with serving() as here:
            worker = await here.client.worker("echo")
            task_id = await here.client.submit(
                payload=b"in", metadata={"k": "v"}, priority=201, timeout_seconds=2.5
            )
            delivery = await worker.delivery()
            running = await here.client.status(task_id)
            answer = await worker.settle(delivery, result=b"out")
            ended = await here.client.status(task_id)

            assert (delivery.task_id, delivery.payload, delivery.attempt) == (task_id, b"in", 1)
            assert (delivery.task_type, delivery.queue, delivery.priority) == ("echo", "default", 201)
            assert (delivery.timeout_seconds, dict(delivery.metadata)) == (2.5, {"k": "v"})
            assert (running.status, running.worker_id) == (pb.TASK_STATUS_IN_PROGRESS, "w1")
            assert not answer.lost
            assert not answer.HasField("error")
            assert (ended.status, ended.result) == (pb.TASK_STATUS_COMPLETED, b"out")

    run(scenario())


def test_worker_holds_no_more_than_its_capacity() -> None:
    async def scenario() -> None:
        async with serving() as here:
            worker = await here.client.worker("echo", capacity=2)
            for _ in range(5):
                await here.client.submit()
            first, _ = await worker.delivery(), await worker.delivery()
            held = (await here.client.ask(pb.GetStatsRequest())).in_progress_count
            await worker.settle(first)
            await worker.delivery()
            await worker.send(capacity=4)
            await worker.delivery()
            await worker.delivery()

            assert held == 2
            assert (await here.client.ask(pb.GetStatsRequest())).in_progress_count == 4

    run(scenario())


def test_many_settlements_in_one_message_are_answered_once() -> None:
    async def scenario() -> None:
        async with serving() as here:
            ids = {await here.client.submit() for _ in range(50)}
            worker = await here.client.worker("echo", capacity=50)
            await worker.until(lambda: len(worker.deliveries) == 50)
            items = [pb.Settlement(task_id=each.task_id, token=each.token) for each in worker.deliveries]
            answer = await worker.send(settlements=items)
            stats = await here.client.ask(pb.GetStatsRequest())

            assert {each.task_id for each in worker.deliveries} == ids
            assert not answer.lost
            assert (stats.completed_count, stats.in_progress_count) == (50, 0)

    run(scenario())


def test_settlement_with_an_old_token_is_lost_and_changes_nothing() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            worker = await here.client.worker("echo")
            delivery = await worker.delivery()
            delivery.token += 1
            answer = await worker.settle(delivery)

            assert [(lease.task_id, lease.token) for lease in answer.lost] == [(task_id, delivery.token)]
            assert (await here.client.status(task_id)).status == pb.TASK_STATUS_IN_PROGRESS

    run(scenario())


@pytest.mark.parametrize(
    ("cause", "status", "retries"),
    [
        (pb.Settlement.ERROR, pb.TASK_STATUS_FAILED, 1),
        (pb.Settlement.TIMEOUT, pb.TASK_STATUS_FAILED, 1),
        (pb.Settlement.RELEASED, pb.TASK_STATUS_SCHEDULED, 0),
        (pb.Settlement.SNOOZED, pb.TASK_STATUS_SCHEDULED, 0),
        (pb.Settlement.FATAL, pb.TASK_STATUS_DEAD_LETTER, 1),
        (pb.Settlement.CANCELLED, pb.TASK_STATUS_CANCELLED, 0),
    ],
)
def test_cause_decides_what_becomes_of_the_task(
    cause: pb.Settlement.Cause, status: pb.TaskStatus, retries: int
) -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            worker = await here.client.worker("echo")
            await worker.settle(await worker.delivery(), cause=cause, error="why", delay_seconds=60)
            found = await here.client.status(task_id)

            assert (found.status, found.retry_count) == (status, retries)
            assert found.attempts[0].error == "why"

    run(scenario())


def test_numbers_of_causes_and_states_are_those_of_the_vocabulary() -> None:
    assert dict(pb.Settlement.Cause.items()) == {cause.name: cause.value for cause in Cause}
    outside = {name.removeprefix("TASK_STATUS_"): number for name, number in pb.TaskStatus.items() if number}
    # The word outside for RETRYING is `failed`, as at every door.
    assert outside == {state.name.replace("RETRYING", "FAILED"): state.value for state in State}


def test_worker_that_breaks_off_and_comes_back_keeps_what_it_holds() -> None:
    async def scenario() -> None:
        async with serving() as here:
            kept, lost = await here.client.submit(), await here.client.submit()
            worker = await here.client.worker("echo", capacity=2)
            first, second = await worker.delivery(), await worker.delivery()
            worker.call.cancel()
            again = here.client.work()
            again.session_id = worker.session_id
            holds = [pb.Lease(task_id=first.task_id, token=first.token), pb.Lease(task_id=lost, token=999)]
            answer = await again.register("echo", capacity=2, holds=holds)
            repeated = await again.delivery()
            await again.settle(first)

            assert answer.registered.grace_seconds == GRACE_MS / 1000
            assert [lease.token for lease in answer.lost] == [999]
            assert (repeated.task_id, repeated.token) == (second.task_id, second.token)
            assert (await here.client.status(kept)).status == pb.TASK_STATUS_COMPLETED

    run(scenario())


def test_worker_that_does_not_come_back_loses_its_tasks_after_the_grace() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            worker = await here.client.worker("echo")
            await worker.delivery()
            worker.call.cancel()
            await here.until(lambda: here.door.lasting_count == 0)
            await here.pass_time(GRACE_MS + 1)
            other = await here.client.worker("echo")
            delivery = await other.delivery()

            assert (delivery.task_id, delivery.attempt) == (task_id, 2)
            assert (await here.client.status(task_id)).retry_count == 0

    run(scenario())


def test_drained_worker_gets_nothing_new_and_hands_back_uncharged() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            worker = await here.client.worker("echo", capacity=2)
            await worker.delivery()
            await worker.send(capacity=0)
            await here.client.submit()
            await worker.send(deregister=True)
            await worker.call.done_writing()
            status = await worker.read_to_end()
            found = await here.client.status(task_id)

            assert status == grpc.StatusCode.OK
            assert worker.deliveries == []
            assert (found.status, found.retry_count) == (pb.TASK_STATUS_PENDING, 0)

    run(scenario())


def test_what_was_asked_for_is_answered_after_the_worker_closed_its_side() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await here.client.submit()
            worker = await here.client.worker("echo")
            delivery = await worker.delivery()
            item = pb.Settlement(task_id=delivery.task_id, token=delivery.token)
            await worker.call.write(pb.WorkRequest(request_id=77, settlements=[item]))
            await worker.call.done_writing()

            assert not (await worker.answer(77)).HasField("error")
            assert await worker.read_to_end() == grpc.StatusCode.OK

    run(scenario())


def test_heartbeat_carries_progress_and_an_extension_moves_the_deadline() -> None:
    async def scenario() -> None:
        async with serving() as here:
            task_id = await here.client.submit()
            worker = await here.client.worker("echo")
            delivery = await worker.delivery()
            told = pb.TaskProgress(task_id=task_id, fraction=0.25, text="a quarter")
            beat = await worker.send(heartbeat=pb.Heartbeat(running=1, progress=[told]))
            longer = pb.Extension(task_id=task_id, token=delivery.token, seconds=3_600)
            stale = pb.Extension(task_id=task_id, token=delivery.token + 1, seconds=3_600)
            extended = await worker.send(extensions=[longer, stale])
            progress = (await here.client.status(task_id)).progress

            assert not beat.HasField("error")
            assert [lease.token for lease in extended.lost] == [delivery.token + 1]
            assert (progress.fraction, progress.text) == (0.25, "a quarter")

    run(scenario())


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (pb.WorkRequest(register=pb.Register(session_id="x")), "BAD_REQUEST", "register.session_id"),
        (pb.WorkRequest(settlements=[pb.Settlement(task_id="x")]), "BAD_REQUEST", "settlements[0].task_id"),
        (pb.WorkRequest(extensions=[pb.Extension(task_id="x")]), "BAD_REQUEST", "extensions[0].task_id"),
        (pb.WorkRequest(capacity=10_001), "BAD_REQUEST", "capacity"),
        (pb.WorkRequest(capacity=1), "LEASE_LOST", "register again"),
        (pb.WorkRequest(heartbeat=pb.Heartbeat()), "LEASE_LOST", "register again"),
        (pb.WorkRequest(deregister=True), "LEASE_LOST", "register again"),
    ],
    ids=["session", "settlement", "extension", "capacity", "unregistered", "silent", "gone"],
)
def test_part_that_fails_is_told_and_the_stream_goes_on(
    request_: pb.WorkRequest, code: str, words: str
) -> None:
    async def scenario() -> None:
        async with serving() as here:
            worker = here.client.work()
            await worker.call.write(request_)  # without an id: errors are told all the same
            answer = await worker.answer(0)
            await worker.register("echo", capacity=1)
            await here.client.submit()
            await worker.delivery()

            assert answer.error.code == code
            assert answer.error.outcome == "rejected"
            assert words in answer.error.text

    run(scenario())


def test_request_without_an_id_is_answered_only_when_there_is_something_to_tell() -> None:
    async def scenario() -> None:
        async with serving() as here:
            worker = await here.client.worker("echo")
            await worker.call.write(pb.WorkRequest(heartbeat=pb.Heartbeat()))
            await worker.send(heartbeat=pb.Heartbeat())

            assert worker.answers == {}

    run(scenario())


def test_worker_that_does_not_read_is_cut_and_its_tasks_go_back() -> None:
    async def scenario() -> None:
        limits = Limits(unread_ms=2_000)  # the other one, who reads 10 MB, must not be slow enough for it
        async with serving(limits=limits) as here:
            for _ in range(100):
                await here.client.submit(payload=b"x" * 100_000)
            stuck = here.connect()
            worker = stuck.work()
            register = pb.Register(
                session_id=worker.session_id, worker_id="stuck", task_types=["echo"], capacity=100
            )
            await worker.call.write(pb.WorkRequest(register=register))

            await here.until(lambda: here.door.lasting_count == 1)
            await here.until(lambda: here.door.lasting_count == 0)
            await here.pass_time(GRACE_MS + 1)
            other = await here.client.worker("echo", capacity=100)
            await other.until(lambda: len(other.deliveries) == 100)
            assert here.observer.rejections["BROKER_UNAVAILABLE"] == 1

    run(scenario())


def test_large_tasks_arrive_in_messages_that_every_client_can_read() -> None:
    async def scenario() -> None:
        async with serving() as here:
            sizes = [900_000] * 20 + [10] * 3_000
            tasks = [pb.TaskSpec(task_type="echo", payload=b"x" * size) for size in sizes[:20]]
            for task in tasks:
                await here.client.ask(pb.SubmitTaskRequest(task=task))
            small = [pb.TaskSpec(task_type="echo", payload=b"x" * size) for size in sizes[20:]]
            await here.client.ask(pb.SubmitTasksRequest(tasks=small))
            worker = await here.client.worker("echo", capacity=5_000)
            await worker.until(lambda: len(worker.deliveries) == len(sizes))

            assert [len(each.payload) for each in worker.deliveries] == sizes

    run(scenario())


def test_worker_is_told_that_the_broker_drains_and_then_let_go() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await here.client.submit()
            worker = await here.client.worker("echo")
            delivery = await worker.delivery()
            here.door.stop_accepting()
            here.service.drain()
            here.door.announce(Draining(2_000, "the broker is stopping"))
            await worker.until(lambda: worker.draining)
            answer = await worker.settle(delivery)
            closing = asyncio.ensure_future(here.door.close(1_000))
            status = await worker.read_to_end()
            await closing

            assert worker.draining[0].retry_after_ms == 2_000
            assert not answer.HasField("error")
            assert status == grpc.StatusCode.UNAVAILABLE

    run(scenario())


def test_stream_that_begins_while_the_door_closes_is_unavailable() -> None:
    async def scenario() -> None:
        async with serving() as here:
            await here.client.ask(pb.GetStatsRequest())
            await here.door.close(0)
            error = await refused(here.client.ask(pb.GetStatsRequest()))

            assert error.code() == grpc.StatusCode.UNAVAILABLE
            assert trailing(error) == {}

    run(scenario())
