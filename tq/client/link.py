"""One connection to one broker, on asyncio: many requests in flight, one write per turn of the loop.

Rules of this file:
- Everything happens on the loop's thread. `request` only queues; `_flush`, once per turn, writes what all callers
  of that turn queued.
- Whatever ends the connection goes through `_end`, once: it settles every waiter (see `exchange`), then tells the owner.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import cast

from tq.client.exchange import Exchange, Vigil
from tq.client.routing import Address, parse_address
from tq.client.tls import explained, hung_up
from tq.errors import BrokerUnavailable, OutcomeUnknown, TqError
from tq.protocol.events import Welcomed
from tq.task import TaskView
from tq.verbs import Ping, Push, Reply, Request

CONNECT_SECONDS = 5.0
"""TCP, TLS and hello together; two lost SYNs fit."""
KEEPALIVE_SECONDS = 10.0
"""A peer that says nothing for so long, asked once in between, is taken for dead. Far above a slow fsync."""
CLOSE_SECONDS = 1.0
"""How long a goodbye may take to leave before the connection is cut."""
ROOM_AGAIN = 0.75
"""Callers held back by a full connection go on when it is this full again, so that they do not wake one by one."""


class Link(asyncio.Protocol):
    """One open connection. Made by `Link.open`; once lost it stays lost."""

    def __init__(
        self,
        address: Address,
        *,
        keepalive_s: float = KEEPALIVE_SECONDS,
        on_push: Callable[[Push], None] | None = None,
    ) -> None:
        """Use `Link.open`."""
        self.address = address
        self._loop = asyncio.get_running_loop()
        self._exchange = Exchange(str(address), on_push)
        self._on_closed: Callable[[TqError], None] | None = None
        self._keepalive_s = keepalive_s
        self._transport: asyncio.Transport | None = None
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._room: asyncio.Future[None] | None = None
        self._flush_due = False
        self._paused = False
        self._retired = False
        self._expire_at = inf
        self._expire_timer: asyncio.TimerHandle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._heard = True
        self._silent_beats = 0

    @classmethod
    async def open(
        cls,
        address: Address | str,
        *,
        role: str = "client",
        token: str = "",
        name: str = "",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = CONNECT_SECONDS,
        keepalive_s: float = KEEPALIVE_SECONDS,
        on_push: Callable[[Push], None] | None = None,
        on_closed: Callable[[TqError], None] | None = None,
    ) -> Link:
        """Connect and say hello.

        role: `client` or `worker`. token: the API key. name: what this side calls itself, for people.
        timeout_s: for TCP, TLS and hello together. keepalive_s: a peer silent for so long is dead.
        on_push: every push, on the loop. on_closed: called once, with the reason, after every waiter was settled;
            not called when open itself fails.
        Raises BrokerUnavailable (could not connect, or the broker has no room), AuthenticationFailed (the key,
            or the broker's certificate), ProtocolError (what listens there is not a tq broker).
        """
        target = parse_address(address) if isinstance(address, str) else address
        link = cls(target, keepalive_s=keepalive_s, on_push=on_push)
        is_ours = False
        try:
            async with asyncio.timeout(timeout_s):
                await link._loop.create_connection(lambda: link, target.host, target.port, ssl=tls)
                link._exchange.hello(role=role, token=token, name=name)
                link._flush()
                await link._greeted
            is_ours = True
        except TimeoutError as error:
            raise BrokerUnavailable(f"no connection to {target} within {timeout_s:g} s") from error
        except OSError as error:
            raise explained(target, error) from error
        finally:
            if not is_ours:  # be it that the welcome came in the very turn in which the time was up
                link._end(BrokerUnavailable("the hello did not get through"))
        if link._exchange.end is not None:
            raise link._exchange.end
        link._on_closed = on_closed
        link._beat_timer = link._loop.call_later(keepalive_s / 2, link._beat)
        return link

    # ------------------------------------------------------------ asking

    def request(self, request: Request, deadline: float = inf) -> asyncio.Future[Reply]:
        """Send one request; any number may be in flight. Never raises: errors come by the future.

        deadline: on the loop's clock; without an answer by then the future gets OutcomeUnknown. Cancelling the
        future does not recall the request.
        """
        future: asyncio.Future[Reply] = self._loop.create_future()
        try:
            self._exchange.ask(request, _Answer(future, deadline))
        except TqError as error:
            future.set_exception(error)
            return future
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        if deadline < self._expire_at:
            self._expire_by(deadline)
        return future

    def call(self, request: Request, deadline: float = inf) -> Awaitable[Reply]:
        """`request`, but held back while the connection is full."""
        exchange = self._exchange
        # As `is_full`, which would take three calls for every request.
        if self._paused or exchange.waiting_count >= exchange.requests_max:
            return self._call_when_drained(request, deadline)
        return self.request(request, deadline)

    async def watch(
        self, task_ids: Sequence[bytes], found: dict[bytes, TaskView], deadline: float = inf
    ) -> None:
        """Wait until all these tasks have ended; their views (with results) are put into `found` as they come.

        Waits begun in one turn of the loop share one frame.
        Raises BrokerUnavailable when the connection ends or the deadline passes first, TaskNotFound.
        """
        future: asyncio.Future[Reply] = self._loop.create_future()
        vigil = Vigil(task_ids, found, _Answer(future, deadline))
        self._exchange.watch(vigil)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        if deadline < self._expire_at:
            self._expire_by(deadline)
        try:
            await future
        finally:
            self._exchange.forget(vigil)

    async def _call_when_drained(self, request: Request, deadline: float) -> Reply:
        await self.drained(deadline)
        return await self.request(request, deadline)

    @property
    def is_full(self) -> bool:
        """The peer reads too slowly, or as many requests are in flight as it allows."""
        return self._paused or self._exchange.waiting_count >= self._exchange.requests_max

    async def drained(self, deadline: float = inf) -> None:
        """Wait until the connection takes more. Raises BrokerUnavailable at the deadline; a lost link returns."""
        while self.is_full and self.is_open:
            if self._room is None:
                self._room = self._loop.create_future()
            try:
                async with asyncio.timeout_at(None if deadline == inf else deadline):
                    await asyncio.shield(self._room)
            except TimeoutError as error:
                raise BrokerUnavailable(f"{self.address} takes requests too slowly") from error

    # ------------------------------------------------------------ state

    @property
    def is_open(self) -> bool:
        return self._exchange.end is None

    @property
    def is_usable(self) -> bool:
        """Open, and the broker has not said that it is stopping."""
        exchange = self._exchange
        return exchange.end is None and exchange.draining is None

    @property
    def welcomed(self) -> Welcomed | None:
        """The broker's greeting, with its limits."""
        return self._exchange.welcomed

    @property
    def in_flight_count(self) -> int:
        return self._exchange.waiting_count

    def retire(self) -> None:
        """Close as soon as nothing is in flight; watches end then with BrokerUnavailable."""
        self._retired = True
        self._close_if_retired()

    def close(self) -> None:
        """Say goodbye and close. What is unanswered gets OutcomeUnknown. Calling it again does nothing."""
        self._exchange.close(OutcomeUnknown("this side closed the connection"))
        self._flush()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed, at most CLOSE_SECONDS; what is left then is cut off."""
        await asyncio.wait([self._gone], timeout=CLOSE_SECONDS)
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """Let go without a word: the loop it lived on is closed, and so are its waiters."""
        self._transport = None

    # ------------------------------------------------------------ asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        exchange = self._exchange
        exchange.receive(data)
        if self._retired or not self._greeted.done() or exchange.end is not None or self._room is not None:
            self._after_data()
        if exchange.has_answers_to_send and not self._flush_due:
            self._flush()

    def eof_received(self) -> None:
        if self._exchange.welcomed is None:
            self._end(hung_up(self.address))
        self._end(BrokerUnavailable(f"{self.address} closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._gone.done():
            self._gone.set_result(None)
        if isinstance(exc, OSError) and self._exchange.welcomed is None:
            self._end(explained(self.address, exc))
        reason = f": {exc}" if exc is not None else ""
        self._end(BrokerUnavailable(f"the connection to {self.address} was lost{reason}"))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake_held_back()

    # ------------------------------------------------------------ inside

    def _after_data(self) -> None:
        """What seldom happens after bytes came in."""
        if self._exchange.end is not None:
            self._end(self._exchange.end)
            return
        if not self._greeted.done() and self._exchange.welcomed is not None:
            self._greeted.set_result(None)
        if (
            self._room is not None
            and self._exchange.waiting_count <= self._exchange.requests_max * ROOM_AGAIN
        ):
            self._wake_held_back()
        self._close_if_retired()

    def _flush(self) -> None:
        self._flush_due = False
        data = self._exchange.data_to_send()
        if self._transport is None:
            return
        if data and not self._transport.is_closing():
            self._transport.write(data)
        if self._exchange.end is not None:
            self._end(self._exchange.end)

    def _end(self, error: TqError) -> None:
        """Settle every waiter, stop the timers, hang up, tell the owner. The first reason counts."""
        self._exchange.lost(error)
        for timer in (self._expire_timer, self._beat_timer):
            if timer is not None:
                timer.cancel()
        if self._transport is not None and not self._transport.is_closing():
            goodbye = self._exchange.data_to_send()
            if goodbye:
                self._transport.write(goodbye)
            self._transport.close()
        self._wake_held_back()
        if not self._greeted.done():
            self._greeted.set_exception(self._exchange.end or error)
            self._greeted.exception()  # seen: open may have timed out already
        if self._on_closed is not None:
            on_closed, self._on_closed = self._on_closed, None
            on_closed(self._exchange.end or error)

    def _close_if_retired(self) -> None:
        if self._retired and not self._exchange.waiting_count:
            self.close()

    def _wake_held_back(self) -> None:
        if self._room is not None:
            self._room.set_result(None)
            self._room = None

    def _expire_by(self, deadline: float) -> None:
        """Look for overdue requests at this time: one timer for all, moved only to an earlier moment."""
        if self._expire_timer is not None:
            self._expire_timer.cancel()
        self._expire_at = deadline
        self._expire_timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._expire_timer, self._expire_at = None, inf
        earliest = self._exchange.expire(self._loop.time())
        if earliest < inf:
            self._expire_by(earliest)
        if self._room is not None or self._retired:
            self._after_data()

    def _beat(self) -> None:
        """Twice per keep-alive time: a silent peer is asked, and given up when the answer stays out."""
        self._silent_beats = 0 if self._heard else self._silent_beats + 1
        self._heard = False
        if self._silent_beats >= 2:
            self._end(BrokerUnavailable(f"{self.address} said nothing for {self._keepalive_s:g} s"))
            return
        if self._silent_beats == 1:
            self.request(Ping()).add_done_callback(_ignore)
        self._beat_timer = self._loop.call_later(self._keepalive_s / 2, self._beat)


class _Answer:
    """A future as a waiter; cancelled ones are passed over."""

    __slots__ = ("_future", "deadline")

    def __init__(self, future: asyncio.Future[Reply], deadline: float) -> None:
        self._future = future
        self.deadline = deadline

    def settle(self, answer: Reply | TqError) -> None:
        future = self._future
        if future.done():
            return
        if isinstance(answer, TqError):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _ignore(ping: asyncio.Future[Reply]) -> None:
    """An unanswered ping needs no report: the next beat sees the silence."""
    if not ping.cancelled():
        ping.exception()
