"""What happened, as events for the feed. Nothing is built while nobody listens: that costs one question an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tq import documents
from tq.broker.engine.roster import Roster
from tq.broker.feed import Feed, Fields
from tq.broker.machine.effects import Outcome
from tq.broker.machine.heads import Head
from tq.broker.machine.sessions import Session
from tq.broker.machine.state import State
from tq.ids import to_text
from tq.task import COMPLETED, IN_PROGRESS, STATUS_OF_STATE
from tq.verbs import Series, Stats

REGISTERED, DISCONNECTED, CAPACITY, DRAINING, GONE, LOST = (
    "registered",
    "disconnected",
    "capacity",
    "draining",
    "gone",
    "lost",
)
"""What a worker_update says has changed: it came (back); its connection went and its grace began; it offers another
number of slots, or none; it said goodbye; it was given up."""


class Announcer:
    """Speaks for the engine. Events carry the entries' time."""

    def __init__(
        self, feed: Feed, state: State, roster: Roster, *, log_worker: Callable[[Session, str], None]
    ) -> None:
        """log_worker: writes a line about a worker and its change."""
        self._log_worker = log_worker
        self._feed = feed
        self._state = state
        self._roster = roster

    def entry(self, outcome: Outcome) -> None:
        """Tell of every task this entry changed, its last status each. To be called after the entry, before the next."""
        now_ms, feed = self._state.clock_ms, self._feed
        if feed.is_wanted(now_ms):
            feed.publish(now_ms, "task_update", self._task_updates(outcome, outcome.changed))
        elif watched := feed.watched:
            heads = [head for head in outcome.changed if head.task_id in watched]
            feed.publish(now_ms, "task_update", self._task_updates(outcome, heads))

    def worker(self, session_id: bytes, change: str) -> None:
        """Tell of a worker, the log too. One that is gone or lost is told of while its session still stands."""
        now_ms = self._state.clock_ms
        session = self._state.sessions.get(session_id)
        if session is None:
            return
        self._log_worker(session, change)
        if not (self._feed.is_wanted(now_ms) or self._feed.is_followed):
            return
        if change in (GONE, LOST) or not self._roster.is_connected(session_id):
            status = "disconnected"
        else:
            status = "active" if session.slots else "draining"
        fields: Fields = {
            "worker_id": session.worker_id,
            "session_id": to_text(session_id),
            "change": change,
            "status": status,
            "capacity": session.capacity,
            "host": session.host,
            "pid": session.pid,
        }
        self._feed.publish(now_ms, "worker_update", (fields,))

    @property
    def wants_stats(self) -> bool:
        return self._feed.is_followed

    def stats(self, now_ms: int, stats: Stats, latest: Series) -> None:
        """Tell the numbers of the whole; while nobody listens they are not even worked out.

        latest: the minute that runs now, alone.
        """
        fields = {**documents.of_stats(stats), **documents.of_latest(latest)}
        self._feed.publish(now_ms, "stats", (fields,))

    def _task_updates(self, outcome: Outcome, heads: list[Head]) -> Iterator[Fields]:
        index, archived = self._state.index, outcome.archived
        failed = {head.seq: attempt for head, attempt in outcome.attempts}
        for head in heads:
            hold = head.hold
            if hold is not None and head.state == IN_PROGRESS and hold.token != index:
                continue  # its lease was extended: nothing that anybody sees
            attempt = failed.get(head.seq)
            worker_id, error = "", ""
            if hold is not None:
                worker_id = hold.worker_id
            elif attempt is not None:
                worker_id, error = attempt.worker_id, attempt.error
            if head.state >= COMPLETED:
                record = archived.get(head.task_id)
                if record is not None:
                    worker_id, error = record.worker_id, error or record.reason
            kind = head.terms.kind
            yield {
                "task_id": to_text(head.task_id),
                "task_type": kind.task_type,
                "queue": kind.queue,
                "status": STATUS_OF_STATE[head.state],
                "worker_id": worker_id or None,
                "attempt": head.attempts,
                "error": error or None,
            }
