"""The TCP door at work: hello, requests, answers, pushes."""

from __future__ import annotations

import asyncio

import pytest

from tests.doors.serving import run, serving
from tq.broker.access import Access, Permission, Principal, Verdict, principal
from tq.broker.admission import Limits
from tq.errors import (
    AuthenticationFailed,
    BadRequest,
    BrokerUnavailable,
    PermissionDenied,
    QueueFull,
    TaskNotFound,
)
from tq.ids import new_id
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived, ReplyReceived, Welcomed
from tq.task import COMPLETED, TaskSpec, TaskView
from tq.verbs import (
    Cancel,
    Deliver,
    Done,
    Draining,
    GetTask,
    Ping,
    Register,
    Registered,
    Settle,
    SettleItem,
    Submit,
    Submitted,
)

DRAINING = Draining(1_000, "stopping")


def submit(count: int = 1, payload: bytes = b"p") -> Submit:
    return Submit(tuple(TaskSpec(new_id(), "t", payload) for _ in range(count)))


def test_a_task_goes_from_client_to_worker_and_its_result_back() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client, worker = await here.dial(), await here.dial("worker")
            order = submit()
            assert isinstance(await client.ask(order), Submitted)

            register = Register(new_id(), "w1", ("default",), ("t",), 1)
            assert isinstance(await worker.ask(register), Registered)
            pushed = await worker.next_push()
            assert isinstance(pushed, Deliver)
            (delivery,) = pushed.tasks
            await worker.ask(Settle((SettleItem(delivery.task_id, delivery.token, result=b"r"),)))

            view = await client.ask(GetTask(order.tasks[0].task_id))
            assert isinstance(view, TaskView)
            assert (view.state, view.result) == (COMPLETED, b"r")

    run(scenario())


def test_the_hello_is_answered_with_the_name_of_the_node() -> None:
    async def scenario() -> None:
        async with serving() as here:
            reader, writer = await here.stranger()
            core = Connection(Role.PEER)
            core.start_hello("client", "", "me")
            writer.write(core.data_to_send())
            (welcomed,) = core.receive(await reader.read(65_536))
            assert isinstance(welcomed, Welcomed)
            assert welcomed.node_id == "node1"
            writer.close()

    run(scenario())


def test_answers_may_come_in_another_order_than_requests() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial()
            here.backend.hold = True
            missing = client.send(GetTask(new_id()))
            ping = client.send(Ping())
            await here.until_held(2)

            here.backend.release(newest_first=True)

            assert (await client.next(ReplyReceived)).request_id == ping
            assert isinstance(await client.reply_to(missing), TaskNotFound)

    run(scenario())


def test_answers_of_one_loop_turn_leave_in_one_write() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial()
            here.backend.hold = True
            for _ in range(100):
                client.send(Ping())
            await here.until_held(100)

            here.backend.release()

            data = await client.reader.read(1024 * 1024)
            assert len(client.core.receive(data)) == 100

    run(scenario())


def test_requests_that_arrive_with_the_welcome_still_under_way_are_answered() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial()
            ids = [client.core.send_request(Ping()) for _ in range(3)]
            client.flush()

            assert [await client.reply_to(request_id) for request_id in ids] == [Done()] * 3

    run(scenario())


def test_an_invalid_request_is_refused_and_the_connection_lives_on() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial()

            assert isinstance(await client.ask(GetTask(b"an id has 16 bytes")), BadRequest)
            assert await client.ask(Ping()) == Done()
            assert here.observer.rejections["BAD_REQUEST"] == 1

    run(scenario())


def test_a_submit_over_the_queue_depth_is_refused_with_a_time_to_try_again() -> None:
    async def scenario() -> None:
        async with serving(Limits(queue_depth_max=3)) as here:
            client = await here.dial()
            assert isinstance(await client.ask(submit(3)), Submitted)

            refusal = await client.ask(submit(1))

            assert isinstance(refusal, QueueFull)
            assert refusal.retry_after_ms > 0
            assert here.observer.rejections["QUEUE_DEPTH_EXCEEDED"] == 1

    run(scenario())


class OneKey(Access):
    """Knows one key, and takes its time as a check of bcrypt does: `decide` gives the verdicts."""

    is_open = False

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Verdict]] = []

    def authenticate(self, token: str, verdict: Verdict, address: str = "") -> None:
        self.waiting.append((token, verdict))

    def knows(self, who: Principal) -> bool:
        return True

    def decide(self) -> None:
        for token, verdict in self.waiting:
            known: Principal | AuthenticationFailed = AuthenticationFailed("no such key")
            if token == "right":
                known = principal("ci", [Permission.SUBMIT_TASKS])
            verdict(known)
        self.waiting = []


