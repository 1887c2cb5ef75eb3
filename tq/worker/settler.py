"""Endings on their way to the broker: everything that ended while one Settle was under way goes into the next.

An ending stays here until the broker has answered for it. A lost connection or an unknown outcome means it is sent
again: settling is idempotent, the fencing token lets only the first count.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from tq import ids
from tq.client.routing import back_off_s
from tq.errors import LeaseLost, Outcome, OutcomeUnknown, TqError
from tq.logs import get_logger
from tq.protocol.limits import BATCH_ITEMS_MAX
from tq.verbs import SETTLED_OK, Reply, Request, Settle, Settled, SettleItem
from tq.worker.ending import ERROR

log = get_logger("worker")

BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Results and errors of one Settle; one more item may come on top, and the largest still fits the frame with it."""
SETTLE_WAIT_S = 30.0
"""An answer that takes longer counts as unknown and the batch is sent again."""

Key = tuple[bytes, int]
"""(task_id, token)"""


class Wire(Protocol):
    """The one thing wanted of a link."""

    def request(self, request: Request, deadline: float = ...) -> asyncio.Future[Reply]: ...


class Settler:
    """Bounded by the worker's slots: a task whose ending waits here still holds its credit at the broker."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, rng: random.Random, on_empty: Callable[[], None]
    ) -> None:
        """on_empty: called whenever the last ending has been answered for."""
        self._loop = loop
        self._rng = rng
        self._on_empty = on_empty
        self._wire: Wire | None = None
        self._waiting: deque[SettleItem] = deque()
        self._under_way: list[SettleItem] = []
        self._flush_due = False
        self._failures = 0
        self._alone = 0
        self.settled = 0
        self.lost = 0

    @property
    def count(self) -> int:
        """Endings not answered for."""
        return len(self._waiting) + len(self._under_way)

    def keys(self) -> Iterable[Key]:
        """Of every ending not answered for."""
        return [(item.task_id, item.token) for item in (*self._under_way, *self._waiting)]

    def add(self, item: SettleItem) -> None:
        """Send this with all others of the same turn of the loop."""
        self._waiting.append(item)
        self._flush_soon()

    def connect(self, wire: Wire) -> None:
        """The session is registered over this link: send what waits."""
        self._wire = wire
        self._failures = 0
        self._flush_soon()

    def disconnect(self) -> None:
        """The link is gone. What was under way comes back by its future."""
        self._wire = None

    def forget(self, lost: set[Key]) -> None:
        """The broker gave these to others; nobody wants to hear how they ended here."""
        for item in self._waiting.copy():
            if (item.task_id, item.token) in lost:
                self._waiting.remove(item)
                self._log_lost(item)
        self._tell_if_empty()

    def _flush_soon(self) -> None:
        if not self._flush_due and self._wire is not None and not self._under_way:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._wire is None or self._under_way or not self._waiting:
            return
        self._under_way = self._take_batch()
        future = self._wire.request(Settle(tuple(self._under_way)), self._loop.time() + SETTLE_WAIT_S)
        future.add_done_callback(self._answered)

    def _take_batch(self) -> list[SettleItem]:
        batch: list[SettleItem] = []
        batch_bytes = 0
        count_max = 1 if self._alone else BATCH_ITEMS_MAX
        while self._waiting and len(batch) < count_max and batch_bytes < BATCH_BYTES_MAX:
            item = self._waiting.popleft()
            batch.append(item)
            # Four bytes a character at worst; an estimate from below would not do.
            batch_bytes += len(item.result) + 4 * len(item.error)
        self._alone = max(0, self._alone - 1)
        return batch

    def _answered(self, future: asyncio.Future[Reply]) -> None:
        batch, self._under_way = self._under_way, []
        error = OutcomeUnknown() if future.cancelled() else future.exception()
        if error is None:
            reply = future.result()
            assert isinstance(reply, Settled)
            self._count(batch, reply.codes)
        elif not isinstance(error, TqError) or error.outcome is not Outcome.REJECTED:
            self._failures += 1
            pause_s = error.retry_after_ms / 1000 if isinstance(error, TqError) else 0.0
            self._again(batch, pause_s or back_off_s(self._failures, self._rng))
        else:
            self._refused(batch, error)
        self._flush_soon()
        self._tell_if_empty()

    def _count(self, batch: list[SettleItem], codes: bytes) -> None:
        self._failures = 0
        lost = 0
        if codes.count(SETTLED_OK) != len(batch):
            for item, code in zip(batch, codes, strict=True):
                if code != SETTLED_OK:
                    lost += 1
                    self._log_lost(item)
        self.settled += len(batch) - lost

    def _again(self, batch: list[SettleItem], pause_s: float) -> None:
        self._waiting.extendleft(reversed(batch))
        if pause_s > 0 and self._wire is not None:
            # Holds back whatever ends meanwhile too: the broker asked for a pause, or does not answer.
            self._flush_due = True
            self._loop.call_later(pause_s, self._flush)

    def _refused(self, batch: list[SettleItem], error: TqError) -> None:
        """Not to be: alone each, so that one bad item does not spoil the rest; a bad result becomes an error."""
        if isinstance(error, LeaseLost):
            for item in batch:
                self._log_lost(item)
        elif len(batch) > 1:
            self._alone = len(batch)
            self._waiting.extendleft(reversed(batch))
        elif batch[0].result:
            item = batch[0]
            text = f"the broker refused the result: {error.text}"
            self._waiting.appendleft(SettleItem(item.task_id, item.token, ERROR, error=text))
        else:
            log.error(
                "settle_refused",
                f"the broker refused how a task ended: {error.text}; it comes back when its lease runs out",
                task_id=ids.to_text(batch[0].task_id),
                code=error.code,
            )

    def _log_lost(self, item: SettleItem) -> None:
        self.lost += 1
        log.warning(
            "lease_lost",
            "a task ended here after its lease was lost; its ending does not count",
            task_id=ids.to_text(item.task_id),
            lease=item.token,
        )

    def _tell_if_empty(self) -> None:
        if not self._waiting and not self._under_way:
            self._on_empty()
