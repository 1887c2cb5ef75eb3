"""A node of tq: the production core and journal, driven as `replication.ports` says, on simulated disk and links."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from zlib import crc32

from tests.sim.consensus import Consensus, Make, Surroundings
from tests.sim.database import SimDatabase
from tests.sim.disk import SimDisk
from tests.sim.drives import HardDrive, WatchedJournal
from tests.sim.hard_log import HardLog
from tests.sim.members import SimMembers
from tests.sim.schedule import Options
from tests.sim.snapshots import SimSnapshots
from tq.broker.replication import sending, tail
from tq.broker.replication.core import RaftCore
from tq.broker.replication.lookout import Lookout
from tq.broker.replication.membership import Configuration
from tq.broker.replication.messages import Ack, Message, Vote, VoteRequest, pack_message, unpack_message
from tq.broker.replication.ports import RaftTimes
from tq.broker.replication.records import Link
from tq.broker.storage.store import Store
from tq.errors import TqError

WITNESS_SECONDS = 1.0
TURN_SECONDS = 0.0005
TIMES = RaftTimes(election_min=0.4, election_max=1.0, heartbeat=0.1, proposal=5.0)


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
        self.core: RaftCore | None = None
        self._applied = 0
        self._is_syncing = False
        self._is_due = False
        self._timer: TimerHandle | None = None
        self._timer_at = self._due = 0.0
        self._replace: Callable[[Store], None] = lambda _: None
        self._hand_over: Callable[[], None] = lambda: None
        self._lookout: Lookout | None = None
        self._members = SimMembers(self)
        self._snapshots = SimSnapshots(
            drive.snapshots,
            around.disk,
            around.disk_thread,
            prepare=lambda: self._hand_over(),
            position=self._position,
            on_installed=lambda: None,
            on_damaged=lambda: around.watcher.covered("damaged snapshots"),
        )

    @property
    def store(self) -> Store:
        store: Store = self.around.drive.snapshots.store
        return store

    # ------------------------------------------------------------ driving the core

    def begin(
        self,
        replace: Callable[[Store], None],
        hand_over: Callable[[], None],
        lead: Callable[[bool], None],
    ) -> None:
        self._replace = replace
        self._hand_over = hand_over
        self._lookout = Lookout(self._configuration(), on_lead=lead, on_members=None)
        self._witness()

    def run(self, applied: int) -> None:
        around = self.around
        self._applied = applied
        self.core = RaftCore(
            around.node,
            self._configuration(),
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
        self._members.begin()

    def _configuration(self) -> Configuration:
        """What the configuration file says: see `replication.cluster.configuration_of`."""
        around = self.around
        every = {name: f"{name}:1" for name in around.members}
        if around.drive.begins_as_observer:
            return Configuration.of(every, {around.node: every.pop(around.node)})
        return Configuration.of(every, {})

    def ask(self, event: Callable[[RaftCore], None]) -> None:
        """Queue something with the core and let it step."""
        if self.core is not None:
            event(self.core)
            self._later()

    def _later(self) -> None:
        if not self._is_due and not self._is_syncing:
            self._is_due = True
            self.around.loop.call_soon(self._step)

    def _step(self) -> None:
        self._is_due = False
        core = self.core
        assert core is not None
        if self._is_syncing:
            return
        if core.step():
            self._is_syncing = True
            self.around.disk_thread.call(self.journal.sync, self._synced)
        else:
            self._wait(core)
        self._look(core)

    def _look(self, core: RaftCore) -> None:
        """As `raft.RaftLog` does when it has driven the core."""
        assert self._lookout is not None
        self._lookout.look(leads=core.is_leader, members=core.configuration)

    def _synced(self, result: object) -> None:
        self._is_syncing = False
        if isinstance(result, Exception):
            raise result
        assert self.core is not None
        self.core.synced()
        self._look(self.core)
        self._later()

    def _wait(self, core: RaftCore) -> None:
        """Step again when it is due, unless something comes before. A timer that goes off early is set anew."""
        due = core.next_due
        if due == float("-inf"):
            self._later()
        elif due != float("inf"):
            # Real time passes while a loop turns; here it must be made to, or what is due now is so for ever.
            self._due = max(due, self.around.world.now + TURN_SECONDS)
            if self._timer is None or self._due < self._timer_at:
                self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._due
        self._timer = self.around.loop.call_at(self._due, self._rung)

    def _rung(self) -> None:
        self._timer = None
        if self._due <= self.around.world.now:
            self._later()
        else:
            self._set_timer()

    def _witness(self) -> None:
        self.around.disk_thread.run(self.journal.sync_witness)
        self.around.loop.call_later(WITNESS_SECONDS, self._witness)

    # ------------------------------------------------------------ the core's links and listener

    def send(self, peer: str, message: Message) -> None:
        """What goes over the link is what its bytes say."""
        self.around.send(peer, unpack_message(pack_message(message)))

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
        assert self.core is not None
        return self.journal.link(self._applied), self.core.members_as_of(self._applied)

    # ------------------------------------------------------------ what the simulator looks at

    @property
    def term(self) -> int:
        return self.journal.term if self.core is not None else 0

    @property
    def is_leader(self) -> bool:
        return self.core is not None and self.core.is_leader

    @property
    def commit_index(self) -> int:
        return self.core._raft.commit_index if self.core is not None else 0

    @property
    def told_index(self) -> int:
        return self._applied

    @property
    def members(self) -> frozenset[str]:
        return frozenset(self.core.configuration.voters if self.core is not None else ())

    def members_since(self, index: int) -> set[frozenset[str]]:
        assert self.core is not None
        known = self.core._membership
        return {frozenset(known.as_of(at).voters) for at in range(index, self.journal.last_index + 1)}

    def matches(self) -> dict[str, int]:
        if self.core is None:
            return {}
        return {peer: progress.match for peer, progress in self.core._sender.peers.items()}

    def term_at(self, index: int) -> int | None:
        journal = self.journal
        return journal.link(index).term if journal.first_index <= index <= journal.last_index else None

    def durable_term_at(self, index: int) -> int | None:
        term: int | None = self.around.drive.term_at(index)
        return term

    # ------------------------------------------------------------ what happens to it

    def admits(self, peer: str, disk: str) -> bool:
        return self._members.admits(peer, disk)

    def is_whole(self, node: str, disk: str) -> bool:
        core = self.core
        if core is None or node not in core.configuration.voters:
            return False
        is_settled = core._membership.changed_at <= self._applied
        return is_settled and core.configuration.disk(node) == disk

    def connected(self, peer: str, epoch: int) -> None:
        shown = self._members.connected(peer)
        self.ask(lambda core: core.connected(peer, epoch, shown))

    def disconnected(self, peer: str, epoch: int) -> None:
        self._members.disconnected(peer)
        self.ask(lambda core: core.disconnected(peer, epoch))

    def receive(self, peer: str, frame: Message, epoch: int) -> None:
        self.ask(lambda core: core.receive(peer, epoch, frame))

    def compact(self) -> None:
        if self.core is not None:
            self._snapshots.make()

    def transfer(self, peer: str) -> None:
        self.ask(lambda core: core.transfer(peer, partial(self.ended, "transfers")))

    def remove(self, peer: str) -> None:
        self._members.remove(peer)

    def add(self, peer: str) -> None:
        self._members.add(peer)

    def read_index(self, done: Callable[[int | TqError], None]) -> None:
        self.ask(lambda core: core.read_index(done))

    def ended(self, what: str, result: int | TqError) -> None:
        if not isinstance(result, TqError):
            self.around.watcher.covered(what)


def _unsynced(raft: Consensus, target: str, message: Message) -> str:
    """I7: what a frame promises must be on the sender's disk."""
    assert isinstance(raft, HardNode)
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
    """Windows of thousands of entries would keep every short run from ever needing a snapshot, and messages of hundreds
    would bring whoever is behind up in one step."""
    small = {
        (tail, "TRAILING_ENTRIES"): max(options.compact_entries // 4, 5),
        (tail, "TRIM_ENTRIES_MIN"): max(options.compact_entries // 8, 5),
        (tail, "MARK_ENTRIES"): max(options.compact_entries // 16, 3),
        (tail, "TAIL_ENTRIES_MAX"): max(options.compact_entries // 8, 4),
        (sending, "APPEND_ENTRIES_MAX"): options.batch_bytes // 1_000,
    }
    before = {place: vars(place[0])[place[1]] for place in small}
    _bind(small)
    try:
        yield
    finally:
        _bind(before)


def _bind(values: dict[tuple[ModuleType, str], int]) -> None:
    for (module, name), value in values.items():
        setattr(module, name, value)


def _drive(disk: SimDisk, disk_id: str) -> HardDrive:
    return HardDrive(disk, disk_id)


HARDENED = Make("hardened", _drive, HardNode, _unsynced, _small_windows, is_fail_stop=True)
