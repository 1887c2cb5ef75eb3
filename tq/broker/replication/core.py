"""One node of a cluster, without I/O: inbound, tick, sync, release. `ports` tells how it is driven.

The order of a step is the point of it. What arrived is delivered before time is looked at, so that a node that was
slow hears its leader before it gives it up (B6). Nothing is delivered while a sync is under way, so the leader's own
copy counts only when it is durable, and nobody hears of anything the disk does not hold (C2). Any exception that
leaves a method is the end of the process: a state that could not be worked out must not vote.
"""

from __future__ import annotations

from typing import Any

from tq.broker.replication.elections import Elections
from tq.broker.replication.guard import Guard
from tq.broker.replication.inbox import Inbox
from tq.broker.replication.leading import Leading
from tq.broker.replication.log_view import NO_OP
from tq.broker.replication.membership import Configuration, pack_configuration
from tq.broker.replication.messages import ENTRY_BYTES_MAX, Message
from tq.broker.replication.outbox import Outbox
from tq.broker.replication.overrides import CANDIDATE, LEADER, Raft
from tq.broker.replication.ports import (
    Answered,
    Chance,
    Fetch,
    Links,
    Listener,
    Monotonic,
    RaftJournal,
    RaftTimes,
    SnapshotInfo,
    Snapshots,
    Status,
)
from tq.broker.replication.records import CONTROL, Link
from tq.broker.replication.replica import Replica
from tq.broker.replication.sending import Progress, Sender, fetch_now, fetched_in_steps
from tq.broker.replication.transfers import SnapshotReceiver, SnapshotSender
from tq.broker.replication.trust import FAMILIAR, Shown, Trust
from tq.errors import BadRequest


