"""What a cluster of cores does, in virtual time."""

from __future__ import annotations

import pytest

from tests.replication.rig import TIMES, Rig
from tq.errors import BrokerUnavailable, NotLeader, OutcomeUnknown


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_cluster_elects_a_leader_and_applies_everything_on_every_node_in_order(size: int) -> None:
    rig = Rig(size)
    entries = [b"entry %d" % number for number in range(20)]
    indexes = [rig.commit(data) for data in entries]
    rig.settle()
    assert indexes == sorted(set(indexes))
    for node in rig.nodes.values():
        assert node.commands == list(zip(indexes, entries, strict=True))


def test_same_seed_gives_the_same_run_to_the_byte() -> None:
    def run() -> list[object]:
        rig = Rig(3, seed=7)
        for number in range(5):
            rig.commit(b"%d" % number)
        rig.elect().crash()
        rig.commit(b"after")
        return list(rig.sent)

    assert run() == run()


def test_proposing_node_is_given_the_very_object_it_proposed() -> None:
    rig = Rig(3)
    data = bytes(bytearray(b"mine"))
    leader = rig.elect()
    rig.commit(data)
    assert leader.commands[-1][1] is data


@pytest.mark.parametrize("size", [3, 5])
def test_no_acknowledged_entry_is_lost_when_leaders_crash_again_and_again(size: int) -> None:
    rig = Rig(size, seed=3)
    acknowledged = []
    for number in range(12):
        acknowledged.append((rig.commit(b"entry %d" % number), b"entry %d" % number))
        leader = rig.elect()
        leader.crash()
        rig.commit(b"between %d" % number)
        leader.start()
    rig.settle()
    for node in rig.nodes.values():
        assert [pair for pair in node.commands if pair[1].startswith(b"entry")] == acknowledged


def test_crash_of_all_nodes_loses_nothing_that_was_acknowledged() -> None:
    rig = Rig(3)
    indexes = [rig.commit(b"%d" % number) for number in range(10)]
    for node in rig.nodes.values():
        node.crash()
    for node in rig.nodes.values():
        node.start()
    rig.commit(b"later")
    rig.settle()
    assert [index for index, _ in rig.nodes["n1"].commands][:10] == indexes


def test_nothing_is_acknowledged_without_a_majority_and_the_outcome_is_unknown_in_time() -> None:
    rig = Rig(3)
    leader = rig.elect()
    rig.isolate(leader.name)
    outcome = rig.propose(b"alone", leader)
    begun = rig.now
    rig.run_until(lambda: bool(outcome))
    assert isinstance(outcome[0], OutcomeUnknown)
    assert rig.now - begun <= TIMES.proposal


def test_entry_of_a_cut_off_leader_that_gave_way_is_reported_as_not_applied() -> None:
    rig = Rig(3)
    leader = rig.elect()
    rig.commit(b"before")
    rig.isolate(leader.name)
    outcome = rig.propose(b"lost", leader)
    rig.run_until(lambda: any(each is not leader and each.core.is_leader for each in rig.nodes.values()), 3)
    rig.heal()
    rig.run_until(lambda: bool(outcome))
    assert isinstance(outcome[0], BrokerUnavailable)
    rig.commit(b"after")
    rig.settle()
    assert b"lost" not in [data for _, data in leader.commands]


def test_followers_refuse_proposals_and_name_the_leader() -> None:
    rig = Rig(3)
    leader = rig.elect()
    rig.commit(b"x")
    rig.run(0.3)
    follower = next(node for node in rig.nodes.values() if node is not leader)
    outcome = rig.propose(b"no", follower)
    refusal = outcome[0]
    assert isinstance(refusal, NotLeader)
    assert refusal.leader == leader.name


def test_follower_that_is_cut_off_again_and_again_deposes_nobody() -> None:
    rig = Rig(3)
    leader = rig.elect()
    victim = next(name for name in rig.nodes if name != leader.name)
    term = leader.core.status.term
    for _ in range(6):
        rig.isolate(victim)
        rig.run(2.0)
        rig.heal()
        rig.run(1.0)
        rig.commit(b"still here")
    assert (leader.core.status.term, leader.core.is_leader) == (term, True)


