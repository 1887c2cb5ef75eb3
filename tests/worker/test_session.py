"""The worker and its broker: registering, losing each other, finding back, parting."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.worker import victim
from tests.worker.broker_double import BrokerDouble
from tests.worker.harness import bench, run, until
from tq.client.routing import parse_addresses
from tq.errors import AuthenticationFailed, NotLeader
from tq.task import Cause
from tq.verbs import Deliver, Deregister, Register, SetCapacity
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.context import current
from tq.worker.runtime import EXIT_AGAIN, EXIT_OK, EXIT_REFUSED, Worker, WorkerOptions
from tq.worker.uplink import Dialing

NO_ARGUMENTS = pack_arguments((), {}, of="test")


class Gates:
    """An App with a task that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.runs = 0
        self.app = App()

        @self.app.task(name="gated", queue="mail")
        async def gated() -> int:
            self.runs += 1
            self.loop = asyncio.get_running_loop()
            await self.open.wait()
            return self.runs

    def let_go(self) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.open.set)


def test_a_worker_registers_its_types_queues_and_slots() -> None:
    async def scenario() -> None:
        async with bench(Gates().app, WorkerOptions(concurrency=7, worker_id="w1")) as it:
            (register,) = it.broker.of_type(Register)
            assert isinstance(register, Register)
            assert (register.worker_id, register.capacity) == ("w1", 7)
            assert (register.queues, register.task_types) == (("default", "mail"), ("gated",))

    run(scenario())


def test_running_work_survives_a_lost_connection_and_settles_after_it() -> None:
    async def scenario() -> None:
        gates = Gates()
        async with bench(gates.app) as it:
            key = it.broker.submit("gated", NO_ARGUMENTS)
            await until(lambda: gates.runs == 1)
            it.broker.hang_up()
            await it.broker.until(lambda: it.broker.registrations == 2)
            first, second = it.broker.of_type(Register)
            assert first.session_id == second.session_id  # type: ignore[attr-defined]
            assert second.holds == (key,)  # type: ignore[attr-defined]
            gates.let_go()
            assert (await it.broker.ending(key)).cause == Cause.DONE
            assert gates.runs == 1

    run(scenario())


def test_an_ending_whose_settle_was_cut_off_is_sent_again_after_the_reconnect() -> None:
    async def scenario() -> None:
        gates = Gates()
        gates.open.set()
        async with bench(gates.app) as it:
            it.broker.settle_gate.clear()
            key = it.broker.submit("gated", NO_ARGUMENTS)
            await it.broker.until(lambda: len(it.broker.settle_frames) == 1)
            it.broker.hang_up()
            await it.broker.until(lambda: it.broker.registrations == 2)
            assert it.broker.of_type(Register)[1].holds == (key,)  # type: ignore[attr-defined]
            it.broker.settle_gate.set()
            await until(lambda: it.worker.counts.unsettled == 0)
            assert it.broker.settled[key].cause == Cause.DONE
            assert gates.runs == 1

    run(scenario())


def test_a_task_reported_lost_is_cancelled_and_not_settled() -> None:
    async def scenario() -> None:
        gates = Gates()
        async with bench(gates.app) as it:
            key = it.broker.submit("gated", NO_ARGUMENTS)
            await until(lambda: gates.runs == 1)
            it.broker.lost.add(key)
            it.broker.hang_up()
            await until(lambda: it.worker.counts.running == 0)
            assert it.worker.counts.unsettled == 0
            assert not it.broker.settle_frames

    run(scenario())


def test_a_task_that_was_delivered_again_runs_once() -> None:
    async def scenario() -> None:
        gates = Gates()
        async with bench(gates.app) as it:
            key = it.broker.submit("gated", NO_ARGUMENTS)
            await until(lambda: gates.runs == 1)
            it.broker.peers[0].push(Deliver((it.broker.leased[key],)))
            gates.let_go()
            await it.broker.ending(key)
            assert gates.runs == 1

    run(scenario())


def test_the_leaders_hint_is_followed() -> None:
    async def scenario() -> None:
        follower, leader = BrokerDouble(), BrokerDouble()
        leader_address = await leader.start()
        follower.refuse = lambda request: NotLeader(leader=leader_address)
        follower_address = await follower.start()
        dialing = Dialing(parse_addresses(follower_address), "", None)
        worker = Worker(Gates().app, WorkerOptions(), dialing)
        ended = asyncio.get_running_loop().create_task(worker.run())
        await leader.until(lambda: leader.registrations == 1)
        worker.drain()
        assert await ended == EXIT_OK
        await follower.stop()
        await leader.stop()

    run(scenario())


def test_a_worker_the_broker_refuses_ends_and_says_so() -> None:
    async def scenario() -> None:
        broker = BrokerDouble()
        broker.refuse = lambda request: AuthenticationFailed() if isinstance(request, Register) else None
        async with bench(Gates().app, broker=broker) as it:
            assert await it.exit_code() == EXIT_REFUSED

    run(scenario())


