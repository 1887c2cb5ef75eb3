"""A node of tq: the production core and journal, driven as `replication.ports` says, on simulated disk and links."""

from __future__ import annotations

from asyncio import Future, TimerHandle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from zlib import crc32

from tests.sim.consensus import Consensus, Make, Surroundings
from tests.sim.database import SimDatabase
from tests.sim.disk import SimDisk
from tests.sim.drives import HardDrive, WatchedJournal
from tests.sim.schedule import Options
from tests.sim.snapshots import SimSnapshots
from tq.broker.replication import tail
from tq.broker.replication.core import RaftCore
from tq.broker.replication.log import OnCommit
from tq.broker.replication.membership import Configuration
from tq.broker.replication.messages import Ack, Message, Vote, VoteRequest, pack_message, unpack_message
from tq.broker.replication.ports import RaftTimes
from tq.broker.replication.records import Link
from tq.broker.storage.store import Store
from tq.errors import TqError

WITNESS_SECONDS = 1.0
TURN_SECONDS = 0.0005
TIMES = RaftTimes(election_min=0.4, election_max=1.0, heartbeat=0.1, proposal=5.0)


class HardLog:
    """`replication.log.ReplicatedLog` over the core."""

    def __init__(self, owner: HardNode) -> None:
        self._owner = owner
        self.on_commit: OnCommit | None = None

    @property
    def first_index(self) -> int:
        return self._owner.journal.first_index

    @property
    def last_index(self) -> int:
        return self._owner.journal.last_index

    @property
    def is_leader(self) -> bool:
        return self._owner.is_leader

    async def start(self, after: int, on_commit: OnCommit) -> None:
        self.on_commit = on_commit
        self._owner.run(after)

    def propose(self, data: bytes) -> Future[int]:
        future: Future[int] = self._owner.around.loop.create_future()

        def done(result: int | TqError) -> None:
            if isinstance(result, TqError):
                future.set_exception(result)
            else:
                future.set_result(result)

        self._owner.ask(lambda core: core.propose(data, done))
        return future

    def release(self, upto: int) -> None:
        self._owner.ask(lambda core: core.release(upto))

    async def close(self) -> None:
        return None