def test_leader_that_hears_no_majority_steps_down_within_the_longest_timeout() -> None:
    rig = Rig(3)
    leader = rig.elect()
    rig.isolate(leader.name)
    rig.run(TIMES.election_max + 2 * TIMES.heartbeat)
    assert not leader.core.is_leader


def test_paused_leader_is_replaced_and_follows_when_it_wakes() -> None:
    rig = Rig(3)
    old = rig.elect()
    old.is_paused = True
    rig.run_until(
        lambda: rig.leader is not old and rig.leader is not None and rig.leader.core.status.term > 1
    )
    rig.run_until(lambda: any(n is not old and n.core.is_leader for n in rig.nodes.values()))
    new = next(n for n in rig.nodes.values() if n is not old and n.core.is_leader)
    rig.propose(b"under the new one", new)
    rig.run(0.5)
    old.is_paused = False
    old.poke()
    rig.settle()
    assert not old.core.is_leader
    assert b"under the new one" in [data for _, data in old.commands]


def test_divergent_tail_of_hundreds_of_entries_gives_way_at_once() -> None:
    rig = Rig(3)
    old = rig.elect()
    rig.commit(b"common")
    rig.isolate(old.name)
    for number in range(60):
        rig.propose(b"divergent %d" % number, old)
    rig.run_until(lambda: any(n is not old and n.core.is_leader for n in rig.nodes.values()))
    new = next(n for n in rig.nodes.values() if n is not old and n.core.is_leader)
    for number in range(60):
        outcome = rig.propose(b"new %d" % number, new)
        rig.run_until(lambda: bool(outcome))  # noqa: B023
    rig.heal()
    begun = rig.now
    rig.run_until(lambda: old.applied == new.applied)
    assert rig.now - begun < 0.2
    rig.settle()


def test_vote_and_acknowledgement_leave_only_after_the_sync_that_covers_them() -> None:
    rig = Rig(3)
    leader = rig.elect()
    rig.run(0.3)
    for node in rig.nodes.values():
        if node is not leader:
            node.sync_seconds = 0.4
    outcome = rig.propose(b"slow", leader)
    rig.run(0.39)
    assert not outcome
    rig.run_until(lambda: bool(outcome), 0.1)


def test_read_index_waits_for_a_majority_and_is_refused_by_a_leader_that_was_replaced() -> None:
    rig = Rig(3)
    leader = rig.elect()
    index = rig.commit(b"seen")
    answers: list[object] = []
    leader.core.read_index(answers.append)
    leader.poke()
    assert not answers
    rig.run_until(lambda: bool(answers), 0.05)
    assert answers == [index]
    rig.isolate(leader.name)
    answers.clear()
    leader.core.read_index(answers.append)
    leader.poke()
    rig.run(3)
    assert isinstance(answers[0], BrokerUnavailable)


def test_transfer_moves_the_leadership_without_an_election_timeout() -> None:
    rig = Rig(3)
    leader = rig.elect()
    rig.commit(b"x")
    target = next(name for name in rig.nodes if name != leader.name)
    answers: list[object] = []
    leader.core.transfer(target, answers.append)
    leader.poke()
    begun = rig.now
    rig.run_until(lambda: rig.nodes[target].core.is_leader, 1)
    assert rig.now - begun < 0.1
    rig.run_until(lambda: bool(answers), 1)
    assert isinstance(answers[0], int)
    rig.commit(b"goes on")


def test_leader_that_is_silent_for_long_is_none_that_others_are_sent_to() -> None:
    """A node that is left alone wins no pre-vote, so its term, and the leader it followed in it, stay as they are."""
    rig = Rig(3)
    leader = rig.elect()
    rig.commit(b"x")
    rig.settle()
    alone = next(node for node in rig.nodes.values() if node is not leader)
    assert alone.core.leader == leader.name
    rig.isolate(alone.name)
    rig.run(5)
    assert (alone.core.leader, alone.core.status.leader) == ("", "")
    rig.heal()
    rig.run(1)
    assert alone.core.leader == leader.name