def test_a_drain_takes_no_new_work_and_finishes_what_runs() -> None:
    async def scenario() -> None:
        gates = Gates()
        async with bench(gates.app) as it:
            key = it.broker.submit("gated", NO_ARGUMENTS)
            await until(lambda: gates.runs == 1)
            it.worker.drain()
            await it.broker.until(lambda: bool(it.broker.of_type(SetCapacity)))
            late = it.broker.submit("gated", NO_ARGUMENTS)
            gates.let_go()
            assert await it.exit_code() == EXIT_OK
            assert it.broker.settled[key].cause == Cause.DONE
            assert late not in it.broker.leased
            assert it.broker.of_type(SetCapacity) == [SetCapacity(0)]
            assert len(it.broker.of_type(Deregister)) == 1

    run(scenario())


@pytest.mark.parametrize("is_hurried", [False, True])
def test_what_still_runs_after_the_grace_or_a_second_signal_is_handed_back_uncharged(
    is_hurried: bool,
) -> None:
    async def scenario() -> None:
        gates = Gates()
        async with bench(gates.app, WorkerOptions(grace_s=60.0 if is_hurried else 0.1)) as it:
            key = it.broker.submit("gated", NO_ARGUMENTS)
            await until(lambda: gates.runs == 1)
            it.worker.drain()
            if is_hurried:
                it.worker.hand_back()
            assert await it.exit_code() == EXIT_OK
            ending = it.broker.settled[key]
            assert (ending.cause, ending.delay_ms) == (Cause.RELEASED, 0)

    run(scenario())


def test_a_drain_survives_a_broker_that_comes_back() -> None:
    async def scenario() -> None:
        gates = Gates()
        async with bench(gates.app) as it:
            key = it.broker.submit("gated", NO_ARGUMENTS)
            await until(lambda: gates.runs == 1)
            it.worker.drain()
            it.broker.hang_up()
            await it.broker.until(lambda: it.broker.registrations == 2)
            assert it.broker.of_type(Register)[1].capacity == 0  # type: ignore[attr-defined]
            gates.let_go()
            assert await it.exit_code() == EXIT_OK
            assert it.broker.settled[key].cause == Cause.DONE

    run(scenario())


def test_burst_ends_when_the_queues_are_empty() -> None:
    async def scenario() -> None:
        gates = Gates()
        gates.open.set()
        broker = BrokerDouble()
        keys = [broker.submit("gated", NO_ARGUMENTS) for _ in range(20)]
        async with bench(gates.app, WorkerOptions(burst=True), broker) as it:
            assert await it.exit_code() == EXIT_OK
            assert broker.settled.keys() == set(keys)

    run(scenario())


def test_too_many_abandoned_handlers_end_the_worker_for_a_fresh_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tq.worker.consumer.ABANDONED_MAX", 2)

    async def scenario() -> None:
        options = WorkerOptions(concurrency=4, app_path=victim.PATH)
        async with bench(victim.make_app(), options) as it:
            for _ in range(2):
                it.broker.submit("async.swallow_async", NO_ARGUMENTS, timeout_ms=100)
            assert await it.exit_code() == EXIT_AGAIN

    run(scenario())


def test_an_extension_moves_the_deadline_here_too() -> None:
    async def scenario() -> None:
        gates = Gates()

        is_extended = threading.Event()

        @gates.app.task(name="extended")
        async def extended() -> None:
            current().extend(30)
            is_extended.set()
            await gates.open.wait()

        async with bench(gates.app) as it:
            longer = it.broker.submit("extended", NO_ARGUMENTS, timeout_ms=1_000)
            await until(is_extended.is_set)
            control = it.broker.submit("gated", NO_ARGUMENTS, timeout_ms=1_000)
            assert (await it.broker.ending(control)).cause == Cause.TIMEOUT
            assert it.worker.counts.running == 1
            gates.let_go()
            assert (await it.broker.ending(longer)).cause == Cause.DONE

    run(scenario())


def test_an_extension_of_a_lost_lease_stops_the_task() -> None:
    async def scenario() -> None:
        gates = Gates()

        @gates.app.task(name="extended")
        async def extended() -> None:
            await gates.open.wait()
            current().extend(30)
            await asyncio.Event().wait()

        async with bench(gates.app) as it:
            it.broker.submit("gated", NO_ARGUMENTS)
            key = it.broker.submit("extended", NO_ARGUMENTS)
            await until(lambda: it.worker.counts.running == 2 and gates.runs == 1)
            del it.broker.leased[key]
            gates.let_go()
            await until(lambda: it.worker.counts.running == 0)
            assert key not in it.broker.settled

    run(scenario())


def test_a_stop_counts_while_a_start_up_hook_hangs() -> None:
    async def scenario() -> None:
        gates = Gates()
        gates.app.on_startup(asyncio.Event().wait)  # type: ignore[arg-type]
        worker = Worker(gates.app, WorkerOptions(), Dialing(parse_addresses("127.0.0.1:1"), "", None))
        worker.drain()
        assert await worker.run() == EXIT_OK

    run(scenario())


def test_a_stop_counts_while_no_broker_can_be_reached() -> None:
    async def scenario() -> None:
        worker = Worker(Gates().app, WorkerOptions(), Dialing(parse_addresses("127.0.0.1:1"), "", None))
        asyncio.get_running_loop().call_later(0.3, worker.drain)
        assert await worker.run() == EXIT_OK

    run(scenario())
