"""What the service refuses because of who asks and how often."""

from __future__ import annotations

import asyncio

from tests.access.keyring import key, keyring, verdict_of
from tests.doors.double import MemoryBackend
from tests.doors.serving import run, serving
from tq.broker.access import Access, OpenAccess, Permission, Principal, Verdict, principal, prober
from tq.broker.admission import Admission, Limits
from tq.broker.observe import Observer
from tq.broker.rates import Quota, Rates
from tq.broker.service import Caller, Service, Silent
from tq.clock import ManualClock
from tq.errors import AuthenticationFailed, BrokerUnavailable, PermissionDenied, RateLimited, TqError
from tq.ids import new_id
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived
from tq.task import TaskSpec
from tq.verbs import Done, GetTask, Heartbeat, Ping, Reply, Request, Submit, Submitted


def make(
    access: Access | None = None, rates: Rates | None = None, depth: int = 100
) -> tuple[Service, MemoryBackend]:
    def never(error: BaseException) -> None:
        raise AssertionError("the broker would stop") from error

    backend = MemoryBackend()
    admission = Admission(Limits(queue_depth_max=depth))
    return Service(backend, access or OpenAccess(), admission, Observer(), never, rates), backend


def ask(service: Service, caller: Caller, request: Request) -> Reply | TqError:
    answers: list[Reply | TqError] = []
    service.handle(caller, request, answers.append)
    (answer,) = answers
    return answer


def caller(rate: float | None = None, *permissions: Permission, address: str = "") -> Caller:
    return Caller(Silent(), principal("ci", permissions or (Permission.ADMIN,), rate), address)


def submit(count: int = 1) -> Submit:
    return Submit(tuple(TaskSpec(new_id(), "t") for _ in range(count)))


def test_a_request_beyond_the_rate_never_reaches_the_backend() -> None:
    service, backend = make(rates=Rates(ManualClock().monotonic_ms))
    who = caller(2)

    answers = [ask(service, who, submit()) for _ in range(3)]

    assert [type(each) for each in answers] == [Submitted, Submitted, RateLimited]
    assert len(backend.seen) == 2


def test_what_is_not_permitted_is_told_so_and_costs_nothing() -> None:
    service, _ = make(rates=Rates(ManualClock().monotonic_ms))
    who = caller(1, Permission.READ_TASKS)

    for _ in range(3):
        assert isinstance(ask(service, who, submit()), PermissionDenied)
    assert service.quota(who) == Quota(1, 1, 0)


def test_a_full_queue_is_no_way_around_the_rate() -> None:
    service, _ = make(rates=Rates(ManualClock().monotonic_ms), depth=1)
    who = caller(3)

    codes = [answer.code for _ in range(5) if isinstance(answer := ask(service, who, submit()), TqError)]

    assert codes == ["QUEUE_DEPTH_EXCEEDED"] * 2 + ["RATE_LIMIT_EXCEEDED"] * 2


def test_a_throttled_worker_keeps_its_leases() -> None:
    service, _ = make(rates=Rates(ManualClock().monotonic_ms))
    who = caller(1)
    while not isinstance(ask(service, who, GetTask(new_id())), RateLimited):
        pass

    assert ask(service, who, Heartbeat()) == Done()
    assert ask(service, who, Ping()) == Done()


def test_without_keys_an_address_has_the_limit_that_is_set() -> None:
    service, _ = make(rates=Rates(ManualClock().monotonic_ms, per_address=1))
    one, other = caller(address="10.0.0.1"), caller(address="10.0.0.2")

    assert isinstance(ask(service, one, submit()), Submitted)
    assert isinstance(ask(service, one, submit()), RateLimited)
    assert isinstance(ask(service, other, submit()), Submitted)
    assert service.quota(one) == Quota(1, 0, 1000)


def test_without_limits_there_is_no_quota() -> None:
    assert make()[0].quota(caller(5)) is None


def test_a_caller_whose_key_was_withdrawn_is_refused_from_then_on() -> None:
    async def scenario() -> None:
        kept = key("kept", "one")
        access = keyring(kept, key("gone", "two"))
        service, backend = make(access)
        callers = []
        for token in ("one", "two"):
            found = await verdict_of(access, token)
            assert isinstance(found, Principal)
            callers.append(Caller(Silent(), found))
        assert [type(ask(service, who, submit())) for who in callers] == [Submitted, Submitted]

        access.replace([kept])

        assert [service.knows(who) for who in callers] == [True, False]
        answers = [ask(service, who, submit()) for who in callers]
        assert [type(each) for each in answers] == [Submitted, AuthenticationFailed]
        assert len(backend.tasks) == 3

    run(scenario())


def test_a_connection_whose_key_is_not_looked_at_in_time_may_try_again() -> None:
    class Busy(OpenAccess):
        is_open = False

        def authenticate(self, token: str, verdict: Verdict, address: str = "") -> None:
            return

    async def scenario() -> None:
        async with serving(Limits(handshake_ms=60), Busy()) as here:
            reader, writer = await here.stranger()
            core = Connection(Role.PEER)
            core.start_hello("client", "a-key")
            writer.write(core.data_to_send())

            (closed,) = core.receive(await reader.read(-1))

            assert isinstance(closed, CloseReceived)
            assert isinstance(closed.error, BrokerUnavailable)
            assert closed.error.retry_after_ms > 0

    run(scenario())


def test_health_is_answered_to_those_without_a_key_and_nothing_else() -> None:
    async def scenario() -> None:
        service, _ = make(keyring(key("ops", "one")))
        probe = Caller(Silent(), prober())

        assert ask(service, probe, Ping()) == Done()
        assert isinstance(ask(service, probe, GetTask(new_id())), PermissionDenied)

    run(scenario())


def test_a_broker_with_keys_stops_like_any_other() -> None:
    async def scenario() -> None:
        service, _ = make(keyring(key("ops", "one")))
        await asyncio.sleep(0)
        service.drain()

        assert isinstance(ask(service, Caller(Silent(), prober()), Ping()), Done)
        assert isinstance(ask(service, caller(), submit()), BrokerUnavailable)

    run(scenario())
