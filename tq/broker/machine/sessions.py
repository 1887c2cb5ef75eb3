"""Workers' sessions: who serves what, with how many slots, holding which tasks.

Sessions that serve the same queues and types form a group, so that matching looks only at groups that have both a
free slot and a ready task, however many idle workers or empty kinds there are. Everything that decides who is
handed what follows from the rows of the sessions and the log index, so that a node that restarts, and reads its
sessions back in another order than they came, leases to the same ones as the nodes that did not.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tq.broker.machine.kinds import Kind

RANKS_SPARE = 64
"""Entries a group keeps beyond two for each ready kind before it drops the dead ones."""


class Group:
    """members: sessions by their place. taken, free: a bit per place that has a session, that has a free slot.

    slots: sum of those of the members. ready: kinds with something to take. ranks: a heap of (rank, kind number) with an entry
    at or below the true rank of each ready kind; what is found out of date at the top is put right there.
    """

    __slots__ = (
        "free",
        "is_awake",
        "key",
        "members",
        "queues",
        "ranks",
        "ready",
        "slots",
        "taken",
        "task_types",
        "woken",
    )

    def __init__(self, queues: tuple[str, ...], task_types: tuple[str, ...], woken: list[Group]) -> None:
        """woken: where the group puts itself down when it may have become able to lease."""
        self.queues = frozenset(queues)
        self.task_types = frozenset(task_types)
        self.key = (tuple(sorted(queues)), tuple(sorted(task_types)))
        self.members: dict[int, Session] = {}
        self.taken = 0
        self.free = 0
        self.slots = 0
        self.ready: dict[int, Kind] = {}
        self.ranks: list[tuple[int, int]] = []
        self.woken = woken
        self.is_awake = False

    def serves(self, kind: Kind) -> bool:
        return kind.queue in self.queues and kind.task_type in self.task_types

    # ------------------------------------------------------------ sessions

    def free_place(self) -> int:
        """The lowest place without a session."""
        return (~self.taken & (self.taken + 1)).bit_length() - 1

    def join(self, session: Session, place: int) -> None:
        session.group, session.place = self, place
        self.members[place] = session
        self.taken |= 1 << place
        self.slots += session.slots

    def leave(self, session: Session) -> None:
        bit = 1 << session.place
        del self.members[session.place]
        self.taken &= ~bit
        self.free &= ~bit
        self.slots -= session.slots

    def next_free(self, after: int) -> Session:
        """The session with a free slot that stands next after a place, round and round. There must be one."""
        above = self.free >> (after + 1)
        if above:
            return self.members[after + (above & -above).bit_length()]
        return self.members[(self.free & -self.free).bit_length() - 1]

    def wake(self) -> None:
        if not self.is_awake:
            self.is_awake = True
            self.woken.append(self)

    # ------------------------------------------------------------ kinds

    def show(self, kind: Kind, rank: int) -> None:
        """The kind has something to take, its best at this rank."""
        self.ready[kind.number] = kind
        heappush(self.ranks, (rank, kind.number))
        if len(self.ranks) > 2 * len(self.ready) + RANKS_SPARE:
            self.ranks = [(other.rank(), number) for number, other in self.ready.items()]
            heapify(self.ranks)
        self.wake()

    def hide(self, kind: Kind) -> None:
        self.ready.pop(kind.number, None)

    def best(self) -> Kind:
        """The ready kind with the task of the highest priority, the earliest of them. There must be one."""
        ready = self.ready
        if len(ready) == 1:
            return next(iter(ready.values()))
        ranks = self.ranks
        while True:
            rank, number = ranks[0]
            kind = ready.get(number)
            if kind is None:
                heappop(ranks)
                continue
            now = kind.rank()
            if now == rank:
                return kind
            heapreplace(ranks, (now, number))


class Session:
    """One start of one worker process.

    place: its number in its group. held: task id -> token of its leases.
    zombies: (task id, token) of attempts that were taken from it, cancelled or out of time, and that it has not yet
        settled: their slots are not free before it says so.
    credit: leases beyond the capacity that a claim asked for.
    is_draining: it is handed nothing more, whatever it registers or claims.
    """

    __slots__ = (
        "capacity",
        "credit",
        "group",
        "held",
        "host",
        "is_draining",
        "pid",
        "place",
        "queues",
        "session_id",
        "task_types",
        "version",
        "worker_id",
        "zombies",
    )

    def __init__(self, session_id: bytes, group: Group) -> None:
        self.session_id = session_id
        self.group = group
        self.place = 0
        self.worker_id = ""
        self.queues: tuple[str, ...] = ()
        self.task_types: tuple[str, ...] = ()
        self.capacity = 0
        self.credit = 0
        self.host = ""
        self.pid = 0
        self.version = ""
        self.held: dict[bytes, int] = {}
        self.zombies: dict[tuple[bytes, int], None] = {}
        self.is_draining = False

    @property
    def slots(self) -> int:
        """What it adds to what its group can run."""
        return 0 if self.is_draining else self.capacity

    def has_slot(self) -> bool:
        """Whether a slot of its capacity is free."""
        return self.capacity > len(self.held) + len(self.zombies)

    def has_room(self) -> bool:
        if self.is_draining:
            return False
        return self.credit > 0 or self.capacity > len(self.held) + len(self.zombies)

    def mark(self) -> None:
        """Tell the group whether there is room after capacity, credit, held or zombies changed."""
        group = self.group
        if self.has_room():
            group.free |= 1 << self.place
            group.wake()
        else:
            group.free &= ~(1 << self.place)

    def resize(self, capacity: int) -> None:
        self.group.slots -= self.slots
        self.capacity = capacity
        self.group.slots += self.slots

    def drain(self) -> None:
        self.group.slots -= self.slots
        self.is_draining = True

    def record(self) -> tuple[object, ...]:
        return (
            self.worker_id,
            self.queues,
            self.task_types,
            self.capacity,
            self.host,
            self.pid,
            self.version,
            self.place,
            self.credit,
            tuple(self.zombies),
            self.is_draining,
        )
