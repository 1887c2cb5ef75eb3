"""The scenes of `test_bare_elections` and `test_bare_membership`, played to the production core."""

from __future__ import annotations

from tests.sim.reproductions.lone import Lone, append, chain
from tq.broker.replication.membership import Configuration, pack_configuration
from tq.broker.replication.memory_journal import MemoryJournal
from tq.broker.replication.messages import Ack, TermNotice, VoteRequest
from tq.errors import BrokerUnavailable, TqError


def test_t14_one_voter_who_answers_twice_does_not_elect() -> None:
    node = Lone("L", "ABCD")

    node.campaign("AA")
    assert not node.sent(VoteRequest), "its questions are counted once, too"
    node.campaign("AB")
    assert node.sent(VoteRequest)
    node.campaign("AA")

    assert node.core.status.role != "leader"


def test_t15_an_observer_deposes_nobody_and_has_nothing_applied() -> None:
    node = Lone("L", "FG", observers="0")
    node.lead("F")

    node.hear("0", append(10**9, 1, chain()[0], [(10**9, b"evil")], commit=1))

    assert node.core.is_leader
    assert b"evil" not in [data for _, data in node.told]


def test_t18_a_leader_whose_term_is_over_gives_up_at_once() -> None:
    for message in (TermNotice(99), Ack(99, 1, 1, is_match=False, is_reject=False)):
        node = Lone("L", "FG")
        node.lead("F")

        node.hear("F", message)

        assert not node.core.is_leader
        assert node.core.status.term == 99


def test_t3_the_second_change_of_members_waits_for_the_first() -> None:
    node = Lone("A", "BC")
    node.lead("B")
    ended: list[int | TqError] = []

    node.core.change_members(Configuration(("A", "B"), (), ("A", "B")), ended.append)
    node.core.change_members(Configuration(("A",), (), ("A",)), ended.append)
    node.go()
    proposed = node.propose(b"x")

    assert [type(one) for one in ended] == [BrokerUnavailable], "the first is not committed"
    assert not proposed
    assert node.core.configuration.voters == ("A", "B")


def test_t4_of_two_nodes_one_removes_the_other_without_hearing_from_it() -> None:
    """As with the bare library: Raft allows it, and whoever operates two nodes must know it."""
    node = Lone("A", "B")
    node.lead("B")
    ended: list[int | TqError] = []

    node.core.change_members(Configuration(("A",), (), ("A",)), ended.append)
    node.go()

    assert [type(one) for one in ended] == [int]


def test_t19_after_a_restart_the_members_in_the_log_count() -> None:
    four = pack_configuration(Configuration(tuple("ABCD"), (), tuple("ABCD")))
    five = pack_configuration(Configuration(tuple("ABCDE"), (), tuple("ABCDE")))
    journal = MemoryJournal()
    node = Lone("A", "BC", journal=journal)
    node.hear("B", append(1, 1, chain()[0], [(1, four), (1, five)]))
    assert node.core.configuration.voters == tuple("ABCDE")

    journal.crash()
    again = Lone("A", "BC", journal=journal)
    again.campaign("B")

    assert again.core.configuration.voters == tuple("ABCDE")
    assert again.core.status.role != "leader", "two of five are no majority"
