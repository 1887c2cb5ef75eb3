"""What is asked of a leader: entries, reads, changes of members, and to hand over. Each is refused, or ends in time."""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.replication.membership import Configuration, Membership, pack_configuration
from tq.broker.replication.messages import TimeoutNow
from tq.broker.replication.outbox import Outbox
from tq.broker.replication.overrides import Raft
from tq.broker.replication.ports import Answered, Monotonic, RaftJournal, RaftTimes
from tq.broker.replication.proposals import Proposals
from tq.broker.replication.reads import Reads
from tq.broker.replication.sending import Sender
from tq.errors import BadRequest, BrokerUnavailable, NotLeader, TqError

CAUGHT_UP_ENTRIES = 256
"""An observer that lacks no more than one message holds may vote: under load nobody ever holds the very last entry."""


class Leading:
    def __init__(
        self,
        node_id: str,
        raft: Raft,
        journal: RaftJournal,
        outbox: Outbox,
        sender: Sender,
        membership: Membership,
        *,
        append: Callable[[int, bytes], None],
        applied: Callable[[], int],
        clock: Monotonic,
        times: RaftTimes,
    ) -> None:
        """append: adds an entry to the log. applied: the entry that the listener was told of last."""
        self._node_id = node_id
        self._raft = raft
        self._journal = journal
        self._outbox = outbox
        self._sender = sender
        self._membership = membership
        self._append = append
        self._applied = applied
        self._clock = clock
        self._times = times
        self._handing_to = ""
        self._handing_until = 0.0
        self._handed: Answered | None = None
        self.proposals = Proposals()
        self._reads = Reads()
        self.sends_now = False
        """Whether a read waits for a message that is to leave in this step."""

    @property
    def is_ready(self) -> bool:
        """Whether it leads, and has told its listener everything that was committed before it did."""
        return self._raft.is_leader and self._applied() >= self._raft.first_of_term

    def next_due(self) -> float:
        dues = (self.proposals.next_due(), self._reads.next_due())
        return min(*dues, self._handing_until if self._handing_to else float("inf"))

    def propose(self, data: bytes, done: Answered) -> None:
        refusal = self._refusal()
        if refusal is not None:
            done(refusal)
        else:
            self._add(data, done)

    def read_index(self, done: Answered) -> None:
        if not self.is_ready:
            done(self._not_leader())
        elif self._reads.is_full:
            done(BrokerUnavailable("too many reads are waiting", retry_after_ms=100))
        else:
            deadline = self._clock() + self._times.proposal
            self._reads.add(self._raft.commit_index, self._sender.seq, deadline, done)
            self.sends_now = True

    def confirm_reads(self) -> None:
        """Answers have come in, or entries were told."""
        voters = self._membership.current.voters
        self._reads.confirm(self._sender.majority_seq(voters, self._node_id), self._applied())

    def transfer(self, target: str, done: Answered) -> None:
        refusal = self._refusal()
        if refusal is not None:
            done(refusal)
        elif target == self._node_id or target not in self._membership.current.voters:
            done(BadRequest(f"{target!r} is not another voting node"))
        else:
            self._handing_to, self._handed = target, done
            self._handing_until = self._clock() + self._times.election_max

    def hand_over(self) -> None:
        """D9: intake is paused; as soon as the target has everything it is told to stand."""
        if not self._handing_to:
            return
        if self._clock() >= self._handing_until:
            self._end_hand_over(BrokerUnavailable(f"{self._handing_to} did not take over in time"))
            return
        progress = self._sender.peers.get(self._handing_to)
        if progress is not None and progress.match == self._journal.last.index:
            self._outbox.hold(self._handing_to, TimeoutNow(self._raft.term))

    def change_members(self, wanted: Configuration, done: Answered) -> None:
        refusal = self._refusal() or self._objection(wanted)
        if refusal is not None:
            done(refusal)
        else:
            self._add(pack_configuration(wanted), done)

    def lost(self) -> None:
        """This node leads no more. What was under way is settled by the next leader, or is unknown soon."""
        self.proposals.hurry(self._clock() + self._times.election_max)
        self._reads.refuse(self._not_leader())
        self._end_hand_over(None)

    def expire(self) -> None:
        now = self._clock()
        self.proposals.expire(now)
        self._reads.expire(now)

    def close(self) -> None:
        self.proposals.close()
        self._reads.refuse(BrokerUnavailable("the broker is stopping"))
        self._end_hand_over(BrokerUnavailable("the broker is stopping"))

    def _add(self, data: bytes, done: Answered) -> None:
        self._append(self._raft.term, data)
        deadline = self._clock() + self._times.proposal
        self.proposals.add(self._journal.last.index, self._raft.term, data, deadline, done)

    def _end_hand_over(self, error: TqError | None) -> None:
        """error: why it did not happen; None = this node leads no more, as was asked."""
        done, self._handed, self._handing_to = self._handed, None, ""
        if done is not None:
            done(self._raft.term if error is None else error)

    def _refusal(self) -> TqError | None:
        """Why nothing can be asked of this node now."""
        if not self._raft.is_leader:
            return self._not_leader()
        if not self.is_ready:
            return BrokerUnavailable(
                "this node was elected a moment ago and is catching up", retry_after_ms=50
            )
        if self._handing_to:
            return BrokerUnavailable("this node is handing over the leadership", retry_after_ms=100)
        if self.proposals.is_full:
            return BrokerUnavailable("too many entries are under way", retry_after_ms=100)
        return None

    def _not_leader(self) -> NotLeader:
        leader = self._raft.leader
        if not leader or leader == self._node_id:
            return NotLeader("no leader is elected at the moment", retry_after_ms=200)
        return NotLeader(f"{leader} leads", leader=leader)

    def _objection(self, wanted: Configuration) -> TqError | None:
        """Why the configuration cannot be the next one: I8, and no voter that has to learn everything first (D5)."""
        now = self._membership.current
        if self._membership.changed_at > self._applied():
            return BrokerUnavailable(
                "the change of members before this is not committed yet", retry_after_ms=100
            )
        added, removed = set(wanted.voters) - set(now.voters), set(now.voters) - set(wanted.voters)
        if len(added) + len(removed) > 1:
            return BadRequest("one voting node can be added or removed at a time")
        if set(wanted.voters) & set(wanted.observers) or len(wanted.addresses) != len(wanted.nodes):
            return BadRequest("the configuration names a node twice, or one without an address")
        if self._node_id not in wanted.voters:
            return BadRequest("a leader does not remove itself: transfer the leadership first")
        for node in added:
            if node not in now.observers or not self._is_connected(node):
                return BadRequest(f"{node} must be a connected observer before it votes")
            if not self.has_caught_up(node):
                return BrokerUnavailable(f"{node} is still catching up", retry_after_ms=1_000)
        if removed and 2 * sum(map(self._answers, wanted.voters)) <= len(wanted.voters):
            return BadRequest("without it, the nodes that answer would be no majority of those that vote")
        return None

    def has_caught_up(self, node: str) -> bool:
        """Whether this leader knows the node to lack CAUGHT_UP_ENTRIES at most."""
        progress = self._sender.peers.get(node)
        if progress is None or not progress.match:
            return False
        return self._journal.last.index - progress.match <= CAUGHT_UP_ENTRIES

    def _is_connected(self, node: str) -> bool:
        progress = self._sender.peers.get(node)
        return node == self._node_id or (progress is not None and progress.is_connected)

    def _answers(self, node: str) -> bool:
        """Whether it did within the shortest election time-out: a process that hangs keeps its connection."""
        progress = self._sender.peers.get(node)
        since = self._clock() - self._times.election_min
        return node == self._node_id or (progress is not None and progress.heard_at >= since)
