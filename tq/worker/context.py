"""What a handler may know and say about the task it runs: `current()`.

A context variable, not a parameter, so that signatures stay clean and typed. It holds in async handlers and the
tasks they start, in threads and in child processes alike.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from tq import ids
from tq.client.durations import Duration, duration_ms
from tq.clock import Clock
from tq.logs import Logger, get_logger
from tq.protocol.limits import PROGRESS_CHARS_MAX
from tq.task import TIMEOUT_MS_MAX
from tq.trace_context import trace_of
from tq.verbs import Delivery
from tq.worker.control import Stopped


class Reporter(Protocol):
    """Where a running task's news go. Safe to call from any thread."""

    def report_progress(self, delivery: Delivery, permille: int, text: str) -> None: ...

    def request_extension(self, delivery: Delivery, ms: int) -> None: ...


class TaskContext:
    """One attempt of one task, seen from inside its handler."""

    __slots__ = ("_clock", "_deadline_ms", "_delivery", "_is_extended", "_reporter", "_stop_reason")

    def __init__(self, delivery: Delivery, reporter: Reporter, clock: Clock, now_ms: int) -> None:
        """now_ms: the clock's monotonic time; the time limit counts from then, or from `begin`."""
        self._delivery = delivery
        self._reporter = reporter
        self._clock = clock
        self._deadline_ms = now_ms + delivery.timeout_ms
        self._is_extended = False
        self._stop_reason = ""

    @property
    def task_id(self) -> str:
        """UUID text."""
        return ids.to_text(self._delivery.task_id)

    @property
    def task_type(self) -> str:
        return self._delivery.task_type

    @property
    def queue(self) -> str:
        return self._delivery.queue

    @property
    def attempt(self) -> int:
        """1 is the first."""
        return self._delivery.attempt

    @property
    def max_retries(self) -> int:
        return self._delivery.max_retries

    @property
    def metadata(self) -> dict[str, str]:
        """What the submitter attached. A copy: changing it changes nothing."""
        return dict(self._delivery.metadata)

    @property
    def trace(self) -> dict[str, str]:
        """`traceparent` and `tracestate` of whoever submitted the task, as headers for calls this handler makes.

        Empty when there is none. In a program that uses OpenTelemetry the handler runs in a span of its own, a child
        of that one; inject its context instead.
        """
        return trace_of(self._delivery.metadata)

    @property
    def token(self) -> int:
        """The fencing token: grows with every lease of this task. Send it along to a store that refuses smaller
        ones, and a worker that was thought dead cannot overwrite what its successor wrote."""
        return self._delivery.token

    @property
    def created_ms(self) -> int:
        """When the task was submitted, wall milliseconds UTC by the broker's clock."""
        return self._delivery.created_ms

    @property
    def remaining(self) -> float:
        """Seconds until the time limit stops this attempt; 0.0 once it is over."""
        return max(0, self._deadline_ms - self._clock.monotonic_ms()) / 1000

    @property
    def deadline_ms(self) -> int:
        """When the time limit stops this attempt, on the monotonic clock in milliseconds."""
        return self._deadline_ms

    @property
    def cancelled(self) -> bool:
        """Has this attempt been told to stop: cancelled, out of time, lease lost, worker going down?

        For plain functions in threads, which should look now and then; an async handler gets CancelledError.
        """
        return bool(self._stop_reason)

    def check_cancelled(self) -> None:
        """Leave the handler now if this attempt has been told to stop (raises Stopped, which nothing need catch)."""
        if self._stop_reason:
            raise Stopped(self._stop_reason)

    def progress(self, fraction: float, text: str = "") -> None:
        """Tell how far it is, 0.0 to 1.0, and what it does. Cheap: only the latest goes out, with the next heartbeat."""
        permille = min(1000, max(0, round(fraction * 1000)))
        # Half a surrogate cannot be encoded; found here, it does no harm where heartbeats are made.
        sendable = text[:PROGRESS_CHARS_MAX].encode("utf-8", "replace").decode()
        self._reporter.report_progress(self._delivery, permille, sendable)

    def extend(self, duration: Duration) -> None:
        """Move the deadline to so long from now, here and at the broker; at most 30 days."""
        ms = min(duration_ms(duration, "extend"), TIMEOUT_MS_MAX)
        self._deadline_ms = self._clock.monotonic_ms() + ms
        self._is_extended = True
        self._reporter.request_extension(self._delivery, ms)

    @property
    def logger(self) -> Logger:
        """A logger that says which task, type and attempt with every line."""
        return get_logger("task").bind(task_id=self.task_id, task_type=self.task_type, attempt=self.attempt)

    # What follows is the worker's side of it.

    @property
    def delivery(self) -> Delivery:
        return self._delivery

    @property
    def limit(self) -> str:
        """The time limit in words."""
        return (
            "extended time limit"
            if self._is_extended
            else f"time limit of {self._delivery.timeout_ms / 1000:g} s"
        )

    def begin(self) -> None:
        """Count the time limit from now: the handler starts."""
        self._deadline_ms = self._clock.monotonic_ms() + self._delivery.timeout_ms

    def mark_stopped(self, reason: str) -> None:
        """Raise the flag that `cancelled` shows."""
        self._stop_reason = reason or "stopped"


CURRENT: ContextVar[TaskContext] = ContextVar("tq_current_task")
"""Set by the lanes around each handler."""


def current() -> TaskContext:
    """The task that runs here. Raises RuntimeError outside of a handler, a plain local call included."""
    try:
        return CURRENT.get()
    except LookupError:
        raise RuntimeError(
            "no task runs here; tq.current() works inside a handler that a worker runs"
        ) from None
