"""The asyncio link and client alone: what goes out in one write, back-pressure, cancelling, many at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from tests.client.fake_broker import WAIT_SECONDS, FakeBroker, Fault
from tq import ids, verbs
from tq.client.aio import AsyncClient
from tq.client.link import Link
from tq.client.task import Task
from tq.errors import (
    AuthenticationFailed,
    BadRequest,
    BrokerUnavailable,
    OutcomeUnknown,
    PayloadTooLarge,
    QueueFull,
    TqError,
)
from tq.protocol import limits
from tq.task import TaskSpec, TaskView
from tq.verbs import Reply

Scenario = Callable[[FakeBroker], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Runs a scenario against a broker of its own, on either loop, and fails when it takes too long."""

    def run_it(scenario: Scenario) -> None:
        with FakeBroker() as broker:

            async def bounded() -> None:
                async with asyncio.timeout(WAIT_SECONDS):
                    await scenario(broker)

            (uvloop.run if request.param == "uvloop" else asyncio.run)(bounded())

    return run_it


Run = Callable[[Scenario], None]


def outcome_of(future: asyncio.Future[Reply]) -> Reply | BaseException:
    return future.exception() or future.result()


def test_requests_of_one_turn_leave_in_one_write_and_are_answered_each_its_own(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        link = await Link.open(broker.address)
        broker.plan(verbs.GetStats, QueueFull("not now", retry_after_ms=5))
        futures = [link.request(each) for each in (verbs.GetHealth(), verbs.GetStats(), verbs.Ping())]
        await asyncio.wait(futures)
        assert isinstance(futures[0].result(), verbs.Health)
        assert isinstance(futures[1].exception(), QueueFull)
        assert futures[2].result() == verbs.Done()
        assert broker.chunks == [3]
        link.close()
        await link.wait_closed()

    run(scenario)


def test_concurrent_submits_of_one_turn_travel_in_one_request(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        async with AsyncClient(broker.address) as client:
            await client.ping()
            task_ids = await asyncio.gather(*[client.submit_task("mail") for _ in range(50)])
            assert [ids.to_text(each) for each in broker.order] == task_ids
        assert broker.count(verbs.Submit) == 1

    run(scenario)


def test_request_after_submits_of_the_same_turn_arrives_after_them(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        link = await Link.open(broker.address)
        spec = TaskSpec(bytes(16), "mail", b"")
        futures = [link.request(each) for each in (verbs.Submit((spec,)), verbs.GetTask(spec.task_id))]
        await asyncio.wait(futures)
        assert isinstance(futures[1].result(), TaskView)
        link.close()
        await link.wait_closed()

    run(scenario)


def test_submit_with_another_time_limit_does_not_travel_with_the_others(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        async with AsyncClient(broker.address) as client:
            await client.ping()
            await asyncio.gather(
                client.submit_task("mail", call_timeout=30),
                client.submit_task("mail", call_timeout=300),
                client.submit_task("mail", call_timeout=300),
            )
        assert [len(each.tasks) for each in broker.requests if isinstance(each, verbs.Submit)] == [1, 2]

    run(scenario)


@pytest.mark.parametrize("refusal", [BadRequest, QueueFull], ids=lambda kind: kind.__name__)
def test_submits_refused_together_are_asked_again_each_alone(run: Run, refusal: type[TqError]) -> None:
    async def scenario(broker: FakeBroker) -> None:
        async with AsyncClient(broker.address) as client:
            await client.ping()
            # The three together, and then the second of them: only that one hears of it.
            broker.plan(verbs.Submit, refusal("no"), None, BadRequest("not this one"))
            done = await asyncio.gather(
                *[client.submit_task("mail") for _ in range(3)], return_exceptions=True
            )
            assert [isinstance(each, str) for each in done] == [True, False, True]
            assert isinstance(done[1], BadRequest) and "not this one" in done[1].text
            assert [ids.to_text(each) for each in broker.order] == [done[0], done[2]]
        assert broker.count(verbs.Submit) == 4

    run(scenario)


def test_submits_that_left_together_each_learn_that_their_outcome_is_unknown(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        async with AsyncClient(broker.address) as client:
            await client.ping()
            broker.plan(verbs.Submit, *[Fault.HOLD] * 9)
            done = await asyncio.gather(
                *[client.submit_task("mail", call_timeout=0.2) for _ in range(3)], return_exceptions=True
            )
            assert [type(each) for each in done] == [OutcomeUnknown] * 3
            assert len({str(each) for each in done}) == 3, "each names its own task"

    run(scenario)


def test_waits_begun_in_one_turn_share_one_watch(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        async with AsyncClient(broker.address) as client:
            task_ids = await client.submit_tasks([Task("mail")] * 100)
            waits = [asyncio.create_task(client.wait_for_result(each)) for each in task_ids]
            await asyncio.to_thread(broker.wait_until, lambda: broker.count(verbs.Watch))
            for task_id in task_ids:
                await asyncio.to_thread(broker.finish, ids.from_text(task_id), result=task_id.encode())
            assert await asyncio.gather(*waits) == [task_id.encode() for task_id in task_ids]
        assert broker.count(verbs.Watch) == 1

    run(scenario)


def test_lost_connection_settles_every_waiter_by_whether_its_bytes_had_left(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        reasons: list[TqError] = []
        link = await Link.open(broker.address, on_closed=reasons.append)
        broker.plan(verbs.GetStats, *[Fault.HOLD] * 100)
        sent = [link.request(verbs.GetStats()) for _ in range(100)]
        await asyncio.to_thread(broker.wait_until, lambda: broker.count(verbs.GetStats) == 100)
        unsent = link.request(verbs.GetStats())
        link.close()
        late = link.request(verbs.GetStats())
        await asyncio.wait([*sent, unsent, late])
        assert {type(outcome_of(each)) for each in sent} == {OutcomeUnknown}
        assert isinstance(unsent.exception(), BrokerUnavailable)
        assert isinstance(late.exception(), BrokerUnavailable)
        assert len(reasons) == 1 and not link.is_open
        await link.wait_closed()

    run(scenario)


def test_broker_that_hangs_up_tells_the_owner_once_after_the_waiters(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        closed = asyncio.Event()
        seen: list[bool] = []
        broker.plan(verbs.Ping, Fault.CUT_BEFORE)

        def note(_: TqError) -> None:
            seen.append(future.done())
            closed.set()

        link = await Link.open(broker.address, on_closed=note)
        future = link.request(verbs.Ping())
        await closed.wait()
        assert seen == [True] and isinstance(future.exception(), OutcomeUnknown)

    run(scenario)


def test_refused_hello_raises_and_tells_no_owner(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        broker.refuse_hello = AuthenticationFailed("no")
        reasons: list[TqError] = []
        with pytest.raises(AuthenticationFailed):
            await Link.open(broker.address, role="worker", token="t", name="n", on_closed=reasons.append)
        assert not reasons and broker.hellos[0].role == "worker"

    run(scenario)


def test_connection_whose_owner_gave_up_in_the_turn_of_the_welcome_is_closed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadline that fell into that turn left a connection open that nobody had."""

    async def scenario(broker: FakeBroker) -> None:
        received = Link.data_received

        def receive_and_give_up(link: Link, data: bytes) -> None:
            received(link, data)
            opening.cancel()

        monkeypatch.setattr(Link, "data_received", receive_and_give_up)
        opening = asyncio.create_task(Link.open(broker.address))
        with pytest.raises(asyncio.CancelledError):
            await opening
        await asyncio.to_thread(broker.wait_until, lambda: broker.hellos and not broker.peers)

    run(scenario)


def test_pushes_reach_the_owner(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        came: asyncio.Future[verbs.Push] = asyncio.get_running_loop().create_future()
        link = await Link.open(broker.address, on_push=came.set_result)
        push = verbs.Abort(((b"1" * 16, 7, "cancelled"),))
        await asyncio.to_thread(broker.push, push)
        assert await came == push
        assert link.is_usable and link.welcomed is not None and link.welcomed.node_id == "node1"
        link.close()

    run(scenario)


def test_request_past_its_deadline_is_unknown_and_the_others_go_on(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        link = await Link.open(broker.address)
        broker.plan(verbs.GetStats, Fault.HOLD, Fault.HOLD)
        now = asyncio.get_running_loop().time()
        long, short = link.request(verbs.GetStats(), now + 9), link.request(verbs.GetStats(), now + 0.05)
        await asyncio.wait([short])
        assert isinstance(short.exception(), OutcomeUnknown) and not long.done()
        await asyncio.to_thread(broker.answer_held)
        assert isinstance(await long, verbs.Stats)
        assert link.in_flight_count == 0
        link.close()

    run(scenario)


def test_request_too_large_for_a_frame_is_refused_and_nothing_else_suffers(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        link = await Link.open(broker.address)
        spec = TaskSpec(b"1" * 16, "t", bytes(limits.FRAME_BYTES_MAX))
        with pytest.raises(PayloadTooLarge):
            await link.request(verbs.Submit((spec,)))
        assert await link.request(verbs.Ping()) == verbs.Done()
        link.close()

    run(scenario)


def test_callers_beyond_what_may_be_in_flight_are_held_back_and_all_are_answered(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        async with AsyncClient(broker.address) as client:
            count = limits.REQUESTS_MAX + 500
            await asyncio.gather(*[client.ping() for _ in range(count)])
            assert broker.count(verbs.Ping) == count
            assert len(broker.hellos) == 1

    run(scenario)


def test_full_link_refuses_after_the_callers_deadline_and_sends_nothing(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        link = await Link.open(broker.address)
        link.pause_writing()
        with pytest.raises(BrokerUnavailable, match="too slowly"):
            await link.call(verbs.Ping(), asyncio.get_running_loop().time() + 0.05)
        held_back = asyncio.ensure_future(link.call(verbs.Ping()))
        await asyncio.sleep(0)
        link.resume_writing()
        assert await held_back == verbs.Done()
        assert broker.count(verbs.Ping) == 1
        link.close()

    run(scenario)


def test_retired_link_answers_what_is_in_flight_and_then_closes(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        link = await Link.open(broker.address)
        broker.plan(verbs.GetStats, Fault.HOLD)
        future = link.request(verbs.GetStats())
        link.retire()
        assert link.is_open
        await asyncio.to_thread(broker.wait_until, lambda: broker.held)
        await asyncio.to_thread(broker.answer_held)
        assert isinstance(await future, verbs.Stats)
        await link.wait_closed()
        assert not link.is_open

    run(scenario)


def test_cancelled_wait_leaves_nothing_behind_and_the_task_can_be_waited_for_again(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        link = await Link.open(broker.address)
        await link.request(verbs.Submit((TaskSpec(b"1" * 16, "t"),)))
        found: dict[bytes, TaskView] = {}
        wait = asyncio.create_task(link.watch([b"1" * 16], found))
        await asyncio.to_thread(broker.wait_until, lambda: broker.count(verbs.Watch))
        wait.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await wait
        again = asyncio.create_task(link.watch([b"1" * 16], found))
        await asyncio.to_thread(broker.wait_until, lambda: broker.count(verbs.Watch) == 2)
        await asyncio.to_thread(broker.finish, b"1" * 16, result=b"r")
        await again
        assert found[b"1" * 16].result == b"r"
        link.close()

    run(scenario)


def test_cancelled_caller_that_was_connecting_does_not_take_the_others_down(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        async with AsyncClient(broker.address) as client:
            calls = [asyncio.create_task(client.ping()) for _ in range(10)]
            await asyncio.sleep(0)
            calls[0].cancel()
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError) and done[1:] == [None] * 9

    run(scenario)


def test_many_callers_lose_no_answer_while_connections_are_cut(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        async with AsyncClient(broker.address, pool_size=3) as client:
            broker.plan(
                verbs.Submit, *[fault for _ in range(10) for fault in (Fault.CUT_AFTER, Fault.CUT_BEFORE)]
            )
            task_ids = await asyncio.gather(*[client.submit_task("mail") for _ in range(300)])
            assert sorted(ids.from_text(each) for each in task_ids) == sorted(broker.order)

    run(scenario)


def test_pool_opens_as_many_connections_as_it_was_told(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        async with AsyncClient(broker.address, pool_size=3) as client:
            await asyncio.gather(*[client.ping() for _ in range(30)])
            assert len(broker.hellos) == 3
        await asyncio.to_thread(broker.wait_until, lambda: not broker.peers)

    run(scenario)


def test_calls_under_way_when_the_client_closes_end_as_unknown_or_refused(run: Run) -> None:
    async def scenario(broker: FakeBroker) -> None:
        client = AsyncClient(broker.address)
        broker.plan(verbs.Retry, Fault.HOLD)
        call = asyncio.create_task(client.retry_task(ids.to_text(ids.new_id())))
        await asyncio.to_thread(broker.wait_until, lambda: broker.held)
        await client.close()
        with pytest.raises(OutcomeUnknown, match="this side closed"):
            await call

    run(scenario)


# The first loop ends with the connection open; asyncio says so, and uvloop's close never returns from such an error.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_client_left_open_serves_one_event_loop_after_another(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with FakeBroker() as broker:
        client = AsyncClient(broker.address)
        for _ in range(3):
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(client.ping())
        assert broker.count(verbs.Ping) == 3
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(client.close())
            with pytest.raises(BadRequest, match="closed"):
                runner.run(client.ping())
        gc.collect()
