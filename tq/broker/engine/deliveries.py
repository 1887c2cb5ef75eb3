"""Leader only: the machine's leases and revocations become pushes and answers to claims."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable

from tq.broker.backend import Answer
from tq.broker.engine.applier import Written
from tq.broker.engine.roster import Roster
from tq.broker.machine.effects import Lease, Outcome, Revoke
from tq.broker.machine.heads import Head
from tq.verbs import Abort, Claimed, Deliver, Delivery, Drain


class Deliveries:
    def __init__(
        self,
        loop: AbstractEventLoop,
        written: Written,
        roster: Roster,
        *,
        withdraw: Callable[[bytes], None],
    ) -> None:
        """withdraw: propose that the unspent credit of this session's claim be taken back."""
        self._loop = loop
        self._written = written
        self._roster = roster
        self._withdraw = withdraw
        self._claims: dict[bytes, tuple[Answer, TimerHandle | None]] = {}

    def act(self, outcome: Outcome) -> None:
        """Perform what the outcome asks for."""
        aborts: dict[bytes, list[tuple[bytes, int, str]]] = {}
        for effect in outcome.effects:
            if isinstance(effect, Lease):
                self._hand_out(effect)
            elif isinstance(effect, Revoke):
                aborts.setdefault(effect.session_id, []).append((effect.task_id, effect.token, effect.reason))
            else:
                self._roster.push(effect.session_id, Drain("an operator drains this worker"))
        for session_id, items in aborts.items():
            self._roster.push(session_id, Abort(tuple(items)))

    def open_claim(self, session_id: bytes, answer: Answer, wait_ms: int) -> None:
        """Answer with the session's next lease, or with nothing after wait_ms. A claim before it ends empty.

        To be called before the claim's command is applied, so that a lease of the same entry finds it.
        """
        self.end_claim(session_id)
        timer = self._loop.call_later(wait_ms / 1000, self.end_claim, session_id) if wait_ms else None
        self._claims[session_id] = (answer, timer)

    def end_claim(self, session_id: bytes, *tasks: Delivery) -> bool:
        """Answer the open claim, if there is one, with these tasks."""
        claim = self._claims.pop(session_id, None)
        if claim is None:
            return False
        answer, timer = claim
        if timer is not None:
            timer.cancel()
        self._withdraw(session_id)
        answer(Claimed(tasks))
        return True

    def end_claims(self) -> None:
        """Answer every open claim with nothing; for a broker that stops."""
        for session_id in list(self._claims):
            self.end_claim(session_id)

    def _hand_out(self, lease: Lease) -> None:
        session_id = lease.session_id
        if session_id not in self._claims and not self._roster.is_connected(session_id):
            # It lists what it holds when it comes back, and what never arrived is leased to it again then.
            return
        tasks = self._deliveries(lease.heads)
        if not self.end_claim(session_id, *tasks):
            self._roster.push(session_id, Deliver(tuple(tasks)))

    def _deliveries(self, heads: tuple[Head, ...]) -> list[Delivery]:
        payloads = self._written.payloads([head.seq for head in heads])
        made: list[Delivery] = []
        for head in heads:
            seq, terms, hold = head.seq, head.terms, head.hold
            assert hold is not None, "a leased task has a hold"
            extras = head.extras
            metadata = self._written.metadata(seq) if extras is not None and extras.has_metadata else {}
            made.append(
                Delivery(
                    head.task_id,
                    hold.token,
                    terms.kind.task_type,
                    payloads[seq],
                    head.attempts,
                    terms.timeout_ms,
                    terms.kind.queue,
                    terms.priority,
                    head.created_ms,
                    terms.max_retries,
                    metadata,
                )
            )
        return made
