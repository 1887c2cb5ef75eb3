"""What a node's consensus is to the simulator: a log to propose to, an end of the network, and something to look into.

Two things serve it: `stock`, the library as it is shipped with only its input and output replaced, and `hardened`,
the production code.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import Any, NamedTuple, Protocol

from tests.sim.disk import SimDisk, SimDiskThread
from tests.sim.loop import SimLoop
from tests.sim.schedule import Options
from tests.sim.world import World
from tq.broker.replication.log import ReplicatedLog
from tq.broker.storage.store import Store
from tq.clock import Clock
from tq.errors import TqError


class Watcher(Protocol):
    """Hears of everything the invariants are about, as it happens."""

    def added(self, node: str, index: int, term: int, previous_term: int, digest: int) -> None:
        """An entry was added to a node's log. digest: of its content."""
        ...

    def cut(self, node: str, index: int, commit_index: int, applied_index: int) -> None:
        """A node's log loses the entries from index on."""
        ...

    def applied(self, node: str, index: int, digest: int) -> None:
        """An entry goes to the state of a node."""
        ...

    def covered(self, what: str) -> None:
        """Something happened that runs must come by, or they prove little."""
        ...

    def violated(self, kind: str, node: str, text: str) -> None: ...


class Surroundings(NamedTuple):
    """What a process finds when it starts."""

    node: str
    members: tuple[str, ...]
    world: World
    loop: SimLoop
    disk: SimDisk
    disk_thread: SimDiskThread
    clock: Clock
    rng: Random
    drive: Any
    options: Options
    watcher: Watcher
    send: Callable[[str, Any], bool]
    cut: Callable[[str], None]
    on_fatal: Callable[[BaseException], None]


class Consensus(Protocol):
    """One incarnation of one node."""

    @property
    def log(self) -> ReplicatedLog: ...

    @property
    def store(self) -> Store:
        """The store the applier begins with."""
        ...

    @property
    def term(self) -> int: ...

    @property
    def is_leader(self) -> bool: ...

    @property
    def commit_index(self) -> int: ...

    @property
    def told_index(self) -> int:
        """The last entry of which it was said that it is committed."""
        ...

    @property
    def members(self) -> frozenset[str]: ...

    def members_since(self, index: int) -> set[frozenset[str]]:
        """Who voted, by each configuration that was in force since this entry was added."""
        ...

    def matches(self) -> dict[str, int]:
        """Leader only: how far each other node's log is known to equal this one's."""
        ...

    def term_at(self, index: int) -> int | None:
        """The term of an entry held in memory; None when it is not held."""
        ...

    def durable_term_at(self, index: int) -> int | None:
        """The same for what is on the disk (or, for the library, in the kernel): 0 = trimmed away, it was there."""
        ...

    def admits(self, peer: str, disk: str) -> bool:
        """Whether a node that shows this disk is believed to be the peer."""
        ...

    def is_whole(self, node: str, disk: str) -> bool:
        """Whether this one counts the node, with this disk, among those that vote."""
        ...

    def begin(
        self,
        replace: Callable[[Store], None],
        hand_over: Callable[[], None],
        lead: Callable[[bool], None],
    ) -> None:
        """The process runs. replace: to be called when a snapshot takes the place of the state. hand_over: gives
        all that was applied to the disk thread. lead: told when this node leads, and when it leads no more.
        """
        ...

    def connected(self, peer: str, epoch: int) -> None: ...

    def disconnected(self, peer: str, epoch: int) -> None: ...

    def receive(self, peer: str, frame: Any, epoch: int) -> None: ...

    def read_index(self, done: Callable[[int | TqError], None]) -> None:
        """An index that holds everything acknowledged before; the state has reached it when done is called."""
        ...

    def compact(self) -> None:
        """Make a snapshot and forget the log before it, now."""
        ...

    def transfer(self, peer: str) -> None:
        """Hand leadership over, if this node has it."""
        ...

    def remove(self, peer: str) -> None:
        """Take a node out of the configuration, if this node leads."""
        ...

    def add(self, peer: str) -> None:
        """Take a node in."""
        ...


class Make(NamedTuple):
    """How nodes of one kind are made.

    drive: what of a node outlives its processes; it is registered with the disk. disk_id: how it is known to the
    others; ends with the generation, which is above 1 after damage. start: one process.
    unsynced(raft, target, frame): what of a frame that is leaving hangs on something that is not durable, in words; empty = nothing.
    during: around a whole run. is_fail_stop: whether what a process raises ends it.
    """

    name: str
    drive: Callable[[SimDisk, str], Any]
    start: Callable[[Surroundings], Consensus]
    unsynced: Callable[[Consensus, str, Any], str]
    during: Callable[[Options], AbstractContextManager[None]]
    is_fail_stop: bool
