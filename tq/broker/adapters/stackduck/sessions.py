"""The workers of this broker: what each serves, holds, and still has room for. No I/O."""

from __future__ import annotations

import heapq
from asyncio import Event, TimerHandle
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tq.broker.backend import Answer
from tq.broker.compat.stackduck.names import job_type_of
from tq.broker.compat.stackduck.stored import StoredJob
from tq.broker.compat.stackduck.tasks import QUEUES, delivery_of
from tq.broker.engine.roster import Roster
from tq.verbs import Abort, Claimed, Deliver, Delivery, Register


class Held:
    """One job in the hands of a worker.

    member: its entry in the running set, empty = Redis does not know that it runs. lost: workers it lost before. over: set
    when a settle that was under way has come to its end; None = nobody waits for that.
    """

    __slots__ = ("deadline_ms", "job", "lost", "member", "over", "session", "settling", "started_ms", "token")

    def __init__(
        self,
        job: StoredJob,
        token: int,
        *,
        member: bytes,
        session: Session,
        now_ms: int,
        deadline_ms: int,
        lost: int,
    ) -> None:
        self.job = job
        self.token = token
        self.member = member
        self.session = session
        self.started_ms = now_ms
        self.deadline_ms = deadline_ms
        self.lost = lost
        self.settling = False
        self.over: Event | None = None


class OpenClaim(NamedTuple):
    """A question for up to `limit` jobs. timer: None = it does not wait."""

    answer: Answer
    limit: int
    timer: TimerHandle | None


class Session:
    """One worker, as it registered."""

    def __init__(self, said: Register, now_ms: int) -> None:
        self.session_id = said.session_id
        self.held: dict[bytes, Held] = {}
        self.claim: OpenClaim | None = None
        self.opened_ms = now_ms
        self.say(said)

    def say(self, said: Register) -> None:
        """It registered, perhaps once more."""
        self.said = said
        self.capacity = said.capacity
        self.is_drained = False
        serves = any(queue in QUEUES for queue in said.queues)
        self.job_types = tuple(map(job_type_of, said.task_types)) if serves else ()

    @property
    def room(self) -> int:
        """How many jobs it would take now."""
        if self.claim is not None:
            return self.claim.limit
        return max(self.capacity - len(self.held), 0)


class Sessions:
    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._open: dict[bytes, Session] = {}
        self._held: dict[bytes, Held] = {}
        self._deadlines: list[tuple[int, bytes, int]] = []

    def __iter__(self) -> Iterator[Session]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    @property
    def held(self) -> dict[bytes, Held]:
        """By job id; not to be changed."""
        return self._held

    def get(self, session_id: bytes | None) -> Session | None:
        return self._open.get(session_id) if session_id else None

    def open(self, said: Register, now_ms: int) -> Session:
        """It registers, for the first time or again."""
        session = self._open.get(said.session_id)
        if session is None:
            session = self._open[said.session_id] = Session(said, now_ms)
        else:
            session.say(said)
        return session

    def close(self, session: Session) -> list[Held]:
        """It is gone; what it held."""
        self.end_claim(session)
        self._open.pop(session.session_id, None)
        return list(session.held.values())

    # ------------------------------------------------------------ room

    def wanting(self) -> dict[tuple[str, ...], list[Session]]:
        """Sessions that have room and a worker to hand jobs to, by what they serve."""
        found: dict[tuple[str, ...], list[Session]] = {}
        for session in self._open.values():
            if session.job_types and session.room and self._roster.is_connected(session.session_id):
                found.setdefault(session.job_types, []).append(session)
        return found

    def begin_claim(self, session: Session, claim: OpenClaim) -> None:
        self.end_claim(session)
        session.claim = claim

    def end_claim(self, session: Session, *tasks: Delivery) -> bool:
        """Answer the open claim, if there is one, with these."""
        claim, session.claim = session.claim, None
        if claim is None:
            return False
        if claim.timer is not None:
            claim.timer.cancel()
        claim.answer(Claimed(tasks))
        return True

    # ------------------------------------------------------------ what is held

    def add(self, held: Held) -> None:
        job_id = held.job.job_id
        self._held[job_id] = held
        held.session.held[job_id] = held
        heapq.heappush(self._deadlines, (held.deadline_ms, job_id, held.token))

    def extend(self, held: Held, deadline_ms: int) -> None:
        held.deadline_ms = deadline_ms
        heapq.heappush(self._deadlines, (deadline_ms, held.job.job_id, held.token))

    def drop(self, held: Held) -> None:
        job_id = held.job.job_id
        if self._held.get(job_id) is held:
            del self._held[job_id]
        if held.session.held.get(job_id) is held:
            del held.session.held[job_id]

    def find(self, session: Session | None, job_id: bytes, token: int) -> Held | None:
        """What the session holds with this token, and is not being settled. token 0: whoever holds it."""
        held = self._held.get(job_id)
        if held is None or held.settling or (token and (held.token != token or held.session is not session)):
            return None
        return held

    def overdue(self, now_ms: int) -> list[Held]:
        """Those whose deadline has passed, each told once."""
        found = []
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            _, job_id, token = heapq.heappop(self._deadlines)
            held = self._held.get(job_id)
            if held is not None and held.token == token and held.deadline_ms <= now_ms and not held.settling:
                found.append(held)
        return found

    # ------------------------------------------------------------ handing out

    def hand_out(self, session: Session, given: list[Held]) -> None:
        """Tell the worker, as the answer to its claim or by push."""
        tasks = tuple(
            delivery_of(held.job, token=held.token, timeout_ms=held.deadline_ms - held.started_ms)
            for held in given
        )
        if not self.end_claim(session, *tasks):
            self._roster.push(session.session_id, Deliver(tasks))

    def abort(self, held: Held, reason: str) -> None:
        """Tell the worker that the job is not its any more."""
        item = (held.job.job_id, held.token, reason)
        self._roster.push(held.session.session_id, Abort((item,)))


def share_out(sessions: list[Session], count: int, room: Callable[[Session], int]) -> list[Session]:
    """Whose turn each of `count` jobs is: one each in turn, until nobody has room."""
    turns: list[Session] = []
    left = {session.session_id: room(session) for session in sessions}
    while len(turns) < count:
        before = len(turns)
        for session in sessions:
            if len(turns) < count and left[session.session_id] > 0:
                left[session.session_id] -= 1
                turns.append(session)
        if len(turns) == before:
            break
    return turns
