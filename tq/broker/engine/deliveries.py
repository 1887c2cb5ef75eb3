"""Leader only: the machine's leases and revocations become pushes and answers to claims."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable

from tq.broker.backend import Answer
from tq.broker.engine.entries import unpack_metadata
from tq.broker.engine.roster import Roster
from tq.broker.machine.effects import Lease, Outcome
from tq.broker.machine.heads import Head
from tq.broker.storage import keys
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.verbs import Abort, Claimed, Deliver, Delivery


class Deliveries:
    def __init__(
        self,
        loop: AbstractEventLoop,
        store: Store,
        roster: Roster,
        *,
        withdraw: Callable[[bytes], None],
    ) -> None:
        """withdraw: propose that the unspent credit of this session's claim be taken back."""
        self._loop = loop
        self._store = store
        self._roster = roster
        self._withdraw = withdraw
        self._claims: dict[bytes, tuple[Answer, TimerHandle | None]] = {}

    def act(self, outcome: Outcome) -> None:
        """Perform what the outcome asks for."""
        aborts: dict[bytes, list[tuple[bytes, int, str]]] = {}
        for effect in outcome.effects:
            if isinstance(effect, Lease):
                self._hand_out(effect, outcome.payloads)
            else:
                aborts.setdefault(effect.session_id, []).append((effect.task_id, effect.token, effect.reason))
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

    def _hand_out(self, lease: Lease, fresh: dict[int, bytes]) -> None:
        session_id = lease.session_id
        if session_id not in self._claims and not self._roster.is_connected(session_id):
            # It lists what it holds when it comes back, and what never arrived is leased to it again then.
            return
        tasks = self._deliveries(lease.heads, fresh)
        if not self.end_claim(session_id, *tasks):
            self._roster.push(session_id, Deliver(tuple(tasks)))

    def _deliveries(self, heads: tuple[Head, ...], fresh: dict[int, bytes]) -> list[Delivery]:
        stored = self._payloads([head.seq for head in heads if head.seq not in fresh])
        made: list[Delivery] = []
        for head in heads:
            seq, terms, hold = head.seq, head.terms, head.hold
            assert hold is not None, "a leased task has a hold"
            payload = fresh[seq] if seq in fresh else stored[seq]
            metadata = self._metadata(seq) if head.extras is not None and head.extras.has_metadata else {}
            made.append(
                Delivery(
                    head.task_id,
                    hold.token,
                    terms.kind.task_type,
                    payload,
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

    def _payloads(self, seqs: list[int]) -> dict[int, bytes]:
        values = self._store.get_many(Table.PAYLOAD, [keys.seq_key(seq) for seq in seqs]) if seqs else []
        # An empty payload has a row too: a row that is not there was lost, and the store reports that as damage.
        return {seq: value or b"" for seq, value in zip(seqs, values, strict=True)}

    def _metadata(self, seq: int) -> dict[str, str]:
        return unpack_metadata(self._store.get(Table.EXTRA, keys.seq_key(seq)))
