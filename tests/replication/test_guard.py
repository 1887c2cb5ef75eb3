"""What one node does with single messages, some of which no correct peer would send."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from tests.replication.rig import TIMES
from tq.broker.replication.core import RaftCore
from tq.broker.replication.guard import BrokenCluster
from tq.broker.replication.membership import Configuration, Node, pack_configuration
from tq.broker.replication.memory_journal import MemoryJournal
from tq.broker.replication.messages import (
    Ack,
    Append,
    Beat,
    Message,
    PreVote,
    PreVoteRequest,
    TermNotice,
    Vote,
    VoteRequest,
    Voucher,
)
from tq.broker.replication.ports import SnapshotInfo
from tq.broker.replication.records import Link
from tq.broker.replication.trust import Shown

THREE = Configuration.of({"a": "", "b": "", "c": ""}, {"watcher": ""})
B_ANEW = Configuration.made(
    THREE.known() | {"b": Node("", votes=False, is_joining=True, disk="b's second/1")}
)
STEPS_MAX = 1_000


class Bench:
    """One core, its time moved by hand, its messages caught."""

    def __init__(self, entries: Iterable[tuple[int, bytes]] = (), commit: int = 0) -> None:
        self.now = 100.0
        self.journal = MemoryJournal()
        for term, data in entries:
            self.journal.append(term, data)
        self.journal.set_term(self.journal.last.term, "")
        self.journal.set_commit_index(commit)
        self.journal.sync()
        self.sent: list[tuple[str, Message]] = []
        self.committed: list[bytes] = []
        self.core = RaftCore(
            "a",
            THREE,
            self.journal,
            self,
            self,  # type: ignore[arg-type]
            self,
            clock=lambda: self.now,
            chance=Random(1).random,
            times=TIMES,
        )
        for epoch, peer in enumerate(("b", "c", "watcher")):
            self.core.connected(peer, epoch)
        self.turn()

    def send(self, peer: str, message: Message) -> None:
        self.sent.append((peer, message))

    def on_commit(self, index: int, data: bytes) -> None:
        self.committed.append(data)

    def on_installed(self, link: Link) -> None:
        """Not looked at."""

    def on_role(self, role: str, leader: str, term: int) -> None:
        """Not looked at."""

    def newest(self) -> SnapshotInfo | None:
        return None

    def turn(self) -> list[tuple[str, Message]]:
        """Step until nothing is due; what was sent meanwhile."""
        self.sent = []
        for _ in range(STEPS_MAX):
            if self.core.step():
                self.journal.sync()
                self.core.synced()
            elif self.core.next_due > self.now:
                return self.sent
        raise AssertionError("the core does not come to rest")

    def hear(self, peer: str, message: Message, epoch: int | None = None) -> list[tuple[str, Message]]:
        self.core.receive(peer, {"b": 0, "c": 1, "watcher": 2}[peer] if epoch is None else epoch, message)
        return self.turn()

    def append(
        self,
        previous: int,
        entries: Iterable[tuple[int, bytes]],
        *,
        term: int,
        commit: int = 0,
        prev_term: int | None = None,
    ) -> list[tuple[str, Message]]:
        """As the leader of term, b, would send it if it had what is here up to previous."""
        link = self.journal.link(previous) if previous <= self.journal.last.index else Link(previous, term, 0)
        message = Append(
            term, 7, previous, link.term if prev_term is None else prev_term, link.crc, commit, tuple(entries)
        )
        return self.hear("b", message)

    def ask(self) -> PreVoteRequest:
        """Let the leader's time run out; what the others are asked."""
        self.now = self.core.next_due
        return next(message for _, message in self.turn() if isinstance(message, PreVoteRequest))

    def lead(self, epoch: int | None = None) -> int:
        """Become leader by the vote of b; the term. epoch: of b's stream."""
        asked = self.ask()
        self.hear("b", PreVote(asked.term, asked.round, True), epoch)
        term = self.core.status.term
        self.hear("b", Vote(term), epoch)
        assert self.core.status.role == "leader"
        return term

    @property
    def log(self) -> list[tuple[int, bytes]]:
        found = [self.journal.entry(i) for i in range(1, self.journal.last.index + 1)]
        return [(entry.term, entry.data) for entry in found]


ONES = [(1, b"%d" % number) for number in range(1, 6)]


