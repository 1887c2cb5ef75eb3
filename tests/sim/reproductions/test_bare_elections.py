"""How the bare library elects: who is counted, who is heard, who leaves office."""

from __future__ import annotations

from pysyncobj.node import Node

from tests.sim.reproductions.bare import append, bare_library, command, vote


def test_t14_one_voter_who_answers_twice_elects() -> None:
    with bare_library() as time:
        candidate = time.elect("L", "ABCD", "AA")

        assert candidate._isLeader()


def test_t15_anybody_who_connects_deposes_the_leader_and_has_entries_applied() -> None:
    with bare_library() as time:
        leader = time.elect("L", "FG", "F")
        stranger = Node("0")
        leader.wire._onReadonlyNodeConnected(stranger)

        leader.hear("0", append(10**9, 1, 0, [(command("evil"), 2, 10**9)], 2))
        time.tick(leader)

        assert not leader._isLeader()
        assert leader.data == ["evil"]


def test_t18_a_leader_whose_term_is_over_leads_on_until_its_fallback() -> None:
    with bare_library() as time:
        leader = time.elect("L", "FG", "F")

        leader.hear("F", vote(99))
        time.tick(leader, 250, seconds=0.1)

        assert leader._isLeader()
        assert leader.raftCurrentTerm == 1
        time.tick(leader, 60, seconds=0.1)
        assert not leader._isLeader()
