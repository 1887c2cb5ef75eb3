"""The way from one client to its cluster: a pool of connections, failover, and trying again.

Everything that waits is a call into `aio_waits` or `link`; `sync_channel.py` is this file made blocking by
`scripts/unasync.py`. So the short critical sections are under a mutex here too, where it costs nothing,
and nothing waits inside one.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from tq.client.aio_waits import Signal, clock, pause
from tq.client.link import CONNECT_SECONDS, KEEPALIVE_SECONDS, Link
from tq.client.routing import Address, Rng, Rotation, Tries, unreachable
from tq.errors import BadRequest, BrokerUnavailable, NotLeader, Outcome, TqError
from tq.task import TaskView
from tq.verbs import Reply, Request, Watch

POOL_SIZE_MAX = 64
"""One connection carries thousands of requests at once; more than a few gain nothing."""


@dataclass(frozen=True, kw_only=True)
class ChannelOptions:
    """How to reach the cluster. Times in seconds."""

    addresses: tuple[Address, ...]
    api_key: str = ""
    name: str = ""
    tls: ssl.SSLContext | None = None
    pool_size: int = 1
    connect_timeout_s: float = CONNECT_SECONDS
    keepalive_s: float = KEEPALIVE_SECONDS

    def __post_init__(self) -> None:
        if not 1 <= self.pool_size <= POOL_SIZE_MAX:
            raise BadRequest(f"pool_size is {self.pool_size!r}; it is from 1 to {POOL_SIZE_MAX}")


class Channel:
    """Takes requests to whichever node can answer them."""

    def __init__(self, options: ChannelOptions, rng: Rng) -> None:
        self._options = options
        self._rng = rng
        self._now_s = clock()
        self._mutex = threading.Lock()
        self._rotation = Rotation(options.addresses)
        self._slots = [_Slot() for _ in range(options.pool_size)]
        self._turn = 0
        self._links: list[Link] = []
        self._is_closed = False

    async def call(self, request: Request, within_s: float) -> Reply:
        """Send it, again where that is safe, until it is answered or the time is up.

        Raises what the broker answered, BrokerUnavailable (it did not happen), OutcomeUnknown (it may have).
        """
        deadline = self._now_s() + within_s
        slot = self._slots[0] if len(self._slots) == 1 else self._next_slot()
        tries: Tries | None = None
        while True:
            link = slot.link
            if link is None or not link.is_usable:
                link = await self._connected(slot, deadline, tries)
            try:
                return await link.call(request, deadline)
            except TqError as error:
                tries = tries or Tries(type(request))
                pause_s = tries.pause_s(error, self._rng)
                self._look_elsewhere(slot, link, error)
            if self._now_s() + pause_s >= deadline:
                raise tries.gave_up()
            await pause(pause_s)

    async def watch(self, task_ids: Sequence[bytes], found: dict[bytes, TaskView], within_s: float) -> None:
        """Wait until all these tasks have ended, across lost connections; fills `found`.

        Raises TaskNotFound, TimeoutError when the time is up.
        """
        deadline = self._now_s() + within_s
        tries = Tries(Watch)
        while missing := [task_id for task_id in task_ids if task_id not in found]:
            slot = self._slots[0]
            link: Link | None = None
            try:
                link = await self._connected(slot, deadline, tries)
                await link.watch(missing, found, deadline)
            except TqError as error:
                pause_s = tries.pause_s(error, self._rng)
                if link is not None:
                    self._look_elsewhere(slot, link, error)
                if self._now_s() + pause_s >= deadline:
                    raise TimeoutError(_not_ended(task_ids, found, error)) from error
                if slot.link is not None and not slot.link.is_open:
                    pause_s = 0.0  # the connection attempt has its own pauses, and shared it wakes all waits at once
                await pause(pause_s)

    async def close(self) -> None:
        """Close every connection. Calling it again does nothing."""
        with self._mutex:
            self._is_closed = True
            links, self._links = self._links, []
        for link in links:
            link.close()
        for link in links:
            await link.wait_closed()

    def abandon(self) -> None:
        """Let go of every connection without a word: they belong to another loop or process."""
        self._is_closed = True
        for link in self._links:
            link.abandon()

    # ------------------------------------------------------------ connections

    def _next_slot(self) -> _Slot:
        self._turn += 1
        return self._slots[self._turn % len(self._slots)]

    async def _connected(self, slot: _Slot, deadline: float, tries: Tries | None) -> Link:
        """The slot's connection. Whoever needs it first opens it; the others wait for that and share its end."""
        told: TqError | None = None
        while True:
            with self._mutex:
                if self._is_closed:
                    raise BadRequest("this client is closed; make a new one")
                if slot.link is not None and slot.link.is_usable:
                    return slot.link
                attempt = slot.attempt
                is_mine = attempt is None
                if attempt is None:
                    attempt = slot.attempt = _Attempt()
            if is_mine:
                await self._open(slot, attempt, deadline)
            else:
                await attempt.over.wait(deadline - self._now_s())
            error = attempt.error
            if error is not None and error.outcome is Outcome.REJECTED:
                raise type(error)(error.text)
            is_late = self._now_s() >= deadline
            if told is None or not is_late:
                told = error or told  # one that the deadline cut short says less than the one before
            if is_late and not (slot.link is not None and slot.link.is_usable):
                late = unreachable(told or slot.error)
                raise tries.gave_up(late) if tries is not None else late

    async def _open(self, slot: _Slot, attempt: _Attempt, deadline: float) -> None:
        """One attempt, after the pause that earlier failures asked for."""
        options = self._options
        try:
            await pause(min(slot.not_before, deadline) - self._now_s())
            if self._now_s() < slot.not_before:
                return  # this caller has no more time; the next one goes on waiting
            old = slot.link
            with self._mutex:
                if old is not None and old.is_open:
                    self._rotation.leave(old.address)  # open and yet not usable: it is stopping
                address = self._rotation.current
            try:
                link = await Link.open(
                    address,
                    token=options.api_key,
                    name=options.name,
                    tls=options.tls,
                    timeout_s=min(options.connect_timeout_s, max(deadline - self._now_s(), 0.001)),
                    keepalive_s=options.keepalive_s,
                )
            except TqError as error:
                attempt.error = slot.error = error
                self._failed(slot, address, error)
            else:
                self._attach(slot, link)
        finally:
            slot.attempt = None
            attempt.over.set()

    def _failed(self, slot: _Slot, address: Address, error: TqError) -> None:
        with self._mutex:
            pause_s = self._rotation.failed(address, self._rng)
            if isinstance(error, NotLeader):
                self._rotation.redirect(address, error.leader)
        slot.not_before = self._now_s() + max(pause_s, error.retry_after_ms / 1000)

    def _attach(self, slot: _Slot, link: Link) -> None:
        with self._mutex:
            old, slot.link = slot.link, link
            self._rotation.worked()
            self._links = [each for each in self._links if each.is_open] + [link]
            is_late = self._is_closed
        if old is not None:
            old.retire()
        if is_late:
            link.close()

    def _look_elsewhere(self, slot: _Slot, link: Link, error: TqError) -> None:
        """Go where the node points, or on from one that was lost or cannot serve.

        Other refusals are no reason to move: a full queue is as full on every node.
        """
        if link.is_open and not isinstance(error, BrokerUnavailable):
            return
        with self._mutex:
            if isinstance(error, NotLeader):
                self._rotation.redirect(link.address, error.leader)
            else:
                self._rotation.leave(link.address)
            if slot.link is not link or self._rotation.current == link.address:
                return
            slot.link = None
        link.retire()


class _Slot:
    """One place in the pool."""

    __slots__ = ("attempt", "error", "link", "not_before")

    def __init__(self) -> None:
        self.link: Link | None = None
        self.attempt: _Attempt | None = None
        self.not_before = -inf
        self.error: TqError = BrokerUnavailable("no connection was tried")


class _Attempt:
    """One attempt to connect, shared by all who need it. error: None while it runs and when it worked."""

    __slots__ = ("error", "over")

    def __init__(self) -> None:
        self.over = Signal()
        self.error: TqError | None = None


def _not_ended(task_ids: Sequence[bytes], found: dict[bytes, TaskView], error: TqError) -> str:
    missing = [task_id for task_id in task_ids if task_id not in found]
    return f"{len(missing)} of {len(task_ids)} tasks have not ended in time ({error.text})"
