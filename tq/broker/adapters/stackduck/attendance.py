"""What workers ask: registering, beating, claiming, settling, extending, leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from tq.broker.adapters.stackduck.by_name import ByName
from tq.broker.adapters.stackduck.parts import Parts
from tq.broker.adapters.stackduck.redis_queue import Lease
from tq.broker.adapters.stackduck.sessions import Held, OpenClaim, Session
from tq.broker.adapters.stackduck.settling import Settling
from tq.broker.adapters.stackduck.stores import StoreAway, outward
from tq.broker.backend import Answer, Peer
from tq.broker.compat.stackduck.enqueue import LEASE_MS
from tq.broker.compat.stackduck.stored import BadJob, read_job
from tq.broker.engine.roster import not_registered
from tq.errors import TqError, WorkerNotFound
from tq.ids import to_text
from tq.logs import get_logger
from tq.task import Cause
from tq.verbs import (
    SETTLED_LEASE_LOST,
    SETTLED_OK,
    Claim,
    Deregister,
    Done,
    Drain,
    Drained,
    DrainWorker,
    Extend,
    Heartbeat,
    Register,
    Registered,
    SetCapacity,
    Settle,
    Settled,
    SettleItem,
)

_log = get_logger("stackduck")


class Attendance:
    def __init__(self, parts: Parts, settling: Settling, by_name: ByName, *, grace_ms: int) -> None:
        self._parts = parts
        self._settling = settling
        self._by_name = by_name
        self._grace_ms = grace_ms

    # ------------------------------------------------------------ coming and going

    def register(self, peer: Peer, request: Register, answer: Answer) -> None:
        self._parts.spawn(self._register(peer, request, answer))

    async def _register(self, peer: Peer, request: Register, answer: Answer) -> None:
        parts = self._parts
        session = parts.sessions.open(request, parts.clock.now_ms())
        parts.roster.attach(request.session_id, peer, request.heartbeat_ms)
        listed = dict(request.holds)
        unknown = [
            (job_id, token)
            for job_id, token in listed.items()
            if (held := session.held.get(job_id)) is None or held.token != token
        ]
        lost = await self._adopt(session, unknown) if unknown else ()
        parts.announce_worker(session, "registered")
        answer(Registered(tuple(lost), self._grace_ms))
        unheard = [held for job_id, held in session.held.items() if listed.get(job_id) != held.token]
        if unheard:
            parts.sessions.hand_out(session, unheard)
        parts.wake.set()

    async def _adopt(self, session: Session, listed: Sequence[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        """Leases from before a restart, or of another broker, that still stand are this session's; the others are lost."""
        parts = self._parts
        now_ms = parts.clock.now_ms()
        lost = []
        try:
            leases = await parts.redis.lease_of([job_id for job_id, _ in listed])
            for (job_id, token), lease in zip(listed, leases, strict=True):
                member = b""
                if lease is not None and lease.token == token and job_id not in parts.sessions.held:
                    member = await parts.redis.running_member_of(job_id)
                if lease is None or not member:
                    lost.append((job_id, token))
                    continue
                mine = lease._replace(broker=parts.redis.broker)
                await parts.redis.hold([(mine, member)])
                job = read_job(member.partition(b":")[2].decode())
                parts.sessions.add(
                    Held(
                        job,
                        token,
                        member=member,
                        session=session,
                        now_ms=now_ms,
                        deadline_ms=lease.deadline_ms,
                        lost=0,
                    )
                )
        except (StoreAway, BadJob, UnicodeDecodeError):
            adopted = {held.job.job_id for held in session.held.values()}
            return [each for each in listed if each[0] not in adopted]
        return lost

    def deregister(self, peer: Peer, request: Deregister, answer: Answer) -> None:
        session = self._session_of(peer, answer)
        if session is not None:
            self._parts.announce_worker(session, "gone")
            self._close(session, Cause.RELEASED, "")
            answer(Done())

    def close_lost(self, session_id: bytes) -> None:
        """Its worker fell silent, or left and did not come back: what it held goes back."""
        session = self._parts.sessions.get(session_id)
        if session is not None:
            self._parts.announce_worker(session, "lost")
            self._close(session, Cause.LEASE_LOST, "its worker was lost")

    def disconnected(self, peer: Peer) -> None:
        session = self._parts.sessions.get(self._parts.roster.session_of(peer))
        self._parts.roster.release(peer)
        if session is not None:
            self._parts.sessions.end_claim(session)
            self._parts.announce_worker(session, "disconnected")

    def _close(self, session: Session, cause: int, error: str) -> None:
        held = self._parts.sessions.close(session)
        self._parts.roster.forget(session.session_id)
        for each in held:
            if not each.settling:
                self._end(each, cause, error)

    def stop(self) -> None:
        """The broker goes: everything that is held goes back uncharged, at once."""
        for session in list(self._parts.sessions):
            self._close(session, Cause.RELEASED, "")

    def end_claims(self) -> None:
        for session in self._parts.sessions:
            self._parts.sessions.end_claim(session)

    # ------------------------------------------------------------ room

    def heartbeat(self, peer: Peer, request: Heartbeat, answer: Answer) -> None:
        answer(Done() if self._parts.roster.beat(peer, request) else not_registered())

    def set_capacity(self, peer: Peer, request: SetCapacity, answer: Answer) -> None:
        session = self._session_of(peer, answer)
        if session is not None:
            session.capacity = 0 if session.is_drained else request.capacity
            self._parts.announce_worker(session, "capacity" if session.capacity else "draining")
            # A worker that asks whether there is more for it is answered when somebody has looked.
            self._parts.asked.append(partial(answer, Done()))
            self._parts.wake.set()

    def drain(self, peer: Peer, request: DrainWorker, answer: Answer) -> None:
        found = [
            each
            for each in self._parts.sessions
            if request.worker in (each.said.worker_id, to_text(each.session_id))
        ]
        if not found:
            answer(WorkerNotFound(f"no worker {request.worker!r} is registered at this broker"))
            return
        for session in found:
            session.capacity, session.is_drained = 0, True
            self._parts.roster.push(session.session_id, Drain("an operator drains this worker"))
            self._parts.announce_worker(session, "draining")
        answer(Drained(tuple(each.session_id for each in found)))

    def claim(self, peer: Peer, request: Claim, answer: Answer) -> None:
        session = self._session_of(peer, answer)
        if session is None:
            return
        sessions, timer = self._parts.sessions, None
        if request.wait_ms:
            timer = asyncio.get_running_loop().call_later(request.wait_ms / 1000, sessions.end_claim, session)
        sessions.begin_claim(session, OpenClaim(answer, request.limit, timer))
        if not request.limit or session.is_drained:
            sessions.end_claim(session)
        self._parts.wake.set()

    # ------------------------------------------------------------ ends

    def settle(self, peer: Peer, request: Settle, answer: Answer) -> None:
        session = self._parts.sessions.get(self._parts.roster.session_of(peer))
        if session is None and any(item.token for item in request.items):
            answer(not_registered())
            return
        found = [self._parts.sessions.find(session, item.task_id, item.token) for item in request.items]
        if any(held is not None and self._settling.needs_check(held) for held in found):
            self._parts.spawn(self._settle_checked(session, request.items, answer))
        else:
            self._settle(session, request.items, answer)

    def _settle(self, session: Session | None, items: Sequence[SettleItem], answer: Answer) -> None:
        """Each item for itself; answered when all are done."""
        codes = bytearray([SETTLED_OK] * len(items))
        left = len(items)
        failure: TqError | None = None

        def done(position: int, result: bool | TqError) -> None:
            nonlocal left, failure
            left -= 1
            if isinstance(result, TqError):
                failure = result
            elif not result:
                codes[position] = SETTLED_LEASE_LOST
            if not left:
                answer(Settled(bytes(codes)) if failure is None else outward(failure))

        for position, item in enumerate(items):
            held = self._parts.sessions.find(session, item.task_id, item.token)
            if held is not None:
                self._settling.settle(held, item, partial(done, position))
            elif item.token:
                done(position, self._settling.was_settled(item.task_id, item.token))
            else:
                self._by_name.settle(item, partial(done, position))
        if not items:
            answer(Settled(b""))

    async def _settle_checked(
        self, session: Session | None, items: Sequence[SettleItem], answer: Answer
    ) -> None:
        """Ask Redis who holds these jobs; what somebody else has is not this worker's any more."""
        parts = self._parts
        held = [parts.sessions.find(session, item.task_id, item.token) for item in items]
        mine = [each for each in held if each is not None and each.member]
        try:
            leases = await parts.redis.lease_of([each.job.job_id for each in mine])
        except StoreAway:
            leases = [Lease(each.job.job_id, each.token, 0, "") for each in mine]  # PostgreSQL decides alone
        for each, lease in zip(mine, leases, strict=True):
            if (lease is None or lease.token != each.token) and not each.settling:
                parts.sessions.drop(each)
        self._settle(session, items, answer)

    def extend(self, peer: Peer, request: Extend, answer: Answer) -> None:
        session = self._session_of(peer, answer)
        if session is None:
            return
        now_ms = self._parts.clock.now_ms()
        codes, extended = bytearray(), list[Held]()
        for job_id, token, ms in request.items:
            held = self._parts.sessions.find(session, job_id, token)
            codes.append(SETTLED_LEASE_LOST if held is None else SETTLED_OK)
            if held is not None:
                self._parts.sessions.extend(held, now_ms + ms)
                extended.append(held)
        self._parts.spawn(self.hold(extended))
        answer(Settled(bytes(codes)))

    async def hold(self, extended: Sequence[Held]) -> None:
        """Tell Redis of these leases. Away, it is told when it is back."""
        broker = self._parts.redis.broker
        try:
            await self._parts.redis.hold(
                (Lease(held.job.job_id, held.token, held.deadline_ms, broker), held.member)
                for held in extended
                if held.member and not held.settling
            )
        except StoreAway:
            return

    def end_overdue(self) -> None:
        """Runs that took longer than their lease failed."""
        for held in self._parts.sessions.overdue(self._parts.clock.now_ms()):
            self._parts.sessions.abort(held, "its time is over")
            self._end(held, Cause.TIMEOUT, f"ran longer than {LEASE_MS // 60_000} minutes")

    def _end(self, held: Held, cause: int, error: str) -> None:
        """End a run that its worker does not end. When neither store is there, the sweep will."""

        def done(result: bool | TqError) -> None:
            if isinstance(result, TqError):
                self._parts.sessions.drop(held)
                _log.warning("job_left", "a job is left to the sweep", task_id=to_text(held.job.job_id))

        self._settling.settle(held, SettleItem(held.job.job_id, held.token, cause, b"", error), done)

    def _session_of(self, peer: Peer, answer: Answer) -> Session | None:
        session = self._parts.sessions.get(self._parts.roster.session_of(peer))
        if session is None:
            answer(not_registered())
        return session
