"""The attempts that failed last, kept for whoever looks: a hundred of this process, begun with the newest dead letters."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import merge
from itertools import islice

from tq.broker.engine.entries import unpack_attempt, unpack_ended
from tq.broker.machine.effects import Outcome
from tq.broker.machine.heads import Head
from tq.broker.machine.kinds import Kind
from tq.broker.machine.state import CLASS_OF_STATE, State
from tq.broker.storage import keys
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.protocol.limits import FAILURES_MAX
from tq.task import DEAD_LETTER, Cause
from tq.verbs import Failure, Failures

NO_ATTEMPT = -1
"""The cause of a task that failed because another one did."""
LINE_CHARS_MAX = 500

_WANTED = frozenset({Cause.RELEASED, Cause.SNOOZED, Cause.CANCELLED})
"""Attempts that ended so because somebody wanted it: no failures."""


class RecentFailures:
    def __init__(self) -> None:
        self._kept: deque[Failure] = deque(maxlen=FAILURES_MAX)

    def entry(self, outcome: Outcome, notable: Iterable[Head], now_ms: int) -> None:
        """Take note of what one entry saw fail. notable: ended heads, the dead letters among them."""
        attempted = {head.seq for head, _ in outcome.attempts}
        for head, attempt in outcome.attempts[-FAILURES_MAX:]:
            if attempt.cause not in _WANTED:
                self._add(
                    head.task_id,
                    head.terms.kind,
                    head.state,
                    (attempt.number, attempt.worker_id, attempt.cause, attempt.error, attempt.ended_ms),
                )
        for head in notable:
            if head.state == DEAD_LETTER and head.seq not in attempted:
                record = outcome.archived.get(head.task_id)
                reason = record.reason if record is not None else ""
                self._add(
                    head.task_id, head.terms.kind, head.state, (head.attempts, "", NO_ATTEMPT, reason, now_ms)
                )

    def latest(self, limit: int) -> Failures:
        return Failures(tuple(islice(reversed(self._kept), limit)))

    def begin(self, store: Store, state: State) -> None:
        """Fill in what failed before this start, as far as it is dead letter now. Reads a hundred rows."""
        state_class = CLASS_OF_STATE[DEAD_LETTER]
        scans = [
            store.scan(Table.INDEX, *keys.index_range(state_class, kind.number), reverse=True)
            for kind in state.kinds.values()
            if kind.counts[DEAD_LETTER]
        ]
        newest = merge(*scans, key=lambda row: keys.index_of(row[0])[2], reverse=True)
        found = []
        for _, task_id in islice(newest, FAILURES_MAX):
            value = store.get(Table.ENDED, task_id)
            if value is None:
                continue
            record = unpack_ended(value)
            row = store.get(Table.ATTEMPT, keys.attempt_key(record.seq, record.attempts))
            cause, error = NO_ATTEMPT, record.reason
            if row is not None:
                attempt = unpack_attempt(row)
                cause, error = attempt.cause, attempt.error
            told = (record.attempts, record.worker_id, cause, error, record.ended_ms)
            found.append((record.ended_ms, task_id, state.kinds_by_number[record.kind], told))
        for _, task_id, kind, told in sorted(found, key=lambda one: one[0]):
            self._add(task_id, kind, DEAD_LETTER, told)

    def _add(self, task_id: bytes, kind: Kind, task_state: int, told: tuple[int, str, int, str, int]) -> None:
        """told: (attempt's number, worker id, cause, error, when)"""
        number, worker_id, cause, error, at_ms = told
        self._kept.append(
            Failure(
                at_ms,
                task_id,
                kind.task_type,
                kind.queue,
                task_state,
                number,
                worker_id,
                cause,
                telling_line(error),
            )
        )


def telling_line(text: str) -> str:
    """The line of an error that says what it was: the first one, of a bare traceback the last."""
    lines = text.strip().splitlines() or [""]
    return lines[-1 if lines[0].startswith("Traceback") else 0][:LINE_CHARS_MAX]
