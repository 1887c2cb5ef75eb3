"""The worker's connection to whichever node leads: dial, register, beat, and again when it is lost.

Work goes on while there is no connection: the same session registers again, with what it holds, and keeps its leases
as long as it is back within the broker's grace.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from contextlib import suppress
from typing import NamedTuple, Protocol

from tq.client.link import Link
from tq.client.routing import Address, Rotation, back_off_s
from tq.errors import NotLeader, Outcome, TqError
from tq.logs import get_logger
from tq.protocol.limits import BATCH_ITEMS_MAX
from tq.verbs import (
    Abort,
    Deliver,
    Delivery,
    Deregister,
    Drain,
    Draining,
    Ping,
    Push,
    Register,
    Registered,
    Reply,
    SetCapacity,
)
from tq.worker.settler import Key, Wire

log = get_logger("worker")

REGISTER_WAIT_S = 10.0
"""An election fits; a node that does not answer within it is left for another."""
MISSED_BEATS_MAX = 2
"""A heartbeat unanswered for so many intervals: the connection is dead, whatever TCP thinks."""
GOODBYE_WAIT_S = 2.0
PING_S, PING_ANSWER_S = 1.5, 2.0
"""Where there are other nodes to go to: how often a silent one is asked whether it is still there, and how long it has
to answer. Together well within the grace in which another leader keeps this worker's leases."""


class Identity(NamedTuple):
    """Who registers. session_id: new for each start of the process, so that no two starts are ever confused."""

    session_id: bytes
    worker_id: str
    queues: tuple[str, ...]
    task_types: tuple[str, ...]
    heartbeat_ms: int
    host: str
    pid: int
    version: str


class Dialing(NamedTuple):
    """Where to connect and how."""

    addresses: tuple[Address, ...]
    api_key: str
    tls: ssl.SSLContext | None


class Session(Protocol):
    """What the uplink serves: the worker."""

    def holds(self) -> list[Key]: ...

    def on_registered(self, wire: Wire, lost: list[Key]) -> None: ...

    def on_link_lost(self) -> None: ...

    def on_deliver(self, deliveries: tuple[Delivery, ...]) -> None: ...

    def on_abort(self, push: Abort) -> None: ...

    def on_drain(self, push: Drain) -> None: ...

    def beat(self, wire: Wire, deadline: float) -> asyncio.Future[Reply]: ...


