"""Scenes for mitigations that no test of their own plays: each holds for the production code."""

from __future__ import annotations

import pytest

from tests.sim.reproductions.lone import Lone, ack, append, chain, chunk
from tq.broker.replication.membership import Configuration
from tq.broker.replication.memory_journal import MemoryJournal
from tq.broker.replication.messages import (
    Ack,
    Append,
    Beat,
    PreVote,
    PreVoteRequest,
    TermNotice,
    TimeoutNow,
    Vote,
    VoteRequest,
)
from tq.broker.replication.proposals import PROPOSALS_MAX
from tq.errors import BadRequest, BrokerUnavailable, TqError

ENTRIES = [(1, b"%d" % number) for number in range(10)]
LINKS = chain(*ENTRIES)
APPLIED_AT_ONCE = 256
"""Longer holds up heartbeats."""


def leader_of_two_followers() -> Lone:
    node = Lone("L", "FG")
    node.lead("F")
    node.out.clear()
    return node


# ------------------------------------------------------------ what is sent, and what is made of answers


def rejection_from_before_a_match_changes_nothing() -> None:
    node = leader_of_two_followers()
    term = node.core.status.term
    node.propose(b"x")
    asked = node.sent(Append)[-1].seq
    node.hear("G", Ack(term, asked, 1, is_match=False, is_reject=True))
    node.acknowledge("G")
    node.hear("G", Ack(term, asked, 1, is_match=False, is_reject=True))
    node.out.clear()

    node.propose(b"y")

    assert [to for to, message in node.out if isinstance(message, Append) and to == "G"], "it is sent no more"


def match_of_an_older_message_sends_nothing_twice() -> None:
    node = leader_of_two_followers()
    node.propose(b"x")
    node.acknowledge("F")
    node.propose(b"y")
    last = node.sent(Append)[-1].seq
    node.acknowledge("F")
    node.out.clear()

    node.hear("F", ack(node.core.status.term, last - 1, 2))
    node.wait(0.2)

    assert not [to for to, message in node.out if isinstance(message, Append) and to == "F"]


def piece_of_a_snapshot_at_another_offset_is_not_kept() -> None:
    node = Lone("F", "LG")
    node.hear("L", chunk(1, 1, LINKS[5], b"abcdef", b"ab"))

    node.hear("L", chunk(1, 2, LINKS[5], b"abcdef", b"ef", offset=4))

    assert node.copies.received == b"ab"


def log_stands_still_while_a_snapshot_is_installed() -> None:
    node = Lone("F", "LG")
    node.hear("L", append(1, 1, LINKS[0], ENTRIES[:2]))
    node.copies.install = lambda info, done: None  # type: ignore[method-assign]
    node.hear("L", chunk(1, 2, LINKS[9], b"state", b"state"))
    node.out.clear()

    node.hear("L", append(1, 3, LINKS[2], ENTRIES[2:4]))

    assert node.journal.last == LINKS[2]
    assert not [answer for answer in node.sent(Ack) if answer.is_match], (
        "what the reset takes is not promised"
    )


def only_voter_sends_nothing_of_a_term_that_is_not_on_its_disk() -> None:
    node = Lone("A", "", observers="O")
    while not node.core.status.term:
        node.now += 0.05
        node.core.step()

    assert not node.sent(Append)


# ------------------------------------------------------------ time


def late_process_gives_its_leader_a_fresh_timeout() -> None:
    node = Lone("F", "LG")
    node.hear("L", append(1, 1, LINKS[0], []))

    node.now += 10.0
    node.go()

    assert not node.sent(PreVoteRequest)


def what_arrived_is_heard_before_time_is_looked_at() -> None:
    node = Lone("F", "LG")
    node.hear("L", append(1, 1, LINKS[0], []))

    node.now = node.core.next_due + 0.01
    node.hear("L", Beat(1, 2, 0))

    assert not node.sent(PreVoteRequest)


def deposed_leader_waits_a_whole_timeout() -> None:
    node = leader_of_two_followers()
    for _ in range(5):
        node.wait(0.5)
        node.hear(
            "F", Ack(node.core.status.term, node.sent(Beat)[-1].seq, 1, is_match=False, is_reject=False)
        )
    assert node.core.is_leader
    node.hear("F", TermNotice(node.core.status.term + 1))

    node.wait(0.5)

    assert not node.sent(PreVoteRequest)


# ------------------------------------------------------------ handing over


def leader_that_hands_over_takes_nothing_more() -> None:
    node = leader_of_two_followers()
    node.core.transfer("G", lambda _: None)
    node.go()

    assert [type(one) for one in node.propose(b"x")] == [BrokerUnavailable]


def target_stands_when_it_has_everything_and_not_before() -> None:
    node = Lone("L", "FG")
    node.lead("FG")
    node.propose(b"x")
    node.core.transfer("G", lambda _: None)
    node.go()
    assert not node.sent(TimeoutNow)

    node.acknowledge("G")

    assert node.sent(TimeoutNow)


# ------------------------------------------------------------ elections and members


def voter_who_answers_twice_does_not_elect() -> None:
    node = Lone("L", "ABCD")
    node.wait(2.0)
    round_ = node.sent(PreVoteRequest)[-1].round
    for peer in "AB":
        node.hear(peer, PreVote(node.core.status.term, round_, True))
    assert node.sent(VoteRequest)

    for _ in range(3):
        node.hear("A", Vote(node.core.status.term))

    assert not node.core._raft.is_leader


def node_whom_nobody_would_vote_for_does_not_stand() -> None:
    node = Lone("F", "LG")

    node.wait(3.0)

    assert node.sent(PreVoteRequest)
    assert not node.sent(VoteRequest)


def two_voters_do_not_go_at_once() -> None:
    node = Lone("A", "BCDE")
    node.lead("BC")
    ended: list[int | TqError] = []

    node.core.change_members(Configuration(("A", "B", "C"), (), ("A", "B", "C")), ended.append)
    node.go()

    assert [type(one) for one in ended] == [BadRequest]


# ------------------------------------------------------------ bounds


def proposals_under_way_are_bounded() -> None:
    node = leader_of_two_followers()
    ended = [node.propose(b"%d" % number) for number in range(PROPOSALS_MAX + 1)]

    assert [type(one) for one in ended[-1]] == [BrokerUnavailable]
    assert not any(ended[:-1])


class ByHand(Lone):
    """Steps only when it is told to."""

    def go(self) -> None:
        return None


def one_step_applies_no_more_than_its_share() -> None:
    journal = MemoryJournal()
    for _ in range(3 * APPLIED_AT_ONCE):
        journal.append(1, b"x")
    journal.set_term(1, "")
    journal.set_commit_index(journal.last.index)
    journal.sync()
    node = ByHand("F", "LG", journal=journal)

    node.core.step()

    assert 0 < len(node.told) <= APPLIED_AT_ONCE


# ------------------------------------------------------------ the library


def library_loads_no_dump() -> None:
    node = Lone("F", "LG")

    with pytest.raises(AssertionError, match="wanted to load a dump"):
        node.core._raft._raft._SyncObj__loadDumpFile(clearJournal=False)


def library_reads_no_configuration() -> None:
    node = Lone("F", "LG")

    assert node.core._raft._raft._SyncObj__parseChangeClusterRequest(b"\2\x80\x02K\x07.") is None


def library_sees_entries_as_tuples() -> None:
    node = Lone("F", "LG")
    node.hear("L", append(1, 1, LINKS[0], ENTRIES))

    assert all(type(item) is tuple for item in node.core._replica.view.slice(1, 5))
