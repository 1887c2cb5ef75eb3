"""Workers' sessions: who serves what, with how many slots, holding which tasks.

Sessions that serve the same queues and types form a group, so that matching looks only at groups that have both a
free slot and a ready task, however many idle workers or empty kinds there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tq.broker.machine.kinds import Kind


class Group:
    """free: sessions with a free slot, next in turn first. ready: kinds with something to take."""

    __slots__ = ("free", "queues", "ready", "sessions", "task_types")

    def __init__(self, queues: frozenset[str], task_types: frozenset[str]) -> None:
        self.queues = queues
        self.task_types = task_types
        self.sessions: dict[bytes, Session] = {}
        self.free: dict[bytes, Session] = {}
        self.ready: dict[int, Kind] = {}

    def serves(self, kind: Kind) -> bool:
        return kind.queue in self.queues and kind.task_type in self.task_types


class Session:
    """One start of one worker process.

    held: task id -> token of everything it has been handed and has not settled. A task that was cancelled or
        timed out under it stays here, because its slot is not free before the worker says so.
    credit: leases beyond the capacity that a claim asked for.
    """

    __slots__ = (
        "capacity",
        "credit",
        "group",
        "held",
        "host",
        "pid",
        "queues",
        "session_id",
        "task_types",
        "version",
        "worker_id",
    )

    def __init__(self, session_id: bytes, group: Group) -> None:
        self.session_id = session_id
        self.group = group
        self.worker_id = ""
        self.queues: tuple[str, ...] = ()
        self.task_types: tuple[str, ...] = ()
        self.capacity = 0
        self.credit = 0
        self.host = ""
        self.pid = 0
        self.version = ""
        self.held: dict[bytes, int] = {}

    def has_room(self) -> bool:
        return self.credit > 0 or self.capacity > len(self.held)

    def mark(self) -> None:
        """Enter or leave the group's list of free sessions after capacity, credit or held changed."""
        if self.credit > 0 or self.capacity > len(self.held):
            self.group.free.setdefault(self.session_id, self)
        else:
            self.group.free.pop(self.session_id, None)

    def record(self) -> tuple[object, ...]:
        return (
            self.worker_id,
            self.queues,
            self.task_types,
            self.capacity,
            self.host,
            self.pid,
            self.version,
        )