def acks(sent: list[tuple[str, Message]]) -> list[Ack]:
    return [message for _, message in sent if isinstance(message, Ack)]


def test_repeated_or_older_append_cuts_nothing_off() -> None:
    """The library cut off all behind it, though it had acknowledged them (reproduction t1)."""
    bench = Bench(ONES)
    assert acks(bench.append(1, ONES[1:3], term=1)) == [Ack(1, 7, 4, is_match=True, is_reject=False)]
    assert acks(bench.append(2, [], term=1)) == [Ack(1, 7, 3, is_match=True, is_reject=False)]
    assert bench.log == ONES


def test_append_cuts_off_exactly_from_the_first_entry_of_another_term() -> None:
    bench = Bench(ONES)
    answer = acks(bench.append(1, [ONES[1], (2, b"new"), (2, b"newer")], term=2))
    assert answer == [Ack(2, 7, 5, is_match=True, is_reject=False)]
    assert bench.log == [*ONES[:2], (2, b"new"), (2, b"newer")]


def test_gap_is_refused_with_the_place_to_go_on() -> None:
    bench = Bench(ONES)
    assert acks(bench.append(9, [(1, b"x")], term=1)) == [Ack(1, 7, 6, is_match=False, is_reject=True)]


def test_conflict_is_answered_with_the_first_entry_of_its_term_in_one_round() -> None:
    bench = Bench([(1, b"a"), (2, b"b"), (2, b"c"), (2, b"d")])
    sent = bench.append(4, [(3, b"x")], term=3, prev_term=3)
    assert acks(sent) == [Ack(3, 7, 2, is_match=False, is_reject=True)]
    assert len(bench.log) == 4


@pytest.mark.parametrize(
    ("previous", "entries", "prev_term"),
    [(2, [(2, b"other")], None), (3, [], 2)],
    ids=["would replace it", "names it with another term"],
)
def test_leader_that_contradicts_a_committed_entry_stops_the_node(
    previous: int, entries: list[tuple[int, bytes]], prev_term: int | None
) -> None:
    bench = Bench(ONES, commit=4)
    with pytest.raises(BrokenCluster):
        bench.append(previous, entries, term=2, prev_term=prev_term)


def test_entries_whose_terms_go_back_or_ahead_of_the_leaders_stop_the_node() -> None:
    for entries in ([(2, b"x"), (1, b"y")], [(3, b"x")]):
        with pytest.raises(BrokenCluster):
            Bench(ONES).append(5, entries, term=2)


def test_same_term_and_another_content_stops_the_node() -> None:
    bench = Bench(ONES)
    with pytest.raises(BrokenCluster, match="checksum"):
        bench.hear("b", Append(1, 1, 5, 1, bench.journal.last.crc ^ 1, 0, ()))


def test_two_leaders_of_one_term_stop_the_node() -> None:
    bench = Bench(ONES)
    bench.append(5, [], term=2)
    with pytest.raises(BrokenCluster, match="both lead"):
        bench.hear("c", Beat(2, 1, 0))
    bench = Bench(ONES)
    term = bench.lead()
    with pytest.raises(BrokenCluster, match="both lead"):
        bench.hear("c", Beat(term, 1, 0))


def test_commit_index_counts_only_as_far_as_this_leaders_log_was_compared() -> None:
    """The library took it from messages that compare nothing (reproduction t22)."""
    bench = Bench(ONES)
    bench.hear("b", Beat(2, 1, 5))
    assert bench.committed == []
    bench.append(2, [ONES[2]], term=2, commit=5)
    assert bench.committed == [b"1", b"2", b"3"]
    bench.hear("b", Beat(2, 9, 5))
    assert bench.committed == [b"1", b"2", b"3"]


def test_older_term_is_told_so_and_changes_nothing() -> None:
    bench = Bench([(1, b"a"), (4, b"b")])
    for message in (Beat(3, 1, 2), Append(3, 1, 1, 1, 0, 2, ((3, b"x"),)), VoteRequest(3, 9, 9, False)):
        assert bench.hear("b", message) == [("b", TermNotice(4))]
    assert bench.log == [(1, b"a"), (4, b"b")]


