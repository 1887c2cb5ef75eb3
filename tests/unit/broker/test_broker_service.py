"""The one way in."""

from __future__ import annotations

import asyncio

import pytest

from tests.doors.double import MemoryBackend
from tq.broker.access import OpenAccess, Permission, principal
from tq.broker.admission import Admission, Limits
from tq.broker.backend import Answer, Peer
from tq.broker.observe import Observer
from tq.broker.service import Caller, Service, Silent
from tq.errors import BrokerUnavailable, PermissionDenied, QueueFull, TaskNotFound, TqError
from tq.ids import new_id
from tq.task import TaskSpec
from tq.verbs import Cancel, Done, GetTask, Heartbeat, Ping, Reply, Request, Submit, Submitted

ROOT = Caller(Silent(), principal("root", [Permission.ADMIN]))


def service(backend: MemoryBackend, *, depth: int = 100) -> Service:
    return Service(backend, OpenAccess(), Admission(Limits(queue_depth_max=depth)), Observer(), _never)


def _never(error: BaseException) -> None:
    raise AssertionError("the broker would stop") from error


def ask(target: Service, request: Request, caller: Caller = ROOT) -> Reply | TqError:
    answers: list[Reply | TqError] = []
    target.handle(caller, request, answers.append)
    (answer,) = answers
    return answer


def submit(count: int = 1) -> Submit:
    return Submit(tuple(TaskSpec(new_id(), "t") for _ in range(count)))


def test_a_permitted_request_reaches_the_backend_and_its_reply_comes_back() -> None:
    backend = MemoryBackend()

    assert isinstance(ask(service(backend), submit()), Submitted)
    assert len(backend.tasks) == 1


def test_a_verb_the_caller_may_not_send_never_reaches_the_backend() -> None:
    backend = MemoryBackend()
    reader = Caller(Silent(), principal("reader", [Permission.READ_TASKS]))

    assert isinstance(ask(service(backend), Cancel(new_id()), reader), PermissionDenied)
    assert backend.seen == []


def test_a_submit_over_the_depth_is_refused_whole_while_other_verbs_pass() -> None:
    backend = MemoryBackend()
    target = service(backend, depth=3)
    ask(target, submit(2))

    assert isinstance(ask(target, submit(2)), QueueFull)
    assert len(backend.tasks) == 2
    assert isinstance(ask(target, submit(1)), Submitted)
    assert ask(target, Ping()) == Done()


def test_a_task_that_exists_is_found_again_though_the_queue_is_full() -> None:
    target = service(MemoryBackend(), depth=3)
    accepted = submit(3)
    ask(target, accepted)

    assert isinstance(ask(target, accepted), Submitted)
    assert isinstance(ask(target, Submit((*accepted.tasks[:2], *submit(1).tasks))), QueueFull)


def test_while_draining_new_work_is_put_off_and_running_work_may_end() -> None:
    backend = MemoryBackend()
    target = service(backend)
    target.drain()

    refusal = ask(target, submit())
    assert isinstance(refusal, BrokerUnavailable)
    assert refusal.retry_after_ms > 0
    assert ask(target, Heartbeat()) == Done()


def test_once_closed_nothing_reaches_the_backend() -> None:
    backend = MemoryBackend()
    target = service(backend)
    target.close()
    target.drain()

    assert isinstance(ask(target, Heartbeat()), BrokerUnavailable)
    target.disconnected(Silent())
    assert backend.seen == []
    assert backend.gone == []


def test_call_gives_the_reply_or_raises_the_error() -> None:
    async def scenario() -> None:
        target = service(MemoryBackend())
        assert await target.call(ROOT, Ping()) == Done()
        with pytest.raises(TaskNotFound):
            await target.call(ROOT, GetTask(new_id()))

    asyncio.run(scenario())


def test_an_answer_after_the_caller_gave_up_is_dropped() -> None:
    async def scenario() -> None:
        backend = MemoryBackend()
        backend.hold = True
        call = asyncio.ensure_future(service(backend).call(ROOT, Ping()))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        backend.release()

    asyncio.run(scenario())


def test_requests_are_counted_by_verb() -> None:
    observer = Observer()
    target = Service(MemoryBackend(), OpenAccess(), Admission(Limits()), observer, _never)

    for _ in range(3):
        ask(target, Ping())

    assert observer.requests == {Ping: 3}


def test_a_backend_that_raises_stops_the_broker() -> None:
    class Broken(MemoryBackend):
        def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
            raise AssertionError("a leased task is in no session")

    fatal: list[BaseException] = []
    target = Service(Broken(), OpenAccess(), Admission(Limits()), Observer(), fatal.append)

    target.handle(ROOT, Ping(), lambda reply: None)

    assert [str(error) for error in fatal] == ["a leased task is in no session"]
