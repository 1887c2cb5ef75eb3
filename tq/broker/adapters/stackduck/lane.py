"""Group commit: what arrives while a batch is on its way becomes the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from tq.broker.awaiting import awaited
from tq.errors import BrokerUnavailable, TqError

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH_MAX = 500
"""What shares one statement, by weight: enough to share a sync, few enough to hold nobody up, and so that while one batch
is with PostgreSQL the one before it can be with Redis."""


def _one(_: object) -> int:
    return 1


class Lane(Generic[Item, Result]):
    """Performs batches one after the other. Nothing runs while nothing waits."""

    def __init__(
        self,
        perform: Callable[[Sequence[Item]], Awaitable[Sequence[Result | TqError]]],
        on_fatal: Callable[[BaseException], None],
        *,
        weigh: Callable[[Item], int] = _one,
    ) -> None:
        """perform: gives one result an item, in order; it may raise a TqError for all of them.

        weigh: what an item weighs; one that weighs more than BATCH_MAX is a batch by itself.
        """
        self._perform = perform
        self._weigh = weigh
        self._on_fatal = on_fatal
        self._waiting: deque[tuple[Item, Callable[[Result | TqError], None]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item, done: Callable[[Result | TqError], None]) -> None:
        """done: called once, on the loop."""
        if self._is_closed:
            done(BrokerUnavailable("the broker is stopping"))
            return
        self._waiting.append((item, done))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def ask(self, item: Item) -> Result:
        """The same for those who await. Raises the item's TqError."""
        return await awaited(partial(self.add, item))

    async def stop(self) -> None:
        """Perform what waits, take nothing more."""
        self._is_closed = True
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                for (_, done), result in zip(batch, await self._results(batch), strict=True):
                    done(result)
        except Exception as error:  # noqa: BLE001  a result that was promised would never come
            self._on_fatal(error)
        finally:
            self._task = None

    def _next_batch(self) -> list[tuple[Item, Callable[[Result | TqError], None]]]:
        waiting, weigh = self._waiting, self._weigh
        batch = [waiting.popleft()]
        room = BATCH_MAX - weigh(batch[0][0])
        while waiting and (room := room - weigh(waiting[0][0])) >= 0:
            batch.append(waiting.popleft())
        return batch

    async def _results(
        self, batch: Sequence[tuple[Item, Callable[[Result | TqError], None]]]
    ) -> Sequence[Result | TqError]:
        try:
            return await self._perform([item for item, _ in batch])
        except TqError as error:
            return [error] * len(batch)
