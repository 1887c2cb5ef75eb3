"""What a caller sees of a task: a TaskView with text ids and datetimes, and the error for one that failed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from tq import ids
from tq.client.durations import moment_of
from tq.errors import TaskFailed
from tq.task import COMPLETED, Attempt, Cause, Counters, State, TaskView


class TaskInfo(NamedTuple):
    """One task as it was when asked. `view` is the wire's form; the properties say the same in friendly types."""

    view: TaskView

    @property
    def task_id(self) -> str:
        return ids.to_text(self.view.task_id)

    @property
    def task_type(self) -> str:
        return self.view.task_type

    @property
    def queue(self) -> str:
        return self.view.queue

    @property
    def status(self) -> str:
        """The outside word: pending, in_progress, completed, failed (a retry is due), dead_letter, ..."""
        return self.view.status

    @property
    def state(self) -> State:
        return State(self.view.state)

    @property
    def state_reason(self) -> str:
        """In words: why it is not running, or why it ended as it did."""
        return self.view.state_reason

    @property
    def has_ended(self) -> bool:
        return self.view.has_ended

    @property
    def succeeded(self) -> bool:
        return self.view.state == COMPLETED

    @property
    def priority(self) -> int:
        return self.view.priority

    @property
    def result(self) -> bytes | None:
        """None until it has completed."""
        return self.view.result

    @property
    def payload(self) -> bytes | None:
        """None unless asked for."""
        return self.view.payload

    @property
    def error(self) -> str:
        """The latest failure, traceback and all; empty = none."""
        return self.view.error

    @property
    def cause(self) -> Cause | None:
        """Why the latest attempt ended; None = there was none, or it runs."""
        ended = [attempt for attempt in self.view.attempts if attempt.ended_ms]
        return Cause(ended[-1].cause) if ended else None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return self.view.attempts

    @property
    def counters(self) -> Counters:
        return self.view.counters

    @property
    def retry_count(self) -> int:
        return self.view.retry_count

    @property
    def max_retries(self) -> int:
        return self.view.max_retries

    @property
    def timeout(self) -> timedelta:
        return timedelta(milliseconds=self.view.timeout_ms)

    @property
    def worker_id(self) -> str:
        return self.view.worker_id

    @property
    def progress(self) -> tuple[float, str] | None:
        """0.0 to 1.0 and a text, the latest the running handler told."""
        told = self.view.progress
        return (told[0] / 1000, told[1]) if told is not None else None

    @property
    def dependencies(self) -> tuple[str, ...]:
        return tuple(ids.to_text(task_id) for task_id in self.view.dependencies)

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.view.metadata)

    @property
    def created_at(self) -> datetime | None:
        return moment_of(self.view.created_ms)

    @property
    def updated_at(self) -> datetime | None:
        return moment_of(self.view.updated_ms)

    @property
    def schedule_at(self) -> datetime | None:
        return moment_of(self.view.schedule_at_ms)

    @property
    def started_at(self) -> datetime | None:
        return moment_of(self.view.started_ms)

    @property
    def ended_at(self) -> datetime | None:
        return moment_of(self.view.ended_ms)

    @property
    def expires_at(self) -> datetime | None:
        return moment_of(self.view.expires_at_ms)

    def result_or_raise(self) -> bytes:
        """The result of a completed task. Raises TaskFailed, saying status, cause and error, for one that
        ended otherwise or has not ended."""
        if self.succeeded:
            return self.view.result or b""
        raise TaskFailed(
            failure_text(self),
            task_id=self.task_id,
            status=self.status,
            cause=self.cause.name.lower() if self.cause is not None else "",
            error=self.error,
        )

    def __repr__(self) -> str:
        return f"TaskInfo({self.task_id} {self.task_type!r} {self.status})"


class TaskList(NamedTuple):
    """One page of tasks. total: how many match in all. next_cursor: for the next page, 0 = this is the last."""

    tasks: tuple[TaskInfo, ...]
    total: int
    next_cursor: int


def failure_text(task: TaskInfo) -> str:
    """One line: which task, how it ended, why; then the error as the worker told it."""
    cause = f" ({task.cause.name.lower()})" if task.cause is not None else ""
    reason = f": {task.state_reason}" if task.state_reason else ""
    error = f"\n{task.error}" if task.error else ""
    return f"task {task.task_id} {task.task_type!r} is {task.status}{cause}{reason}{error}"
