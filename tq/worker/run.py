"""One attempt in progress, as the worker keeps it between delivery and settle."""

from __future__ import annotations

from tq.verbs import Delivery
from tq.worker.context import TaskContext
from tq.worker.definition import Definition
from tq.worker.ending import CANCELLED, DONE, LEASE_LOST, RELEASED, TIMEOUT, Ending, cut


class Run:
    """Belongs to the main loop, but for `vehicle` and `stop_seen`, which its lane writes.

    key: (task_id, token); two leases of one task are two runs.
    stop_cause: a Cause once it was told to stop, else -1. stop_ms: when, on the monotonic clock.
    ended: its slot is free; whatever its handler still does is nobody's business.
    vehicle: what it runs in: an asyncio task, a thread, a child process. None while it waits for one.
    stop_seen: the event loop it runs on got as far as hearing of the stop.
    """

    __slots__ = (
        "context",
        "definition",
        "delivery",
        "ended",
        "key",
        "started_ms",
        "stop_cause",
        "stop_ms",
        "stop_reason",
        "stop_seen",
        "vehicle",
    )

    def __init__(self, delivery: Delivery, definition: Definition, context: TaskContext, now_ms: int) -> None:
        self.delivery = delivery
        self.definition = definition
        self.context = context
        self.key = (delivery.task_id, delivery.token)
        self.started_ms = now_ms
        self.stop_cause = -1
        self.stop_ms = 0
        self.stop_reason = ""
        self.stop_seen = False
        self.ended = False
        self.vehicle: object = None

    def mark_stopped(self, cause: int, reason: str, now_ms: int) -> None:
        """Note why it must stop. A lost lease overrides everything, else the first reason stands."""
        if self.stop_cause >= 0 and cause != LEASE_LOST:
            return
        self.stop_ms = self.stop_ms or now_ms
        self.stop_cause = cause
        self.stop_reason = reason
        self.context.mark_stopped(reason)

    def final(self, ending: Ending) -> Ending:
        """The ending to settle with: when it was told to stop, that is why it ended, however it looks.

        Only a release gives way to a result: work that was finished in time need not be done again.
        """
        cause = self.stop_cause
        if cause < 0 or (cause == RELEASED and ending.cause == DONE):
            return ending
        if cause == TIMEOUT and ending.error:
            return Ending(TIMEOUT, error=cut(f"{self.stop_reason}\n\n{ending.error}"))
        if cause in (TIMEOUT, CANCELLED, LEASE_LOST):
            return Ending(cause, error=self.stop_reason)
        return Ending(cause, error=self.stop_reason, delay_ms=0)
