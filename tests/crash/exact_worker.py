"""A worker that remembers what it was handed and what the broker said to each of its settles.

It reconnects as a worker must: with the same session, listing what it holds. A settle whose answer was lost is sent
again when the broker says that the lease is still held, and forgotten when it says that it is not.
"""

from __future__ import annotations

import asyncio
import time

from tests.crash.history import History
from tests.crash.line import DIAL_SECONDS, REQUEST_SECONDS_MAX
from tq import ids
from tq.client.link import Link
from tq.errors import TqError
from tq.task import Cause
from tq.verbs import (
    SETTLED_OK,
    Deliver,
    Delivery,
    Push,
    Register,
    Registered,
    Reply,
    Settle,
    Settled,
    SettleItem,
)

FLAKY_FAILURES = 2
FLAKY_DELAY_MS = 30
EARLY_MS_MAX = 1
"""A due time is compared in whole milliseconds."""


class ExactWorker:
    def __init__(
        self, address: str, history: History, *, queue: str, task_types: tuple[str, ...], capacity: int
    ) -> None:
        self._address = address
        self._history = history
        self._queue = queue
        self._task_types = task_types
        self._capacity = capacity
        self._session_id = ids.new_id()
        self._held: dict[bytes, SettleItem] = {}
        self._asked_about = 0
        self._wake = asyncio.Event()
        self.deliveries: list[Delivery] = []
        """Everything handed out, in order, for those who check the order."""
        self._wanted = 0
        self._reached = asyncio.Event()

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve, through any number of lost connections."""
        while not stop.is_set():
            try:
                await self._serve(stop)
            except TqError:
                self._history.counts["worker connections lost"] += 1
                await asyncio.sleep(DIAL_SECONDS)

    async def has_been_handed(self, count: int) -> None:
        """Return once it has had so many deliveries."""
        self._wanted = count
        if len(self.deliveries) < count:
            self._reached.clear()
            await self._reached.wait()

    async def _serve(self, stop: asyncio.Event) -> None:
        link = await Link.open(
            self._address, role="worker", on_push=self._pushed, on_closed=lambda _: self._wake.set()
        )
        try:
            await self._register(link)
            while not stop.is_set() and link.is_open:
                await self._settle(link)
                if not self._held:
                    self._wake.clear()
                    await _first(self._wake, stop)
        finally:
            link.close()

    async def _register(self, link: Link) -> None:
        holds = tuple((item.task_id, item.token) for item in self._held.values())
        register = Register(
            self._session_id,
            "exact",
            (self._queue,),
            self._task_types,
            self._capacity,
            holds,
            heartbeat_ms=60_000,
        )
        reply = await self._ask(link, register)
        assert isinstance(reply, Registered), reply
        for task_id, token in reply.lost:
            if task_id in self._held and self._held[task_id].token == token:
                del self._held[task_id]

    def _pushed(self, push: Push) -> None:
        if not isinstance(push, Deliver):
            return
        for delivery in push.tasks:
            self._check(delivery)
            self._held[delivery.task_id] = _settle_item(delivery)
            self.deliveries.append(delivery)
        self._wake.set()
        if len(self.deliveries) >= self._wanted:
            self._reached.set()

    def _check(self, delivery: Delivery) -> None:
        history, task_id = self._history, delivery.task_id
        history.counts["deliveries"] += 1
        history.counts["redeliveries"] += delivery.token == history.tokens.get(task_id)
        if task_id in history.completed:
            history.violated(f"{task_id.hex()} was handed out after its completion was acknowledged")
        if delivery.token < history.tokens.get(task_id, 0):
            history.violated(f"the fencing token of {task_id.hex()} went back to {delivery.token}")
        if time.time_ns() // 1_000_000 + EARLY_MS_MAX < history.due_ms.get(task_id, 0):
            history.violated(f"{task_id.hex()} was handed out before its time")
        # What a settle or a register under way tells of may be over for the broker before its answer is here.
        if len(self._held) - self._asked_about > self._capacity:
            history.violated(f"{len(self._held)} tasks were handed to a worker with {self._capacity} slots")
        history.tokens[task_id] = delivery.token

    async def _settle(self, link: Link) -> None:
        items = tuple(self._held.values())
        if not items:
            return
        reply = await self._ask(link, Settle(items))
        assert isinstance(reply, Settled), reply
        for item, code in zip(items, reply.codes, strict=True):
            if self._held.get(item.task_id) == item:
                del self._held[item.task_id]
            if code == SETTLED_OK and item.cause == Cause.DONE:
                if item.task_id in self._history.completed:
                    self._history.violated(f"{item.task_id.hex()} was completed twice")
                self._history.completed[item.task_id] = item.result
            self._history.counts["settles accepted" if code == SETTLED_OK else "settles refused"] += 1

    async def _ask(self, link: Link, request: Settle | Register) -> Reply:
        """One request that tells the broker of everything held."""
        self._asked_about = len(self._held)
        try:
            return await link.request(request, asyncio.get_running_loop().time() + REQUEST_SECONDS_MAX)
        finally:
            self._asked_about = 0


def _settle_item(delivery: Delivery) -> SettleItem:
    """Done, with a result that names the lease; a flaky task fails first."""
    if delivery.task_type == "flaky" and delivery.attempt <= FLAKY_FAILURES:
        return SettleItem(
            delivery.task_id, delivery.token, Cause.ERROR, error="on purpose", delay_ms=FLAKY_DELAY_MS
        )
    return SettleItem(delivery.task_id, delivery.token, Cause.DONE, result=b"%d" % delivery.token)


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