def test_answer_from_another_term_or_connection_commits_nothing() -> None:
    """A stale answer, of an earlier term or out of a replaced socket, committed what nobody held (reproduction t2)."""
    bench = Bench(ONES)
    term = bench.lead()
    before = bench.core.status.commit_index
    bench.hear("b", Ack(term - 1, 1, 7, is_match=True, is_reject=False))
    bench.core.connected("b", 10)
    bench.hear("b", Ack(term, 1, 7, is_match=True, is_reject=False), epoch=0)
    bench.hear("watcher", Ack(term, 1, 7, is_match=True, is_reject=False))
    assert bench.core.status.commit_index == before
    bench.hear("b", Ack(term, 1, 7, is_match=True, is_reject=False), epoch=10)
    assert bench.core.status.commit_index == 6


def test_vote_of_one_node_counts_once_and_that_of_an_observer_never() -> None:
    """The library counts answers (reproduction t14)."""
    bench = Bench(ONES)
    asked = bench.ask()
    bench.hear("watcher", PreVote(asked.term, asked.round, True))
    assert bench.core.status.role == "follower"
    bench.hear("c", PreVote(asked.term, asked.round, True))
    assert bench.core.status.role == "candidate"
    term = bench.core.status.term
    bench.hear("watcher", Vote(term))
    bench.hear("b", Vote(term - 1))
    assert bench.core.status.role == "candidate"
    bench.hear("b", Vote(term))
    assert bench.core.status.role == "leader"


def test_higher_term_in_any_answer_makes_a_leader_step_down() -> None:
    """The library ignored it and led on for half a minute (reproduction t18)."""
    for message in (Ack(99, 1, 1, False, False), TermNotice(99)):
        bench = Bench(ONES)
        bench.lead()
        bench.hear("b", message)
        assert (bench.core.status.role, bench.core.status.term) == ("follower", 99)
        assert bench.journal.durable_vote == (99, "")


def test_observer_neither_deposes_a_leader_nor_is_voted_for() -> None:
    """A read-only peer deposed the leader and fed an entry that was applied (reproduction t15)."""
    bench = Bench(ONES)
    bench.append(5, [], term=1)
    assert bench.hear("watcher", Append(10**9, 1, 5, 1, bench.journal.last.crc, 6, ((2, b"x"),))) == []
    assert bench.hear("watcher", VoteRequest(10**9, 99, 99, True)) == []
    assert (bench.log, bench.core.status.term) == (ONES, 1)


@pytest.mark.parametrize("candidate", ["watcher", "newcomer"])
def test_candidate_that_does_not_vote_by_an_older_configuration_is_voted_for_where_no_leader_is_heard(
    candidate: str,
) -> None:
    """The leader made it a voter and died; of the two that are left, one has not read that yet."""
    bench = Bench(ONES)
    bench.core.connected("newcomer", 3)
    epoch = {"watcher": 2, "newcomer": 3}[candidate]
    asked = PreVoteRequest(1, 5, 6, 1)
    assert bench.hear(candidate, asked, epoch=epoch) == [(candidate, PreVote(1, 5, True))]
    assert bench.hear(candidate, VoteRequest(2, 6, 1, False), epoch=epoch) == [(candidate, Vote(2))]
    assert bench.hear(candidate, VoteRequest(3, 4, 1, False), epoch=epoch) == []


def test_leader_that_observes_by_an_older_configuration_is_heard_where_no_other_speaks() -> None:
    """It came back with another disk, caught up and was elected; who reads of that an entry at a time must go on."""
    bench = Bench(ONES)
    last = bench.journal.last
    sent = bench.hear("watcher", Append(2, 1, last.index, last.term, last.crc, 0, ((2, b"x"),)))
    assert sent == [("watcher", Ack(2, 1, last.index + 2, is_match=True, is_reject=False))]
    assert bench.core.leader == "watcher"


def test_peer_that_is_not_believed_is_followed_but_its_votes_and_answers_do_not_count() -> None:
    """Who learns the log anew reads of disks that are gone; its leader may be on its third (see `trust`)."""
    bench = Bench(ONES)
    bench.core.connected("b", 10, Shown("b's third/1", is_familiar=False))
    assert bench.hear("b", VoteRequest(9, 9, 9, True), epoch=10) == []
    assert bench.hear("b", PreVoteRequest(9, 1, 9, 9), epoch=10) == []
    assert bench.hear("b", TermNotice(9), epoch=10) == []
    last = bench.journal.last
    sent = bench.hear("b", Append(2, 1, last.index, 1, last.crc, 6, ((2, b"x"),)), epoch=10)
    assert sent == [("b", Ack(2, 1, last.index + 2, is_match=True, is_reject=False))]
    assert bench.committed[-1] == b"x"


