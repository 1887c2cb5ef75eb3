"""Settles that nobody waits for: they share the next entry, and hold nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.engine.harness import Engine, FakePeer, spec, with_engine
from tq.broker.engine import proposer
from tq.task import COMPLETED, Cause
from tq.verbs import Delivery, GetTask, Settle, SettleItem, Submit, Watch

Test = Callable[[Engine], Awaitable[None]]


@pytest.fixture(autouse=True)
def _endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is patient waits longer than any test: what ends without company was not patient."""
    monkeypatch.setattr(proposer, "PATIENCE_SECONDS", 3_600.0)


async def _running(engine: Engine, count: int = 1) -> tuple[FakePeer, list[Delivery]]:
    worker = await engine.worker(capacity=count)
    await engine.submit(*(spec() for _ in range(count)))
    return worker, await worker.delivered(count)


def _done(*deliveries: Delivery) -> Settle:
    return Settle(tuple(SettleItem(each.task_id, each.token, Cause.DONE) for each in deliveries))


def test_a_settle_that_nobody_waits_for_shares_the_entry_of_the_next_submit() -> None:
    async def run(engine: Engine) -> None:
        worker, [delivery] = await _running(engine)
        before = engine.log.last_index
        settled = engine.begin(_done(delivery), worker)
        await asyncio.sleep(0.001)
        assert not settled.done()
        await engine.call(Submit((spec("other"),)))
        await settled
        assert engine.log.last_index == before + 1

    with_engine(run)


def test_a_settle_behind_an_entry_in_flight_waits_for_company_too() -> None:
    async def run(engine: Engine) -> None:
        worker, [delivery] = await _running(engine)
        engine.log.holds = True
        submitted = engine.begin(Submit((spec("other"),)))
        await asyncio.sleep(0)
        # Before the other task waits: afterwards the slot is wanted.
        settled = engine.begin(_done(delivery), worker)
        engine.log.let_go()
        await submitted
        await asyncio.sleep(0.001)
        assert not settled.done()
        await engine.call(Submit((spec("third"),)))
        await settled

    with_engine(run)


def _with_a_task_that_waits_for_the_slot() -> Test:
    async def run(engine: Engine) -> None:
        worker, [delivery] = await _running(engine)
        await engine.submit(spec())
        await engine.call(_done(delivery), worker)

    return run


def _with_a_task_that_depends_on_it() -> Test:
    async def run(engine: Engine) -> None:
        worker, [delivery] = await _running(engine)
        await engine.submit(spec("other", dependencies=(delivery.task_id,)))
        await engine.call(_done(delivery), worker)

    return run


def _with_somebody_who_watches() -> Test:
    async def run(engine: Engine) -> None:
        worker, [delivery] = await _running(engine)
        await engine.call(Watch((delivery.task_id,)))
        await engine.call(_done(delivery), worker)

    return run


def _with_a_call_that_waits_for_the_result() -> Test:
    async def run(engine: Engine) -> None:
        worker, [delivery] = await _running(engine)
        waiting = engine.begin(GetTask(delivery.task_id, wait_ms=60_000))
        await engine.call(_done(delivery), worker)
        assert (await waiting).state == COMPLETED  # type: ignore[attr-defined]

    return run


def _with_many_of_its_kind() -> Test:
    async def run(engine: Engine) -> None:
        worker, deliveries = await _running(engine, proposer.PATIENT_COMMANDS_MAX)
        await asyncio.gather(*(engine.begin(_done(each), worker) for each in deliveries))

    return run


@pytest.mark.parametrize(
    "test",
    [
        _with_a_task_that_waits_for_the_slot(),
        _with_a_task_that_depends_on_it(),
        _with_somebody_who_watches(),
        _with_a_call_that_waits_for_the_result(),
        _with_many_of_its_kind(),
    ],
    ids=["slot", "dependency", "watch", "call", "many"],
)
def test_a_settle_that_matters_now_leaves_at_once(test: Test) -> None:
    with_engine(test)


def test_a_stop_sends_patient_settles_on_their_way() -> None:
    async def run(engine: Engine) -> None:
        worker, [delivery] = await _running(engine)
        settled = engine.begin(_done(delivery), worker)
        await engine.backend.stop()
        assert settled.done()
        assert settled.exception() is None

    with_engine(run)


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposer, "PATIENCE_SECONDS", 0.003)

    async def run(engine: Engine) -> None:
        worker, [delivery] = await _running(engine)
        await engine.call(_done(delivery), worker)

    with_engine(run)
