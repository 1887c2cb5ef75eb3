"""The log of a cluster's node: `core.RaftCore` on an event loop, its syncs on the disk thread.

The core steps whenever something arrived, a sync has returned, or its time has come; never while a sync is under way.
Proposing steps at once: the entry is on its way to the peers and to the disk when `propose` returns. Anything that
goes wrong inside ends the process through `on_fatal`; until it does, this log takes and says nothing more.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, TimerHandle, get_running_loop, wait
from collections.abc import Callable
from typing import NamedTuple

from tq.broker.measures import LogMeasures
from tq.broker.replication.alarm import Alarm
from tq.broker.replication.core import RaftCore
from tq.broker.replication.disk import Disk, done_on
from tq.broker.replication.journal import Journal
from tq.broker.replication.local import WITNESS_SYNC_SECONDS
from tq.broker.replication.log import OnCommit, OnFatal
from tq.broker.replication.lookout import Lookout
from tq.broker.replication.membership import Configuration
from tq.broker.replication.messages import APPEND_BYTES_MAX, Message
from tq.broker.replication.ports import Behind, Chance, Links, Monotonic, RaftTimes, Snapshots, Status
from tq.broker.replication.records import Link
from tq.broker.replication.trust import FAMILIAR, Shown
from tq.errors import BrokerUnavailable, NotLeader, OutcomeUnknown, TqError


class Identity(NamedTuple):
    """Who this node is, and what to begin with when its journal knows no configuration."""

    node_id: str
    configuration: Configuration


class RaftLog:
    """Serves `replication.log.ReplicatedLog`. The journal is opened and closed by its owner; so are the links."""

    def __init__(
        self,
        identity: Identity,
        journal: Journal,
        disk: Disk,
        links: Links,
        snapshots: Snapshots,
        on_fatal: OnFatal,
        *,
        clock: Monotonic,
        chance: Chance,
        times: RaftTimes,
        address_of: Callable[[str], str],
        on_role: Callable[[str, str, int], None],
        on_lead: Callable[[bool], None],
        on_installed: Callable[[Link], None],
        on_members: Callable[[Configuration], None] | None = None,
        installed: tuple[Link, bytes] | None = None,
    ) -> None:
        """address_of: node id -> where its clients go, empty = not known. on_role, on_installed: see `ports.Listener`.
        on_lead: proposals are taken from now on, or no more. on_members: told of each configuration that comes into
        force after the start.

        installed: the last entry and the configuration of the snapshot that was installed last, if one ever was.
        """
        self._identity = identity
        self._journal = journal
        self._disk = disk
        self._links = links
        self._snapshots = snapshots
        self._on_fatal = on_fatal
        self._clock = clock
        self._chance = chance
        self._times = times
        self._address_of = address_of
        self._on_role = on_role
        self._lookout = Lookout(identity.configuration, on_lead=on_lead, on_members=on_members)
        self._on_installed = on_installed
        self._installed = installed
        self._core: RaftCore | None = None
        self._loop: AbstractEventLoop | None = None
        self._on_commit: OnCommit | None = None
        self._in_flight: Future[int] | None = None
        self._in_flight_data = b""
        self._started: Future[None] | None = None
        self._replayed_at = 0
        self._is_alone = False
        self._alarm: Alarm | None = None
        self._witness_timer: TimerHandle | None = None
        self._wakes_up = False
        self._is_driving = False
        self._is_syncing = False
        self._refusal = "the log is not started"

    # ------------------------------------------------------------ the port

    @property
    def first_index(self) -> int:
        return self._journal.first_index

    @property
    def last_index(self) -> int:
        return self._journal.last_index

    @property
    def is_leader(self) -> bool:
        """Whether proposals are taken: this node leads, and its state holds everything committed before it did."""
        return not self._refusal and self._core is not None and self._core.is_leader

    @property
    def leader(self) -> str:
        """Node id of the leader, empty = none known."""
        return self._core.leader if self._core is not None else ""

    @property
    def status(self) -> Status:
        assert self._core is not None, "start the log before asking it"
        return self._core.status

    @property
    def configuration(self) -> Configuration:
        return self._core.configuration if self._core is not None else self._identity.configuration

    def measures(self) -> LogMeasures:
        """Term, role, commit and how far each follower lags, in entries."""
        if self._core is None:
            return LogMeasures(0, False, 0, {}, self._journal.syncs)
        status = self._core.status
        lags = {peer: status.last_index - match for peer, match in status.match.items()}
        return LogMeasures(status.term, self.is_leader, status.commit_index, lags, self._journal.syncs)

    async def start(self, after: int, on_commit: OnCommit) -> None:
        """Replay what is known to be committed; then take part. The links may be opened once this has returned.

        A cluster of one leads when this returns.
        """
        self._loop = get_running_loop()
        self._alarm = Alarm(self._loop, self._clock, self._drive)
        self._on_commit = on_commit
        self._core = RaftCore(
            self._identity.node_id,
            self._identity.configuration,
            self._journal,
            self._links,
            self._snapshots,
            self,
            clock=self._clock,
            chance=self._chance,
            times=self._times,
            applied=after,
            installed=self._installed[0] if self._installed is not None else None,
            installed_members=self._installed[1] if self._installed is not None else b"",
            fetch=self._fetch,
        )
        self._refusal = ""
        self._replayed_at = self._core.status.commit_index
        self._is_alone = self._core.configuration.voters == (self._identity.node_id,)
        self._started = self._loop.create_future()
        if self._is_alone:
            self._core.stand_now()
        self._drive()
        await self._started
        self._sync_witness()

    def propose(self, data: bytes) -> Future[int]:
        assert self._loop is not None, "start the log before proposing to it"
        assert self._in_flight is None, "one entry may be in flight at a time"
        future: Future[int] = self._loop.create_future()
        if self._refusal or self._core is None:
            future.set_exception(BrokerUnavailable(self._refusal))
            return future
        self._in_flight, self._in_flight_data = future, data
        self._core.propose(data, lambda outcome: self._ended(future, outcome))
        self._drive()
        return future

    def release(self, upto: int) -> None:
        if self._core is not None and not self._refusal:
            self._core.release(upto)
            self._drive()

    async def close(self) -> None:
        """Wait for the entry in flight, then take part no more, and sync. Calling it twice is allowed."""
        if self._loop is None or self._core is None or self._refusal:
            return
        self._refusal = "the broker is stopping"
        if self._in_flight is not None:
            # Bounded: every proposal has a deadline.
            await wait([self._in_flight])
        core, self._core = self._core, None
        for timer in (self._alarm, self._witness_timer):
            if timer is not None:
                timer.cancel()
        core.close()
        await done_on(self._disk, self._journal.sync)

    # ------------------------------------------------------------ beyond the port

    async def read_index(self) -> int:
        """Return once the state holds everything that was acknowledged anywhere before the call. Raises
        NotLeader or BrokerUnavailable."""
        return await self._ask(lambda core, done: core.read_index(done))

    async def transfer(self, target: str) -> None:
        """Hand the leadership to a node; proposals are refused meanwhile. Raises what refused it."""
        await self._ask(lambda core, done: core.transfer(target, done))

    async def change_members(self, configuration: Configuration) -> None:
        """See `core.RaftCore.change_members`."""
        await self._ask(lambda core, done: core.change_members(configuration, done))

    @property
    def knows_members(self) -> bool:
        """Whether the configuration is in the journal; until then it is what the process was started with."""
        return self._core is not None and self._core.knows_members

    def has_caught_up(self, node: str) -> bool:
        """See `leading.Leading.has_caught_up`; False unless this node leads."""
        return self.is_leader and self._core is not None and self._core.has_caught_up(node)

    def lets_in(self, peer: str, disk: str, own_disk: str) -> bool:
        """See `trust.Trust.lets_in`; True before the log is started, when nothing relies on this node yet."""
        node = self._identity.node_id
        return self._core is None or self._core.trust.lets_in(peer, disk, node=node, own_disk=own_disk)

    def not_leader(self) -> NotLeader:
        """What those are told who wanted the leader."""
        leader = self.leader
        if not leader or leader == self._identity.node_id:
            return NotLeader("no leader is elected at the moment", retry_after_ms=200)
        return NotLeader(f"{leader} leads", leader=self._address_of(leader))

    def connected(self, peer: str, epoch: int, shown: Shown = FAMILIAR) -> None:
        if self._core is not None:
            self._core.connected(peer, epoch, shown)
            self._wake_up()

    def disconnected(self, peer: str, epoch: int) -> None:
        if self._core is not None:
            self._core.disconnected(peer, epoch)
            self._wake_up()

    def receive(self, peer: str, epoch: int, message: Message) -> None:
        """From the links, on the loop. Frames that arrive together are delivered in one step."""
        if self._core is not None:
            self._core.receive(peer, epoch, message)
            self._wake_up()

    def wake_up(self) -> None:
        """The core was given something from outside of a step, by its snapshots for one."""
        if self._core is not None:
            self._wake_up()

    def members_as_of(self, index: int) -> bytes:
        """The configuration after an entry that is held, for a snapshot."""
        assert self._core is not None, "start the log before asking it"
        return self._core.members_as_of(index)

    # ------------------------------------------------------------ the core's ears

    def on_commit(self, index: int, data: bytes) -> None:
        assert self._on_commit is not None
        if data is self._in_flight_data:
            # The next one may be proposed from within.
            self._in_flight, self._in_flight_data = None, b""
        self._on_commit(index, data)

    def on_installed(self, link: Link) -> None:
        self._on_installed(link)

    def on_role(self, role: str, leader: str, term: int) -> None:
        self._on_role(role, leader, term)

    # ------------------------------------------------------------ driving

    def _wake_up(self) -> None:
        if not self._wakes_up:
            self._wakes_up = True
            assert self._loop is not None
            self._loop.call_soon(self._woken)

    def _woken(self) -> None:
        self._wakes_up = False
        self._drive()

    def _drive(self) -> None:
        """Step until a sync is needed or nothing is due."""
        core = self._core
        if core is None or self._is_driving or self._is_syncing:
            return
        self._is_driving = True
        try:
            while not core.step():
                if core.next_due > self._clock():
                    assert self._alarm is not None
                    self._alarm.set(core.next_due)
                    break
            else:
                self._is_syncing = True
                self._disk.call(self._journal.sync, self._synced)
        except Exception as error:  # noqa: BLE001  a node that cannot work out its state must not go on
            self._fail(error)
        finally:
            self._is_driving = False
        self._look_at_start()
        self._lookout.look(leads=self.is_leader, members=self.configuration)

    def _synced(self, result: object) -> None:
        """On the loop: the disk has everything that the last step changed, or failed to take it."""
        self._is_syncing = False
        if isinstance(result, Exception):
            self._fail(result)
            return
        core = self._core
        if core is None:
            return
        self._is_driving = True
        try:
            core.synced()
        except Exception as error:  # noqa: BLE001  as above
            self._fail(error)
        finally:
            self._is_driving = False
        self._drive()

    def _fail(self, error: Exception) -> None:
        """M10. The core may be half-way through something: nothing may leave it any more."""
        self._refusal = f"the log failed: {error}"
        core, self._core = self._core, None
        if self._started is not None and not self._started.done():
            self._started.set_exception(error)
        if core is not None and self._in_flight is not None:
            self._ended(self._in_flight, OutcomeUnknown(self._refusal))
        self._on_fatal(error)

    def _look_at_start(self) -> None:
        """Whether what was known to be committed is replayed, and a node that is alone leads."""
        if self._started is None or self._started.done() or self._core is None:
            return
        if self._core.status.applied >= self._replayed_at and (not self._is_alone or self.is_leader):
            self._started.set_result(None)

    def _sync_witness(self) -> None:
        """What the journal remembers beside its database survives a loss of power up to a second old."""
        assert self._loop is not None
        if self._core is not None:
            self._disk.run(self._journal.sync_witness)
            self._witness_timer = self._loop.call_later(WITNESS_SYNC_SECONDS, self._sync_witness)

    # ------------------------------------------------------------ inside

    def _ended(self, future: Future[int], outcome: int | TqError) -> None:
        if self._in_flight is future:
            self._in_flight, self._in_flight_data = None, b""
        self._settle(future, outcome)

    def _settle(self, future: Future[int], outcome: int | TqError) -> None:
        if future.done():
            return
        if isinstance(outcome, TqError):
            future.set_exception(self._with_address(outcome))
        else:
            future.set_result(outcome)

    def _fetch(self, previous: int, entries_max: int, done: Callable[[Behind | None], None]) -> None:
        """For a follower that is behind what is in memory: the loop waits for no disk."""

        def read() -> Behind | None:
            return self._journal.read_behind(previous, entries_max=entries_max, bytes_max=APPEND_BYTES_MAX)

        def found(result: Behind | None | Exception) -> None:
            if isinstance(result, Exception):
                self._fail(result)
            elif self._core is not None:
                done(result)
                self._wake_up()

        self._disk.call(read, found)

    async def _ask(self, ask: Callable[[RaftCore, Callable[[int | TqError], None]], None]) -> int:
        if self._core is None or self._loop is None:
            raise BrokerUnavailable(self._refusal)
        future: Future[int] = self._loop.create_future()

        ask(self._core, lambda outcome: self._settle(future, outcome))
        self._drive()
        return await future

    def _with_address(self, error: TqError) -> TqError:
        """Clients know nothing of node ids: NotLeader names the address to go to."""
        if isinstance(error, NotLeader) and error.leader:
            address = self._address_of(error.leader)
            return NotLeader(error.text, retry_after_ms=error.retry_after_ms, leader=address)
        return error
