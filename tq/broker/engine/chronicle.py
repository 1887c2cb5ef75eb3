"""The log lines about tasks and workers, written where leases are given. Successes cost nothing and write nothing.

Errors: a task that failed for good, a worker that was lost. Warnings: an attempt that is tried again, a task that ran
long, a worker whose connection went. What a handler raised is not told: its text may hold what was in the payload. It
is in the task, for those who may read tasks.
"""

from __future__ import annotations

from tq.broker.engine.announcer import CAPACITY, DISCONNECTED, LOST
from tq.broker.machine.effects import Outcome
from tq.broker.machine.heads import Head
from tq.broker.machine.sessions import Session
from tq.clock import Clock
from tq.documents import cause_word
from tq.floods import Flood
from tq.logs import get_logger
from tq.task import COMPLETED, DEAD_LETTER, Attempt, Cause

_log = get_logger("broker")

_QUIET = frozenset({Cause.RELEASED, Cause.SNOOZED, Cause.CANCELLED})
"""Somebody wanted it so."""
_WORDS = {
    "registered": "has registered",
    "disconnected": "has disconnected; its tasks wait for it for the grace",
    "draining": "takes no new work",
    "gone": "has said goodbye",
    "lost": "is lost; its tasks go back",
}


class Chronicle:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._flood = Flood(_log, clock.monotonic_ms())

    def entry(self, outcome: Outcome, notable: list[Head]) -> None:
        """notable: ended heads to tell of: dead letters, and what took long."""
        last: dict[int, Attempt] = {}
        for head, attempt in outcome.attempts:
            if head.state == DEAD_LETTER:
                last[head.seq] = attempt
            elif attempt.cause not in _QUIET and head.state < COMPLETED:
                self._retried(head, attempt)
        for head in notable:
            if head.state == DEAD_LETTER:
                self._failed(head, last.get(head.seq))
            else:
                self._slow(head, outcome)

    def worker(self, session: Session, change: str) -> None:
        """One of the changes a worker_update tells."""
        if change == CAPACITY:
            return
        event = f"worker_{change}"
        fields: dict[str, object] = {
            "worker_id": session.worker_id,
            "host": session.host,
            "pid": session.pid,
            "tasks": len(session.held),
        }
        text = f"worker {session.worker_id} {_WORDS[change]}"
        if change == LOST:
            if self._flood.lets("error", event, session.host):
                _log.error(event, text, **fields)
        elif self._flood.lets("warning", event, session.host):
            (_log.warning if change == DISCONNECTED else _log.info)(event, text, **fields)

    def turn(self) -> None:
        """To be called about once a second."""
        self._flood.turn(self._clock.monotonic_ms())

    def _retried(self, head: Head, attempt: Attempt) -> None:
        kind = head.terms.kind
        if self._flood.lets("warning", "task_retried", kind.task_type):
            text = f"{kind.task_type}: attempt {attempt.number} ended by {cause_word(attempt.cause)}; it is tried again"
            delay_ms = max(head.due_ms - attempt.ended_ms, 0)
            _log.warning("task_retried", text, **_fields(head, attempt), delay_ms=delay_ms)

    def _failed(self, head: Head, attempt: Attempt | None) -> None:
        kind = head.terms.kind
        if not self._flood.lets("error", "task_failed", kind.task_type):
            return
        if attempt is None:
            text = f"{kind.task_type}: it cannot run, for a task it depends on did not complete; now in dead letter"
        else:
            text = f"{kind.task_type}: failed for good by {cause_word(attempt.cause)}; now in dead letter"
        _log.error("task_failed", text, **_fields(head, attempt))

    def _slow(self, head: Head, outcome: Outcome) -> None:
        record = outcome.archived.get(head.task_id)
        kind = head.terms.kind
        if record is not None and self._flood.lets("warning", "task_slow", kind.task_type):
            ms = record.ended_ms - record.started_ms
            fields = {**_fields(head, None), "worker_id": record.worker_id, "duration_ms": ms}
            _log.warning("task_slow", f"{kind.task_type}: took {ms / 1000:.1f} s", **fields)


def _fields(head: Head, attempt: Attempt | None) -> dict[str, object]:
    fields: dict[str, object] = {
        "task_id": head.task_id,
        "task_type": head.terms.kind.task_type,
        "queue": head.terms.kind.queue,
        "attempt": head.attempts,
    }
    if attempt is not None:
        fields["worker_id"] = attempt.worker_id
        fields["cause"] = cause_word(attempt.cause)
        fields["duration_ms"] = attempt.ended_ms - attempt.started_ms
    return fields