def test_a_key_decides_what_a_connection_may_do() -> None:
    async def scenario() -> None:
        access = OneKey()
        async with serving(access=access) as here:
            dialling = asyncio.ensure_future(here.dial(token="right"))
            await here.until(lambda: access.waiting)
            access.decide()
            client = await dialling

            assert isinstance(await client.ask(submit()), Submitted)
            assert isinstance(await client.ask(Cancel(new_id())), PermissionDenied)

    run(scenario())


def test_an_unknown_key_is_told_so_and_the_connection_ends() -> None:
    async def scenario() -> None:
        access = OneKey()
        async with serving(access=access) as here:
            reader, writer = await here.stranger()
            core = Connection(Role.PEER)
            core.start_hello("client", "wrong")
            writer.write(core.data_to_send())
            await here.until(lambda: access.waiting)
            access.decide()

            (closed,) = core.receive(await reader.read(-1))
            assert isinstance(closed, CloseReceived)
            assert isinstance(closed.error, AuthenticationFailed)
            assert here.backend.seen == []
            writer.close()

    run(scenario())


def test_a_verdict_for_a_peer_that_has_left_changes_nothing() -> None:
    async def scenario() -> None:
        access = OneKey()
        async with serving(access=access) as here:
            _, writer = await here.stranger()
            core = Connection(Role.PEER)
            core.start_hello("client", "right")
            writer.write(core.data_to_send())
            await here.until(lambda: access.waiting)
            writer.transport.abort()
            # While a token is checked the socket is not read, so the door learns of the end with its answer.
            access.decide()
            await here.until(lambda: here.observer.connections_open == 0)

    run(scenario())


@pytest.mark.parametrize("leave", ["close", "abort"])
def test_the_backend_hears_once_that_a_peer_is_gone(leave: str) -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial("worker")
            await client.ask(Register(new_id(), "w1", ("default",), ("t",), 1))
            if leave == "close":
                client.writer.close()
            else:
                client.writer.transport.abort()
            await here.until(lambda: here.observer.connections_open == 0)
            await here.until(lambda: not here.door.connections_held)

            assert len(here.backend.gone) == 1
            here.backend.gone[0].push(Deliver(()))  # swallowed

    run(scenario())


def test_a_peer_that_never_said_hello_is_none_of_the_backends_business() -> None:
    async def scenario() -> None:
        async with serving() as here:
            _, writer = await here.stranger()
            await here.until(lambda: here.observer.connections_open == 1)
            writer.close()
            await here.until(lambda: not here.door.connections_held)

            assert here.backend.gone == []

    run(scenario())


def test_a_peer_that_says_goodbye_is_let_go() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial()
            client.core.send_close()
            client.flush()

            await client.read_to_end()

            assert here.observer.connections_closed["peer_closed"] == 1
            assert len(here.backend.gone) == 1

    run(scenario())


def test_an_answer_for_a_peer_that_has_left_is_dropped() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial()
            here.backend.hold = True
            client.send(submit())
            await here.until_held(1)
            client.writer.transport.abort()
            await here.until(lambda: not here.door.connections_held)

            here.backend.release()

            assert len(here.backend.tasks) == 1

    run(scenario())


def test_a_stop_announces_itself_answers_what_is_under_way_and_says_goodbye() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial()
            here.backend.hold = True
            under_way = client.send(submit())
            await here.until_held(1)

            here.door.stop_accepting()
            here.service.drain()
            here.door.announce(DRAINING)
            refused = client.send(submit())
            assert await client.next_push() == DRAINING
            assert isinstance(await client.reply_to(refused), BrokerUnavailable)
            assert not await here.door.answered(10)
            waiting = asyncio.ensure_future(here.door.answered(10_000))
            await asyncio.sleep(0)
            here.backend.release()
            assert await waiting
            assert isinstance(await client.reply_to(under_way), Submitted)

            here.door.say_goodbye(BrokerUnavailable("the broker stopped"))
            emptied = asyncio.ensure_future(here.door.emptied(10_000))
            error = await client.farewell()
            assert isinstance(error, BrokerUnavailable)
            await client.hang_up()
            assert await emptied
            with pytest.raises(ConnectionError):
                await here.stranger()

    run(scenario())


def test_a_peer_that_does_not_hang_up_cannot_hold_up_a_stop() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial()

            here.door.say_goodbye(BrokerUnavailable("the broker stopped"))
            assert not await here.door.emptied(20)
            await here.door.cut()

            assert not here.door.connections_held
            await client.hang_up()

    run(scenario())
