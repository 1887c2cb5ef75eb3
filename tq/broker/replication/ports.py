"""What `core.RaftCore` is given and what it gives: the seams that a process and a simulator fill differently.

The core does no I/O, reads no clock and draws no chance of its own. Whoever owns it drives it:

    core.receive(...) / core.propose(...)     anything that arrived, in any number; only queued
    needs_sync = core.step()                  deliver, tick, gather; nothing that hangs on the journal has left yet
    if needs_sync:
        journal.sync()                        on a disk thread, say; `step` must not be called meanwhile
        core.synced()                         now acknowledgements, votes, commits and answers leave

`step` is due whenever something was queued, after every `synced`, and at `core.next_due` at the latest. What happens
while a sync is under way queues. With the same clock, chance, journal and calls a core does the same, to the byte.

What leaves when: the entries a leader sends may leave in `step`, before its own sync, because its own copy is counted
only after it (thesis 10.2.1). Everything else, and every `on_commit`, leaves in `step` only if nothing unsynced
stands behind it, and in `synced` otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tq.broker.replication.messages import Message
from tq.broker.replication.records import Entry, Link
from tq.errors import TqError

Monotonic = Callable[[], float]
"""Seconds that never go back."""
Chance = Callable[[], float]
"""The next random number, 0 <= n < 1."""


class Behind(NamedTuple):
    """Entries of the log behind one that is held, each (term, data)."""

    previous: Link
    entries: tuple[tuple[int, bytes], ...]


Fetch = Callable[[int, int, Callable[[Behind | None], None]], None]
"""fetch(previous, entries_max, done): read what is behind entry `previous` where it takes its time; done gets it on the
core's thread, at any later moment or at once, None when it is no longer held."""
Answered = Callable[[int | TqError], None]
"""Told the index when it happened, or the error whose `outcome` says what became of it."""


class Links(Protocol):
    """The way to the peers. Frames on one connection arrive in order or not at all.

    The owner tells the core of each connection with `connected(peer, epoch, shown)`, hands it frames with
    `receive(peer, epoch, message)`, and says `disconnected(peer, epoch)`. epoch: a number that no other connection
    with that peer had since this process began; frames of any but the newest are dropped by the core.
    """

    def send(self, peer: str, message: Message) -> None:
        """Put it on the newest connection, or drop it when there is none. Never blocks, never raises."""
        ...


class RaftJournal(Protocol):
    """`journal.Journal`, as far as the core needs it; its twin in memory is `memory_journal.MemoryJournal`.

    Changes are visible at once and durable after the next sync, which is the owner's to call.
    """

    @property
    def base(self) -> Link:
        """The last entry that is no longer held; index 0 when nothing was ever trimmed."""
        ...

    @property
    def last(self) -> Link:
        """The last entry, or base when none is held."""
        ...

    @property
    def term(self) -> int: ...

    @property
    def voted_for(self) -> str:
        """The node voted for in this term, empty = none."""
        ...

    @property
    def commit_index(self) -> int: ...

    @property
    def members(self) -> bytes:
        """The configuration as of base; empty = what the process was started with."""
        ...

    def set_members(self, members: bytes) -> None: ...

    def controls(self) -> list[tuple[int, bytes]]:
        """(index, data) of the entries held that begin with records.CONTROL, as of opening, in order."""
        ...

    def append(self, term: int, data: bytes) -> int: ...

    def truncate_from(self, index: int) -> None: ...

    def trim(self, upto: int) -> None: ...

    def reset(self, base: Link) -> None: ...

    def set_term(self, term: int, voted_for: str) -> None: ...

    def set_commit_index(self, index: int) -> None: ...

    def entry(self, index: int) -> Entry: ...

    def link(self, index: int) -> Link:
        """Of an entry that is held, or of base."""
        ...

    def is_near(self, index: int) -> bool:
        """Whether `entry` gives this one without reading the disk; then all younger ones, too."""
        ...

    def read_behind(self, previous: int, *, entries_max: int, bytes_max: int) -> Behind | None:
        """Entries behind `previous`, as many as fit and at least one if there is one; None when it is not held.

        May read the disk, and on any thread that no sync runs on meanwhile.
        """
        ...


class SnapshotInfo(NamedTuple):
    """A whole copy of the state after entry `link.index`, as a stream of bytes.

    digest: SHA-256 of the stream. members: the configuration as of that entry. Two infos are the same snapshot when
    they are equal.
    """

    link: Link
    size: int
    digest: bytes
    members: bytes


class Snapshots(Protocol):
    """The copies of the state that this node has, makes, and receives.

    Nothing here may block: what takes the disk's time is done elsewhere and reported through the callbacks, on the
    core's thread, at any later moment or at once.
    """

    def newest(self) -> SnapshotInfo | None:
        """The newest that is complete and durable. It stays readable until a newer one has been asked for."""
        ...

    def make(self) -> None:
        """Begin making one of the state as it is now, unless one is being made; `newest` will show it."""
        ...

    def read(self, info: SnapshotInfo, offset: int, bytes_max: int) -> bytes:
        """A piece of one that `newest` showed; empty when it is gone."""
        ...

    def begin(self, info: SnapshotInfo) -> int:
        """Get ready to receive this one; the offset to go on at (more than 0 when it was begun before)."""
        ...

    def write(self, info: SnapshotInfo, offset: int, data: bytes) -> None:
        """The next piece of the one begun last; offset is where the piece before ended."""
        ...

    def install(self, info: SnapshotInfo, done: Callable[[bool], None]) -> None:
        """Verify what was received, make it durable and put it in the place of the state.

        done(True): the state is now that after info.link, and survives a crash. done(False): it does not match its
        digest, nothing was changed, and it is forgotten. Failing half-way is fatal, through the owner.
        """
        ...


@dataclass(frozen=True)
class RaftTimes:
    """All in seconds.

    election_min, election_max: silence of the leader after which a node stands, drawn anew each time; a leader that
    has not heard a majority for election_max steps down. heartbeat: how often an idle leader speaks. proposal: the
    longest a proposal or a read may wait for its end.
    """

    election_min: float = 0.6
    election_max: float = 1.2
    heartbeat: float = 0.1
    proposal: float = 5.0


class Status(NamedTuple):
    """For people and metrics. match: what each peer is known to hold; empty unless leading."""

    role: str
    leader: str
    term: int
    commit_index: int
    applied: int
    last_index: int
    first_index: int
    match: dict[str, int]


class Listener(Protocol):
    """The owner's ears."""

    def on_commit(self, index: int, data: bytes) -> None:
        """Entry `index` is committed and durable here. In order, once per entry, without those that are Raft's own.

        data: on the proposing node, the object that was proposed. An index is skipped only where Raft keeps an
        entry of its own, or where `on_installed` moved the state.
        """
        ...

    def on_installed(self, link: Link) -> None:
        """The state was replaced by a snapshot that ends with this entry; `on_commit` goes on behind it."""
        ...

    def on_role(self, role: str, leader: str, term: int) -> None:
        """This node became `leader`, `candidate`, `follower` or `observer`; or the leader it follows changed ("" = none)."""
        ...