class HardNode:
    """Serves `consensus.Consensus`; is the core's links and listener."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        drive: HardDrive = around.drive
        self.journal = WatchedJournal(SimDatabase(around.node, drive.image, around.disk))  # type: ignore[arg-type]
        self.journal.watcher, self.journal.node = around.watcher, around.node
        self.journal.applied = lambda: self._applied
        self.journal._load(may_be_new=not drive.image.is_made)
        self.log = HardLog(self)
        self._core: RaftCore | None = None
        self._applied = 0
        self._is_syncing = False
        self._is_due = False
        self._timer: TimerHandle | None = None
        self._replace: Callable[[Store], None] = lambda _: None
        self._hand_over: Callable[[], None] = lambda: None
        self._snapshots = SimSnapshots(
            drive.snapshots,
            around.disk,
            around.disk_thread,
            prepare=lambda: self._hand_over(),
            position=self._position,
            on_installed=lambda: None,
        )

    @property
    def store(self) -> Store:
        store: Store = self.around.drive.snapshots.store
        return store

    # ------------------------------------------------------------ driving the core

    def begin(self, replace: Callable[[Store], None], hand_over: Callable[[], None]) -> None:
        self._replace = replace
        self._hand_over = hand_over
        self._witness()

    def run(self, applied: int) -> None:
        around = self.around
        self._applied = applied
        self._core = RaftCore(
            around.node,
            Configuration.of({name: f"{name}:1" for name in around.members}, {}),
            self.journal,
            self,
            self._snapshots,
            self,
            clock=lambda: around.world.now,
            chance=around.rng.random,
            times=TIMES,
            applied=applied,
            installed=around.drive.snapshots.installed,
            installed_members=around.drive.snapshots.installed_members,
        )
        self._later()

    def ask(self, event: Callable[[RaftCore], None]) -> None:
        """Queue something with the core and let it step."""
        if self._core is not None:
            event(self._core)
            self._later()

    def _later(self) -> None:
        if not self._is_due and not self._is_syncing:
            self._is_due = True
            self.around.loop.call_soon(self._step)

    def _step(self) -> None:
        self._is_due = False
        core = self._core
        assert core is not None
        if self._is_syncing:
            return
        if core.step():
            self._is_syncing = True
            self.around.disk_thread.call(self.journal.sync, self._synced)
            return
        self._wait(core)

    def _synced(self, result: object) -> None:
        self._is_syncing = False
        if isinstance(result, Exception):
            raise result
        assert self._core is not None
        self._core.synced()
        self._later()

    def _wait(self, core: RaftCore) -> None:
        """Step again when it is due, unless something comes before."""
        due = core.next_due
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due == float("-inf"):
            self._later()
        elif due != float("inf"):
            # Real time passes while a loop turns; here it must be made to, or what is due now is so for ever.
            at = max(due, self.around.world.now + TURN_SECONDS)
            self._timer = self.around.loop.call_at(at, self._later)

    def _witness(self) -> None:
        self.around.disk_thread.run(self.journal.sync_witness)
        self.around.loop.call_later(WITNESS_SECONDS, self._witness)

    # ------------------------------------------------------------ the core's links and listener

    def send(self, peer: str, message: Message) -> None:
        self.around.send(peer, pack_message(message))

    def on_commit(self, index: int, data: bytes) -> None:
        assert self.log.on_commit is not None
        self._applied = index
        if self.durable_term_at(index) is None:
            self.around.watcher.violated("I7 applied before its sync", self.around.node, f"entry {index}")
        self.around.watcher.applied(self.around.node, index, crc32(data))
        self.log.on_commit(index, data)

    def on_installed(self, link: Link) -> None:
        self._applied = link.index
        self.around.watcher.covered("snapshots installed")
        self._replace(self.store)

    def on_role(self, role: str, leader: str, term: int) -> None:
        """Nobody here waits for it: who leads is asked when it matters."""

    def _position(self) -> tuple[Link, bytes]:
        assert self._core is not None
        return self.journal.link(self._applied), self._core.members_as_of(self._applied)

    # ------------------------------------------------------------ what the simulator looks at

    @property
    def term(self) -> int:
        return self._core.status.term if self._core is not None else 0

    @property
    def is_leader(self) -> bool:
        return self._core is not None and self._core.is_leader

    @property
    def commit_index(self) -> int:
        return self._core.status.commit_index if self._core is not None else 0

    @property
    def told_index(self) -> int:
        return self._applied

    @property
    def members(self) -> frozenset[str]:
        return frozenset(self._core.configuration.voters if self._core is not None else ())

    def matches(self) -> dict[str, int]:
        return self._core.status.match if self._core is not None else {}

    def term_at(self, index: int) -> int | None:
        journal = self.journal
        return journal.link(index).term if journal.first_index <= index <= journal.last_index else None

    def durable_term_at(self, index: int) -> int | None:
        term: int | None = self.around.drive.term_at(index)
        return term

    # ------------------------------------------------------------ what happens to it

    def connected(self, peer: str, epoch: int) -> None:
        self.ask(lambda core: core.connected(peer, epoch))

    def disconnected(self, peer: str, epoch: int) -> None:
        self.ask(lambda core: core.disconnected(peer, epoch))

    def receive(self, peer: str, frame: bytes, epoch: int) -> None:
        message = unpack_message(frame)
        self.ask(lambda core: core.receive(peer, epoch, message))

    def compact(self) -> None:
        if self._core is not None:
            self._snapshots.make()

    def transfer(self, peer: str) -> None:
        self.ask(lambda core: core.transfer(peer, partial(self._ended, "transfers")))

    def remove(self, peer: str) -> None:
        if self._core is None or not self.is_leader:
            return
        now = self._core.configuration
        self._change(
            {v: now.address(v) for v in now.voters if v != peer},
            {o: now.address(o) for o in now.observers if o != peer},
        )

    def add(self, peer: str) -> None:
        """First as an observer; asked again, as a voter."""
        if self._core is None or not self.is_leader:
            return
        now = self._core.configuration
        voters = {voter: now.address(voter) for voter in now.voters}
        observers = {observer: now.address(observer) for observer in now.observers if observer != peer}
        chosen = voters if peer in now.observers else observers
        if peer not in voters:
            chosen[peer] = f"{peer}:1"
            self._change(voters, observers)

    def _change(self, voters: dict[str, str], observers: dict[str, str]) -> None:
        configuration = Configuration.of(voters, observers)
        self.ask(lambda core: core.change_members(configuration, partial(self._ended, "membership changes")))

    def read_index(self, done: Callable[[int | TqError], None]) -> None:
        self.ask(lambda core: core.read_index(done))

    def _ended(self, what: str, result: int | TqError) -> None:
        if not isinstance(result, TqError):
            self.around.watcher.covered(what)


def _unsynced(raft: Consensus, target: str, frame: Any) -> str:
    """I7: what a frame promises must be on the sender's disk."""
    assert isinstance(raft, HardNode)
    message = unpack_message(frame)
    drive: HardDrive = raft.around.drive
    state = drive.state()
    if message.term > state.term:
        return f"{type(message).__name__} of term {message.term}, the disk has {state.term}"
    if isinstance(message, Vote | VoteRequest):
        voted_for = target if isinstance(message, Vote) else raft.around.node
        if message.term == state.term and state.voted_for != voted_for:
            return f"a vote for {voted_for} in term {message.term}, the disk has {state.voted_for!r}"
    if isinstance(message, Ack) and message.is_match:
        index = message.next_index - 1
        mine = raft.term_at(index)
        if mine is not None and raft.durable_term_at(index) != mine:
            return f"entry {index} is acknowledged and not durable"
    return ""


@contextmanager
def _small_windows(options: Options) -> Iterator[None]:
    """Trailing windows of thousands of entries would keep every short run from ever needing a snapshot."""
    small = {
        "TRAILING_ENTRIES": max(options.compact_entries // 4, 5),
        "TRIM_ENTRIES_MIN": max(options.compact_entries // 8, 5),
        "MARK_ENTRIES": max(options.compact_entries // 16, 3),
        "TAIL_ENTRIES_MAX": max(options.compact_entries // 8, 4),
    }
    before = {name: getattr(tail, name) for name in small}
    vars(tail).update(small)
    try:
        yield
    finally:
        vars(tail).update(before)


def _drive(node: str, disk: SimDisk) -> HardDrive:
    return HardDrive(disk)


HARDENED = Make("hardened", _drive, HardNode, _unsynced, _small_windows, is_fail_stop=True)