def test_follower_vouches_for_the_leader_it_hears_with_the_disk_that_is_committed() -> None:
    """Who asks was away while that leader got another disk, and refuses it; an entry that may be cut off says nothing."""
    bench = Bench(ONES)
    bench.append(5, [(2, pack_configuration(B_ANEW))], term=2)
    question = PreVoteRequest(1, 5, 5, 1)
    assert bench.hear("c", question) == [("c", PreVote(2, 5, False))]
    bench.append(6, [], term=2, commit=6, prev_term=2)
    assert bench.hear("c", question) == [
        ("c", PreVote(2, 5, False)),
        ("c", Voucher(2, "b", "b's second/1")),
    ]
    bench.now += 10 * TIMES.election_max
    assert [message for _, message in bench.hear("c", question) if isinstance(message, Voucher)] == []


def test_leader_that_a_voter_vouches_for_is_let_in_with_that_disk_alone() -> None:
    bench = Bench(ONES)
    bench.hear("c", Voucher(2, "b", "b's second/1"))
    assert bench.core.trust.is_vouched_for("b", "b's second/1")
    assert not bench.core.trust.is_vouched_for("b", "b's third/1")
    assert not bench.core.trust.is_vouched_for("c", "b's second/1")


def test_voucher_of_a_peer_that_is_not_believed_lets_nobody_in() -> None:
    bench = Bench(ONES)
    bench.core.connected("c", 10, Shown("c's second/1", is_familiar=False))
    bench.hear("c", Voucher(2, "b", "b's second/1"), epoch=10)
    bench.hear("watcher", Voucher(2, "b", "b's second/1"))
    assert not bench.core.trust.is_vouched_for("b", "b's second/1")


def test_what_a_disk_acknowledged_does_not_count_once_the_log_names_another() -> None:
    """Its answers were under way when the leader took the node in under its new disk."""
    bench = Bench(ONES)
    bench.core.connected("b", 10, Shown("b's first/1"))
    bench.turn()
    term = bench.lead(epoch=10)
    bench.hear("c", Ack(term, 1, 7, is_match=True, is_reject=False))
    bench.core.change_members(B_ANEW, lambda _: None)
    bench.turn()
    bench.hear("b", Ack(term, 1, 8, is_match=True, is_reject=False), epoch=10)
    assert bench.core.status.match["b"] == 0
    bench.core.connected("b", 11, Shown("b's second/1", is_familiar=False))
    bench.hear("b", Ack(term, 1, 3, is_match=True, is_reject=False), epoch=11)
    assert bench.core.status.match["b"] == 2


def test_vote_request_is_not_heard_while_a_leader_is_unless_that_leader_hands_over() -> None:
    bench = Bench(ONES)
    bench.append(5, [], term=2)
    assert bench.hear("c", VoteRequest(3, 9, 2, False)) == []
    assert bench.hear("c", PreVoteRequest(2, 5, 9, 2)) == [("c", PreVote(2, 5, False))]
    assert bench.hear("c", VoteRequest(3, 9, 2, True)) == [("c", Vote(3))]


def test_follower_that_lost_what_it_acknowledged_is_sent_no_more_and_still_counts_as_it_did() -> None:
    bench = Bench(ONES)
    term = bench.lead()
    bench.hear("b", Ack(term, 1, 7, is_match=True, is_reject=False))
    bench.core.propose(b"more", lambda _: None)
    bench.turn()
    sent = bench.hear("b", Ack(term, 10**6, 3, is_match=False, is_reject=True))
    bench.now += 3 * TIMES.heartbeat
    sent += bench.turn()
    assert not any(peer == "b" and isinstance(message, Append) for peer, message in sent)
    assert bench.core.status.match["b"] == 6


def test_answer_that_claims_more_than_the_log_holds_stops_the_node() -> None:
    bench = Bench(ONES)
    term = bench.lead()
    with pytest.raises(AssertionError, match="claims entry"):
        bench.hear("b", Ack(term, 1, 50, is_match=True, is_reject=False))
