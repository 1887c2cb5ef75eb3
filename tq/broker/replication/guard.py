"""What a node does with what it hears, before and instead of the Raft library.

The library cuts off everything behind the entry that a message names, even what agrees (A1), lets rejections cancel
each other (A4), takes a leader's commit index for entries it never compared (A6) and believes answers of any term
(A3). Here every message is judged first; entries are compared and kept here; the library is told only that a leader
speaks and how far the log is known to be that leader's. The numbers in brackets are those of DESIGN.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tq.broker.replication.elections import Elections
from tq.broker.replication.membership import Configuration
from tq.broker.replication.messages import (
    Ack,
    Append,
    Beat,
    Message,
    PreVote,
    PreVoteRequest,
    SnapshotAck,
    SnapshotChunk,
    TermNotice,
    TimeoutNow,
    Vote,
    VoteRequest,
    Voucher,
)
from tq.broker.replication.outbox import Outbox
from tq.broker.replication.overrides import Raft
from tq.broker.replication.ports import RaftJournal
from tq.broker.replication.sending import Sender
from tq.broker.replication.transfers import SnapshotReceiver, SnapshotSender
from tq.broker.replication.trust import Trust


class BrokenCluster(Exception):
    """What must never happen in a cluster of correct nodes with sound disks did. The process must stop."""


class Guard:
    def __init__(
        self,
        raft: Raft,
        journal: RaftJournal,
        outbox: Outbox,
        elections: Elections,
        sender: Sender,
        snapshots_out: SnapshotSender,
        snapshots_in: SnapshotReceiver,
        *,
        append: Callable[[int, bytes], None],
        truncate_from: Callable[[int], None],
        configuration: Callable[[], Configuration],
        trust: Trust,
    ) -> None:
        """append, truncate_from: change the log, and the configuration with it. configuration: the one in force."""
        self._raft = raft
        self._journal = journal
        self._outbox = outbox
        self._elections = elections
        self._sender = sender
        self._snapshots_out = snapshots_out
        self._snapshots_in = snapshots_in
        self._append = append
        self._truncate_from = truncate_from
        self._configuration = configuration
        self._trust = trust
        self._proven = (0, 0)
        self._handlers: dict[type[Message], Callable[[str, Any], None]] = {
            Append: self._on_append,
            Beat: self._on_beat,
            Ack: self._on_ack,
            VoteRequest: self._on_vote_request,
            Vote: self._on_vote,
            PreVoteRequest: self._on_pre_vote_request,
            PreVote: self._on_pre_vote,
            TermNotice: self._on_term_notice,
            TimeoutNow: self._on_timeout_now,
            SnapshotChunk: self._on_snapshot_chunk,
            SnapshotAck: self._on_snapshot_ack,
            Voucher: self._on_voucher,
        }

    def handle(self, peer: str, message: Message) -> None:
        """Raises BrokenCluster, or whatever else must end the process."""
        self._handlers[type(message)](peer, message)

    # ------------------------------------------------------------ from a leader

    def _on_append(self, peer: str, append: Append) -> None:
        """M4."""
        if not self._is_heard(peer, append.term):
            return
        if self._snapshots_in.is_installing:
            self._follow(peer, append.term, 0)
            self._acknowledge(peer, append.seq, self._journal.last.index + 1)
            return
        rejected = self._mismatch(append)
        if rejected:
            self._follow(peer, append.term, 0)
            self._acknowledge(peer, append.seq, rejected, is_reject=True)
            return
        proven = max(self._keep(append), self._journal.base.index)
        self._proven = (append.term, proven)
        self._follow(peer, append.term, min(append.commit, proven))
        self._acknowledge(peer, append.seq, proven + 1, is_match=True)

    def _mismatch(self, append: Append) -> int:
        """Where the leader should go on instead, 0 when the entry it names is the one held here (M4.3 to 6)."""
        journal, previous = self._journal, append.prev_index
        if previous > journal.last.index:
            return journal.last.index + 1
        if previous < journal.base.index:
            return 0
        held = journal.link(previous)
        if held.term == append.prev_term:
            if held.crc != append.prev_crc:
                raise BrokenCluster(
                    f"entry {previous} of term {held.term} has checksum {held.crc} here and {append.prev_crc} at the leader"
                )
            return 0
        commit = self._raft.commit_index
        if previous <= commit:
            raise BrokenCluster(
                f"committed entry {previous} is of term {held.term} here and {append.prev_term} at the leader"
            )
        while previous - 1 > commit and journal.link(previous - 1).term == held.term:
            previous -= 1
        return previous

    def _keep(self, append: Append) -> int:
        """Add what is new, cut off what contradicts it; how far the log is now proven to be the leader's (M4.2, 7, 8)."""
        journal = self._journal
        index, term = append.prev_index, append.prev_term
        for entry_term, data in append.entries:
            index += 1
            if not term <= entry_term <= append.term:
                raise BrokenCluster(
                    f"the leader of term {append.term} sent entry {index} of term {entry_term} after one of {term}"
                )
            term = entry_term
            if index <= journal.base.index:
                if index == journal.base.index and term != journal.base.term:
                    raise BrokenCluster(f"committed entry {index} is of another term at the leader: {term}")
                continue
            if index <= journal.last.index:
                if journal.link(index).term == term:
                    continue
                if index <= self._raft.commit_index:
                    raise BrokenCluster(
                        f"the leader of term {append.term} would replace the committed entry {index}"
                    )
                self._truncate_from(index)
            self._append(term, data)
        return index

    def _on_beat(self, peer: str, beat: Beat) -> None:
        if not self._is_heard(peer, beat.term):
            return
        term, proven = self._proven
        is_proven = term == beat.term and not self._snapshots_in.is_installing
        self._follow(peer, beat.term, min(beat.commit, proven) if is_proven else 0)
        self._acknowledge(peer, beat.seq, self._journal.last.index + 1)

    def _on_snapshot_chunk(self, peer: str, chunk: SnapshotChunk) -> None:
        """M8."""
        if not self._is_heard(peer, chunk.term):
            return
        self._follow(peer, chunk.term, 0)
        commit, journal = self._raft.commit_index, self._journal
        if chunk.last_index <= commit:
            self._acknowledge(peer, chunk.seq, commit + 1, is_match=True)
        elif (
            chunk.last_index <= journal.last.index and journal.link(chunk.last_index).term == chunk.last_term
        ):
            self._acknowledge(peer, chunk.seq, chunk.last_index + 1, is_match=True)
        else:
            self._snapshots_in.on_chunk(peer, chunk)

    def _on_timeout_now(self, peer: str, message: TimeoutNow) -> None:
        if message.term == self._raft.term and peer == self._raft.leader:
            self._elections.stand_now()

    def _is_heard(self, peer: str, term: int) -> bool:
        """Whether the peer leads; one of an earlier term is told so (M4.1).

        It need not be of the configuration known here: that may be older than the leader. So whoever observes by it
        may lead by now; but where another leader speaks, an observer deposes nobody.
        """
        if peer in self._configuration().observers and self._follows_another(peer):
            return False
        if term < self._raft.term:
            self._outbox.hold(peer, TermNotice(self._raft.term))
            return False
        if term == self._raft.term:
            leader = self._raft.leader
            if self._raft.is_leader or (leader and leader != peer):
                raise BrokenCluster(f"{peer} and {leader} both lead in term {term}")
        self._elections.heard()
        return True

    def _follows_another(self, peer: str) -> bool:
        return self._elections.hears_leader and self._raft.leader != peer

    def _follow(self, peer: str, term: int, commit: int) -> None:
        """Tell the library that this peer leads, without a word about entries: it keeps its log and its time."""
        self._raft.deliver(
            peer,
            {"type": "append_entries", "term": term, "commit_index": max(commit, self._raft.commit_index)},
        )

    def _acknowledge(
        self, peer: str, seq: int, next_index: int, *, is_match: bool = False, is_reject: bool = False
    ) -> None:
        self._outbox.hold(peer, Ack(self._raft.term, seq, next_index, is_match, is_reject))

    def tell_installed(self, peer: str, index: int) -> None:
        """The peer's snapshot is in place: what it ends with is committed, so any leader has it."""
        self._acknowledge(peer, 0, index + 1, is_match=True)

    # ------------------------------------------------------------ to a leader

    def _on_ack(self, peer: str, ack: Ack) -> None:
        """M5."""
        if not self._is_answer(peer, ack.term):
            return
        grew = self._sender.on_ack(peer, ack)
        if self._is_voter(peer):
            self._raft.deliver(
                peer,
                {
                    "type": "next_node_idx",
                    "reset": False,
                    "next_node_idx": self._sender.peers[peer].match + 1,
                    "success": grew,
                },
            )

    def _on_snapshot_ack(self, peer: str, ack: SnapshotAck) -> None:
        if self._is_answer(peer, ack.term):
            self._snapshots_out.on_ack(peer, ack)
            self._on_ack(peer, Ack(ack.term, ack.seq, 0, is_match=False, is_reject=False))

    def _is_answer(self, peer: str, term: int) -> bool:
        """Whether this is an answer to the leader of this term (A3)."""
        if term > self._raft.term and self._is_member(peer):
            self._elections.step_down(peer, term)
        is_counted = peer in self._sender.peers and self._trust.believes(peer)
        return term == self._raft.term and self._raft.is_leader and is_counted

    # ------------------------------------------------------------ elections

    def _on_vote_request(self, peer: str, request: VoteRequest) -> None:
        if self._may_stand(peer):
            self._elections.on_vote_request(peer, request)

    def _on_vote(self, peer: str, vote: Vote) -> None:
        if self._is_voter(peer):
            self._elections.on_vote(peer, vote.term)

    def _on_pre_vote_request(self, peer: str, request: PreVoteRequest) -> None:
        if self._may_stand(peer):
            self._elections.on_pre_vote_request(peer, request)
            self._vouch_to(peer)

    def _vouch_to(self, peer: str) -> None:
        """Who asks hears no leader. Perhaps it refuses the one there is, for it knows it with another disk."""
        leader = self._raft.leader
        if leader and leader != peer and self._elections.hears_leader and not self._raft.is_leader:
            disk = self._trust.voucher(leader, self._raft.commit_index)
            if disk:
                self._outbox.hold(peer, Voucher(self._raft.term, leader, disk))

    def _on_voucher(self, peer: str, voucher: Voucher) -> None:
        if self._is_voter(peer):
            self._trust.vouched(voucher.leader, voucher.disk)

    def _on_pre_vote(self, peer: str, answer: PreVote) -> None:
        if self._is_voter(peer):
            if answer.term > self._raft.term and not answer.is_granted:
                self._elections.step_down(peer, answer.term)
            self._elections.on_pre_vote(peer, answer)

    def _on_term_notice(self, peer: str, notice: TermNotice) -> None:
        if notice.term > self._raft.term and self._is_member(peer):
            self._elections.step_down(peer, notice.term)

    def _may_stand(self, peer: str) -> bool:
        """Whether to hear a candidate: one that votes by the log here, or, where no leader is heard, any believed one.

        Its own log may make it a voter where this one does not yet, and who made it one may be dead (thesis 4.1).
        Whether it knows enough to lead is for its last entry to say.
        """
        return self._is_voter(peer) or (self._trust.believes(peer) and not self._elections.hears_leader)

    def _is_voter(self, peer: str) -> bool:
        """M3: whoever does not count is not asked, nor is a disk that is not the voter's (ID1)."""
        return peer in self._configuration().voters and self._trust.believes(peer)

    def _is_member(self, peer: str) -> bool:
        return peer in self._configuration().nodes and self._trust.believes(peer)
