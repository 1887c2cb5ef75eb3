"""When what entries write reaches the store, and what is seen of it before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tests.engine.harness import Engine, spec, with_engine
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
        await engine.backend.stop()
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
        await asyncio.wait_for(written.wait(), 10)
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