class RaftCore:
    def __init__(
        self,
        node_id: str,
        configuration: Configuration,
        journal: RaftJournal,
        links: Links,
        snapshots: Snapshots,
        listener: Listener,
        *,
        clock: Monotonic,
        chance: Chance,
        times: RaftTimes,
        applied: int = 0,
        installed: Link | None = None,
        installed_members: bytes = b"",
        fetch: Fetch | None = None,
    ) -> None:
        """configuration: what to begin with where the journal knows nothing better. applied: the entry at which the
        listener's state stands. installed: the last entry of the snapshot that was installed last, if one ever was;
        installed_members: the configuration as of it. fetch: reads entries that are not in memory any more; None = at
        once.

        Raises StoreDamaged when state and journal do not fit together, Unsupported without the audited library.
        """
        self.node_id = node_id
        self._journal = journal
        self._snapshots = snapshots
        self._listener = listener
        self._clock = clock
        self._times = times
        self._inbox = Inbox()
        self._epochs: dict[str, int] = {}
        self.may_stand = self._is_stepping = self._is_syncing = False
        self._last_step = self._due = clock()
        self._told: tuple[str, str, int] = ("", "", -1)
        self._replica = Replica(
            journal,
            configuration,
            applied=applied,
            installed=installed,
            installed_members=installed_members,
            on_members=self._set_voters,
        )
        self._membership = self._replica.membership
        self.trust = Trust(self._membership)
        self._outbox = Outbox(links)
        self._raft = Raft(
            node_id,
            self._membership.current.voters_but(node_id),
            self._replica.view,
            self,
            clock=clock,
            chance=chance,
            times=times,
            applied=applied,
        )
        self._elections = Elections(
            self._raft,
            journal,
            self._outbox,
            node_id=node_id,
            voters=lambda: self._membership.current.voters,
            clock=clock,
            chance=chance,
            times=times,
        )
        self._join_parts(node_id, journal, snapshots, times, fetch)

    def _join_parts(
        self, node_id: str, journal: RaftJournal, snapshots: Snapshots, times: RaftTimes, fetch: Fetch | None
    ) -> None:
        """What stands between the library and the outbox; made last, for it knows all the rest."""
        clock = self._clock
        self._snapshots_out = SnapshotSender(journal, snapshots, self._outbox.send)
        self._snapshots_in = SnapshotReceiver(
            snapshots, self._outbox, term=lambda: self._raft.term, on_whole=self._received_snapshot
        )
        self._sender = Sender(
            journal,
            self._outbox.send,
            clock=clock,
            times=times,
            send_snapshot=self._send_snapshot,
            fetch=fetched_in_steps(fetch or fetch_now(journal), self._inbox.put),
        )
        self._guard = Guard(
            self._raft,
            journal,
            self._outbox,
            self._elections,
            self._sender,
            self._snapshots_out,
            self._snapshots_in,
            append=self._replica.append,
            truncate_from=self._replica.truncate_from,
            configuration=lambda: self._membership.current,
            trust=self.trust,
        )
        self._leading = Leading(
            node_id,
            self._raft,
            journal,
            self._outbox,
            self._sender,
            self._membership,
            append=self._replica.append,
            applied=lambda: self._replica.applied,
            clock=clock,
            times=times,
        )

    # ------------------------------------------------------------ what is known

    @property
    def is_leader(self) -> bool:
        """Whether proposals are taken: it leads, and has told the listener everything committed before it did."""
        return self._leading.is_ready

    @property
    def leader(self) -> str:
        """Who leads, as far as this node knows; empty = nobody."""
        return self._elections.leader

    @property
    def configuration(self) -> Configuration:
        return self._membership.current

    @property
    def knows_members(self) -> bool:
        """Whether the configuration comes from the journal, not from whoever started the process."""
        return bool(self._journal.members or self._membership.changed_at)

    def has_caught_up(self, node: str) -> bool:
        """See `leading.Leading.has_caught_up`; of a leader."""
        return self._leading.has_caught_up(node)

    def members_as_of(self, index: int) -> bytes:
        """The configuration after an entry that is held, as a snapshot of that entry names it."""
        return pack_configuration(self._membership.as_of(index))

    @property
    def status(self) -> Status:
        return Status(
            role=self._role(),
            leader=self._elections.leader,
            term=self._raft.term,
            commit_index=self._raft.commit_index,
            applied=self._replica.applied,
            last_index=self._journal.last.index,
            first_index=self._journal.base.index + 1,
            match={peer: progress.match for peer, progress in self._sender.peers.items()},
        )

    @property
    def next_due(self) -> float:
        """When `step` is due at the latest, by the clock; -inf = at once."""
        if self._inbox or self._raft.applied < self._raft.commit_index:
            return float("-inf")
        dues = [self._elections.next_due(), self._leading.next_due()]
        if self._raft.is_leader:
            dues.append(self._sender.next_due())
            dues.append(self._last_step + self._times.heartbeat)
        return min(dues)

    # ------------------------------------------------------------ what arrives

    def connected(self, peer: str, epoch: int, shown: Shown = FAMILIAR) -> None:
        """shown: what the peer proved of itself; see `trust`."""
        self._inbox.put(lambda: self._connected(peer, epoch, shown))

    def disconnected(self, peer: str, epoch: int) -> None:
        self._inbox.put(lambda: self._disconnected(peer, epoch))

    def receive(self, peer: str, epoch: int, message: Message) -> None:
        self._inbox.put(lambda: self._received(peer, epoch, message))

    def propose(self, data: bytes, done: Answered) -> None:
        """Add one entry. done: told how it ended, at most `times.proposal` after the next step, on this thread.

        data: not empty, and not beginning with records.CONTROL.
        """
        assert data, "an empty entry is Raft's own"
        assert data[:1] != CONTROL, "an entry beginning with CONTROL is the cluster's own"
        if len(data) > ENTRY_BYTES_MAX:
            done(
                BadRequest(
                    f"an entry of {len(data)} bytes is longer than {ENTRY_BYTES_MAX}, the most peers take"
                )
            )
            return
        self._inbox.put(lambda: self._leading.propose(data, done), done)

    def read_index(self, done: Answered) -> None:
        """done is told an index that the listener has reached and that holds everything acknowledged before now."""
        self._inbox.put(lambda: self._leading.read_index(done), done)

    def transfer(self, target: str, done: Answered) -> None:
        """Let target lead: proposals are refused until it does, or until the longest election time-out is over."""
        self._inbox.put(lambda: self._leading.transfer(target, done), done)

    def change_members(self, configuration: Configuration, done: Answered) -> None:
        """Replace the configuration. One voter may come or go at a time, and only once the change before is committed.

        A new voter must have been an observer and have caught up; a leader does not remove itself.
        """
        self._inbox.put(lambda: self._leading.change_members(configuration, done), done)

    def stand_now(self) -> None:
        """Stand for election without waiting for a silence: for the only voter there is."""
        self._inbox.put(self._elections.stand_now)

    def release(self, upto: int) -> None:
        """The listener's state is durable up to entry `upto`: what is before may be forgotten, by and by."""
        self._inbox.put(lambda: self._release(upto))

    # ------------------------------------------------------------ driving

    def step(self) -> bool:
        """Deliver, tick, gather. Whether a sync must follow, and `synced` after it."""
        assert not self._is_syncing, "a step while the journal is syncing"
        assert not self._is_stepping, "a step within a step"
        self._is_stepping = True
        now = self._clock()
        if now - self._due > self._times.election_min / 2 and not self._raft.is_leader:
            # This process was paused, or its loop or disk was late: its leader may lie unread in the sockets.
            self._elections.postpone()
        self._last_step = now
        self._inbox.deliver()
        self.may_stand = self._elections.may_stand()
        self._raft.tick()
        self.may_stand = False
        self._leading.expire()
        # The only voter is elected within one step: its entries must not leave in a term that a crash could undo.
        if self._raft.is_leader and not self._replica.view.has_new_term:
            self._sender.send_all(self._raft.term, self._raft.commit_index, at_once=self._leading.sends_now)
            self._leading.hand_over()
        self._leading.sends_now = False
        self._is_stepping = False
        self._due = max(now, self.next_due) if not self._raft.is_leader else float("inf")
        if self._replica.view.is_dirty:
            self._replica.view.is_dirty = False
            self._is_syncing = True
            return True
        self._release_outbox()
        return False

    def synced(self) -> None:
        """The sync that `step` asked for has returned."""
        assert self._is_syncing, "synced without a sync"
        self._is_syncing = False
        self._replica.view.has_new_term = False
        self._replica.durable_index = self._journal.last.index
        self._release_outbox()

    def close(self) -> None:
        """End what waits. Nothing may be called afterwards."""
        self._inbox.close()
        self._leading.close()

    # ------------------------------------------------------------ the library's seam

    def apply(self) -> None:
        index = self._raft.applied + 1
        self._outbox.commit(index, lambda: self._tell(index))

    def library_sends(self, peer: str, message: dict[str, Any]) -> None:
        self._elections.library_sends(peer, message)

    def role_changed(self, old: int, new: int) -> None:
        if new == LEADER:
            self._sender.begin_term(self._membership.current.disks_but(self.node_id))
        elif old == LEADER:
            self._sender.end_term()
            self._snapshots_out.forget()
            self._elections.postpone()
            self._leading.lost()

    # ------------------------------------------------------------ events

    def _connected(self, peer: str, epoch: int, shown: Shown) -> None:
        if epoch > self._epochs.get(peer, -1):
            self._epochs[peer] = epoch
            self.trust.connected(peer, shown)
            self._snapshots_out.forget(peer)
            self._sender.connected(peer)

    def _disconnected(self, peer: str, epoch: int) -> None:
        if epoch == self._epochs.get(peer):
            self._sender.disconnected(peer)

    def _received(self, peer: str, epoch: int, message: Message) -> None:
        # Frames of an older connection may surface after a newer one is up (A3): they are not from now.
        if epoch == self._epochs.get(peer):
            self._guard.handle(peer, message)

    def _release(self, upto: int) -> None:
        kept = self._snapshots_out.lowest_index()
        self._replica.trim(upto if kept is None else min(upto, kept))

    def _received_snapshot(self, peer: str, info: SnapshotInfo, is_installed: bool) -> None:
        self._inbox.put(lambda: self._install(peer, info, is_installed))

    def _install(self, peer: str, info: SnapshotInfo, is_installed: bool) -> None:
        """The state is now the snapshot's; the log goes on behind it (M8)."""
        self._snapshots_in.ended(peer, info, is_installed)
        if not is_installed:
            return
        link = info.link
        assert link.index > self._raft.commit_index, (
            f"a snapshot of {link.index} below {self._raft.commit_index}"
        )
        self._replica.reset(link, info.members)
        self._raft.installed(link.index)
        self._outbox.drop_commits()
        self._leading.proposals.skipped(link.index)
        self._listener.on_installed(link)
        self._guard.tell_installed(peer, link.index)

    # ------------------------------------------------------------ inside

    def _set_voters(self) -> None:
        """The configuration in force may be another now."""
        self._raft.set_voters(self._membership.current.voters_but(self.node_id))
        if self._raft.is_leader:
            self._sender.set_peers(self._membership.current.disks_but(self.node_id))
            for peer, progress in self._sender.peers.items():
                if peer in self._membership.current.voters:
                    self._raft.set_match(peer, progress.match)

    def _send_snapshot(self, peer: str, progress: Progress, seq: int) -> bool:
        return self._snapshots_out.send(peer, self._raft.term, seq)

    def _tell(self, index: int) -> None:
        """Entry `index` is committed and durable: the listener, then whoever proposed it."""
        entry = self._journal.entry(index)
        self._replica.applied = index
        if entry.data != NO_OP and entry.data[:1] != CONTROL:
            data = self._leading.proposals.data(index, entry.term)
            self._listener.on_commit(index, entry.data if data is None else data)
        self._leading.proposals.applied(index, entry.term)

    def _release_outbox(self) -> None:
        self._outbox.release(self._replica.durable_index, may_commit=not self._snapshots_in.is_installing)
        if self._raft.is_leader:
            self._leading.confirm_reads()
        told = (self._role(), self._elections.leader, self._raft.term)
        if told != self._told:
            self._told = told
            self._listener.on_role(*told)

    def _role(self) -> str:
        if self.node_id not in self._membership.current.voters:
            return "observer"
        return {LEADER: "leader", CANDIDATE: "candidate"}.get(self._raft.role, "follower")