class Uplink:
    def __init__(
        self, identity: Identity, dialing: Dialing, capacity: int, session: Session, rng: random.Random
    ) -> None:
        self._identity = identity
        self._dialing = dialing
        self._capacity = capacity
        self._session = session
        self._rng = rng
        self._rotation = Rotation(dialing.addresses)
        self._link: Link | None = None
        self._lost: asyncio.Future[TqError] | None = None
        self._has_registered = False
        self._is_leaving = False
        self._pause_s = 0.0
        self._redirects = 0
        self.reconnects = 0

    @property
    def is_registered(self) -> bool:
        return self._link is not None

    async def run(self) -> None:
        """Be connected, until cancelled or `say_goodbye`. Raises the broker's refusal when it comes before the first
        registration."""
        while not self._is_leaving:
            address = self._rotation.current
            try:
                link = await self._register(address)
            except TqError as error:
                await asyncio.sleep(self._after_failure(address, error))
                continue
            reason = await self._stay(link)
            if self._is_leaving:
                return
            log.warning("disconnected", f"{reason.text}; running tasks go on", address=str(address))
            self._session.on_link_lost()
            await asyncio.sleep(self._pause_s)
            self._pause_s = 0.0

    def set_capacity(self, capacity: int) -> None:
        """Tell the broker, now or with the next registration."""
        self._capacity = capacity
        if self._link is not None:
            self._link.request(SetCapacity(capacity)).add_done_callback(_note_failure)

    async def caught_up(self) -> bool:
        """Whether everything the broker had ready for this worker, when asked, has been delivered by now.

        A change of capacity takes the way of every command: tasks that were ready before it are leased before it is
        answered, and those leased along with it are delivered before a second one is.
        """
        link = self._link
        try:
            for _ in range(2):
                if link is None:
                    return False
                await link.request(SetCapacity(self._capacity))
        except TqError:
            return False
        return link is self._link

    async def say_goodbye(self) -> None:
        """Deregister: what is still held goes back uncharged. Waits at most GOODBYE_WAIT_S."""
        self._is_leaving = True
        link, self._link = self._link, None
        if link is None:
            return
        with suppress(TqError, TimeoutError):
            async with asyncio.timeout(GOODBYE_WAIT_S):
                await link.request(Deregister())
        link.close()
        await link.wait_closed()

    # ------------------------------------------------------------ one connection

    async def _register(self, address: Address) -> Link:
        lost: asyncio.Future[TqError] = asyncio.get_running_loop().create_future()
        link = await Link.open(
            address,
            role="worker",
            token=self._dialing.api_key,
            name=self._identity.worker_id,
            tls=self._dialing.tls,
            on_push=self._on_push,
            on_closed=lambda error: None if lost.done() else lost.set_result(error),
        )
        identity = self._identity
        holds = self._session.holds()
        try:
            async with asyncio.timeout(REGISTER_WAIT_S):
                reply = await link.request(
                    Register(
                        session_id=identity.session_id,
                        worker_id=identity.worker_id,
                        queues=identity.queues,
                        task_types=identity.task_types,
                        capacity=self._capacity,
                        holds=tuple(holds[:BATCH_ITEMS_MAX]),
                        heartbeat_ms=identity.heartbeat_ms,
                        host=identity.host,
                        pid=identity.pid,
                        version=identity.version,
                    )
                )
        except TimeoutError as error:
            link.close()
            raise NotLeader(f"{address} did not answer the registration") from error
        except BaseException:
            link.close()
            raise
        assert isinstance(reply, Registered)
        self._on_registered(link, lost, reply)
        return link

    def _on_registered(self, link: Link, lost: asyncio.Future[TqError], reply: Registered) -> None:
        self._link, self._lost = link, lost
        self._rotation.worked()
        self._redirects = 0
        event = "reconnected" if self._has_registered else "ready"
        self.reconnects += self._has_registered
        self._has_registered = True
        log.info(
            event,
            f"registered with {link.address}, {self._capacity} slots",
            worker_id=self._identity.worker_id,
            address=str(link.address),
            queues=self._identity.queues,
            task_types=self._identity.task_types,
            capacity=self._capacity,
        )
        self._session.on_registered(link, list(reply.lost))

    async def _stay(self, link: Link) -> TqError:
        """Beat until the link is lost; says why it was."""
        assert self._lost is not None
        interval_s = self._identity.heartbeat_ms / 1000
        look_s = interval_s if len(self._dialing.addresses) == 1 else min(interval_s, PING_S)
        loop = asyncio.get_running_loop()
        beat_at = loop.time() + interval_s
        try:
            while True:
                await asyncio.wait([self._lost], timeout=look_s)
                if self._lost.done():
                    return self._lost.result()
                if loop.time() + look_s / 2 < beat_at:
                    self._ping(link, loop.time() + PING_ANSWER_S)
                    continue
                beat_at = loop.time() + interval_s
                beat = self._session.beat(link, loop.time() + MISSED_BEATS_MAX * interval_s)
                beat.add_done_callback(lambda done: self._on_beat(link, done))
        finally:
            self._link = None

    def _ping(self, link: Link, deadline: float) -> None:
        """A node that does not answer may have lost the lead without knowing: look for the one that has it."""

        def answered(done: asyncio.Future[Reply]) -> None:
            if not done.cancelled() and done.exception() is not None and link.is_open:
                log.warning("broker_silent", f"{link.address} does not answer; looking for another node")
                self._rotation.leave(link.address)
                link.close()

        link.request(Ping(), deadline).add_done_callback(answered)

    def _on_beat(self, link: Link, done: asyncio.Future[Reply]) -> None:
        """A beat that was refused or not answered ends the connection; the next registration sets things right."""
        if done.cancelled() or done.exception() is None or not link.is_open:
            return
        log.warning("heartbeat_failed", f"the heartbeat got no good answer: {done.exception()}")
        link.close()

    def _on_push(self, push: Push) -> None:
        if isinstance(push, Deliver):
            self._session.on_deliver(push.tasks)
        elif isinstance(push, Abort):
            self._session.on_abort(push)
        elif isinstance(push, Drain):
            self._session.on_drain(push)
        elif isinstance(push, Draining):
            log.info("broker_draining", push.reason or "the broker is stopping")
            self._pause_s = push.retry_after_ms / 1000
            self._rotation.leave(self._rotation.current)

    def _after_failure(self, address: Address, error: TqError) -> float:
        """Where to go next, and after how many seconds."""
        if error.outcome is Outcome.REJECTED and not self._has_registered:
            raise error
        if isinstance(error, NotLeader) and error.leader:
            self._rotation.redirect(address, error.leader)
            self._redirects += 1
            # A fresh hint is worth following at once; a second one may be two nodes pointing at each other.
            return 0.0 if self._redirects == 1 else back_off_s(self._redirects, self._rng)
        pause_s = max(self._rotation.failed(address, self._rng), error.retry_after_ms / 1000)
        if pause_s > 0:
            log.warning(
                "unreachable", f"{error.text}; trying again", address=str(address), pause_s=round(pause_s, 2)
            )
        return pause_s


def _note_failure(done: asyncio.Future[Reply]) -> None:
    """The capacity travels with the next registration again; there is nothing more to do."""
    if not done.cancelled() and done.exception() is not None:
        log.warning("capacity_not_set", f"the broker did not take the new capacity: {done.exception()}")
