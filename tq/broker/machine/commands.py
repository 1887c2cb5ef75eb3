"""What the log keeps. A released command never changes its meaning; commands are only added.

Each class is a NamedTuple and stands in the log as an array: [code, fields...] (`engine/entries`). An entry is a
time and a list of commands; the time is the leader's wall clock, stamped when the entry is proposed.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tq.task import EndedTask, TaskSpec
from tq.verbs import SettleItem


class SubmitTasks(NamedTuple):
    """All or none. Reply: Submitted, or BadRequest."""

    tasks: tuple[TaskSpec, ...]


class OpenSession(NamedTuple):
    """A worker registers, for the first time or again. Reply: Registered (grace_ms left 0)."""

    session_id: bytes
    worker_id: str
    queues: tuple[str, ...]
    task_types: tuple[str, ...]
    capacity: int
    holds: tuple[tuple[bytes, int], ...]
    host: str
    pid: int
    version: str


class CloseSession(NamedTuple):
    """A worker is gone; its tasks go back. cause: Cause.RELEASED (it said goodbye) or Cause.LEASE_LOST. Reply: Done."""

    session_id: bytes
    cause: int


class ChangeCapacity(NamedTuple):
    """Reply: Done, or LeaseLost when the session is not open."""

    session_id: bytes
    capacity: int


class ClaimTasks(NamedTuple):
    """Credit beyond the capacity, spent by the next leases. 0 takes back what is unspent. Reply: Done or LeaseLost."""

    session_id: bytes
    credit: int


class DrainSessions(NamedTuple):
    """Hand nothing more to the sessions of this worker id, or to the one of this id as text. Reply: Drained or
    WorkerNotFound."""

    worker: str


class SettleTasks(NamedTuple):
    """Reply: Settled."""

    session_id: bytes
    items: tuple[SettleItem, ...]


class ExtendLeases(NamedTuple):
    """Reply: Settled."""

    session_id: bytes
    items: tuple[tuple[bytes, int, int], ...]


class CancelTask(NamedTuple):
    """Reply: TaskRef, TaskNotFound or InvalidStatus."""

    task_id: bytes
    force: bool


class RetryTask(NamedTuple):
    """Reply: TaskRef, TaskNotFound or InvalidStatus."""

    task_id: bytes
    max_retries: int


class ForgetTasks(NamedTuple):
    """Remove ended tasks with all they left behind; ids of others are passed over. Reply: Purged."""

    task_ids: tuple[bytes, ...]


class SetPause(NamedTuple):
    """Reply: Done."""

    queue: str
    paused: bool
    reason: str


class ImportTasks(NamedTuple):
    """Tasks that ended elsewhere, kept as ended ones; ids that exist are passed over. Reply: Changed, or BadRequest."""

    tasks: tuple[EndedTask, ...]


class Tick(NamedTuple):
    """Do what has fallen due by the entry's time, at most TICK_TASKS_MAX of it. Reply: Done."""


Command: TypeAlias = (
    SubmitTasks
    | OpenSession
    | CloseSession
    | ChangeCapacity
    | ClaimTasks
    | SettleTasks
    | ExtendLeases
    | CancelTask
    | RetryTask
    | ForgetTasks
    | SetPause
    | Tick
    | DrainSessions
    | ImportTasks
)

CODE_OF: dict[type[Command], int] = {
    SubmitTasks: 1,
    OpenSession: 2,
    CloseSession: 3,
    ChangeCapacity: 4,
    ClaimTasks: 5,
    SettleTasks: 6,
    ExtendLeases: 7,
    CancelTask: 8,
    RetryTask: 9,
    ForgetTasks: 10,
    SetPause: 11,
    Tick: 12,
    DrainSessions: 13,
    ImportTasks: 14,
}
"""Command class -> its number in the log; never reused (a test keeps the list)."""

TICK_TASKS_MAX = 2_000
"""Bounds the time one entry may take to apply."""
