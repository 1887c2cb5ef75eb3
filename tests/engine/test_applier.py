"""When what entries write reaches the store, and what is seen of it before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tests.engine.harness import WAIT_SECONDS, Engine, FakePeer, spec, with_engine
from tq.broker.replication.memory import MemoryLog
from tq.broker.storage.memory import MemoryStore
from tq.broker.tables import Table
from tq.task import Cause
from tq.verbs import Existing, Settle, SettleItem, Submit, Submitted


class CountingStore(MemoryStore):
    """Keeps what it was given, batch by batch."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Sequence[Any]] = []

    def prepare(self, batch: Sequence[Any]) -> Callable[[], None]:
        self.batches.append(batch)
        return super().prepare(batch)


def test_entries_that_follow_each_other_closely_reach_the_store_in_fewer_batches_all_of_their_rows() -> None:
    store = CountingStore()

    async def run(engine: Engine) -> None:
        specs = [spec() for _ in range(100)]
        for each in specs:
            await engine.submit(each)
        await engine.stop()
        assert len(store.batches) < 50
        rows = [row for batch in store.batches for row in batch]
        assert len([row for row in rows if row[0] is Table.PAYLOAD]) == 100
        # One index a batch, its last row: the batch is whole or not there.
        assert all(batch[-1][0] is Table.META for batch in store.batches)
        assert len([row for row in rows if row[0] is Table.META]) == len(store.batches)

    with_engine(run, store=store)


def test_what_was_written_last_reaches_the_store_though_nothing_follows() -> None:
    async def run(engine: Engine) -> None:
        loop, written = asyncio.get_running_loop(), asyncio.Event()

        class TellingStore(MemoryStore):
            def write(self, batch: Sequence[Any]) -> None:
                super().write(batch)
                if any(row[0] is Table.LIVE for row in batch):
                    loop.call_soon_threadsafe(written.set)

        engine.store.__class__ = TellingStore
        await engine.submit(spec())
        await asyncio.wait_for(written.wait(), WAIT_SECONDS)
        assert list(engine.store.scan(Table.LIVE))

    with_engine(run)


def test_task_that_has_ended_is_known_by_its_id_before_its_row_is_in_the_store() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker()
        task = spec(payload=b"now")
        await engine.submit(task)
        [delivery] = await worker.delivered(1)
        assert delivery.payload == b"now"
        settled = engine.begin(Settle((SettleItem(task.task_id, delivery.token, Cause.DONE),)), worker)
        again = engine.begin(Submit((task,)))
        await settled
        reply = await again
        assert isinstance(reply, Submitted)
        assert reply.existing == (Existing(0, task.task_id, reply.created_ms),)

    with_engine(run)


def test_task_that_comes_and_goes_within_a_batch_leaves_only_its_end_in_the_store() -> None:
    store = CountingStore()

    async def run(engine: Engine) -> None:
        worker = await engine.worker()
        for _ in range(10):
            await _work_off(engine, worker)
        await engine.stop()
        rows = [row for batch in store.batches for row in batch]
        assert len([row for row in rows if row[0] is Table.ENDED]) == 10
        assert len([row for row in rows if row[0] is Table.LIVE]) < 20
        assert not list(store.scan(Table.LIVE))
        assert len(list(store.scan(Table.INDEX))) == 10

    with_engine(run, store=store)


def test_task_of_an_earlier_start_that_ends_in_company_is_taken_out_of_the_store() -> None:
    store, log = MemoryStore(), MemoryLog()
    task = spec("early")

    async def before(engine: Engine) -> None:
        await engine.submit(task)

    async def after(engine: Engine) -> None:
        worker = await engine.worker(types=("early", "echo"), capacity=2)
        [delivery] = await worker.delivered(1)
        await engine.call(Settle((SettleItem(task.task_id, delivery.token, Cause.DONE),)), worker)
        await _work_off(engine, worker)
        await engine.stop()
        assert not list(store.scan(Table.LIVE))
        assert len(list(store.scan(Table.INDEX))) == 2

    with_engine(before, store=store, log=log)
    with_engine(after, store=store, log=log)


async def _work_off(engine: Engine, worker: FakePeer) -> None:
    """Submit a task, and complete it as this worker."""
    [task_id] = await engine.submit(spec())
    [delivery] = await worker.delivered(1)
    await engine.call(Settle((SettleItem(task_id, delivery.token, Cause.DONE),)), worker)
