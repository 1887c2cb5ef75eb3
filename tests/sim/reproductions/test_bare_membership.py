"""How the bare library changes its configuration."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pysyncobj.node import Node

from tests.sim.reproductions.bare import MEMBERSHIP, NO_OP, Bare, ack, append, bare_library, vote

# The library opens its journal's files and does not close all of them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_t3_two_removals_leave_a_leader_alone_that_commits_by_itself() -> None:
    answers: list[tuple[str, int]] = []
    with bare_library() as time:
        leader = time.elect("A", "BC", "B", dynamicMembershipChange=True)
        leader.hear("B", ack(3))
        time.tick(leader)

        leader.removeNodeFromCluster(Node("C"), lambda _, error: answers.append(("C", error)))
        leader.removeNodeFromCluster(Node("B"), lambda _, error: answers.append(("B", error)))
        leader.put("x", callback=lambda _, error: answers.append(("x", error)))
        time.tick(leader, 4, seconds=0.05)

        assert answers == [("C", 0), ("B", 0), ("x", 0)]
        assert not leader.otherNodes


def test_t4_of_two_nodes_one_removes_the_other_without_hearing_from_it() -> None:
    """Raft allows it (the new configuration is one node); whoever operates two nodes must know it."""
    answers: list[int] = []
    with bare_library() as time:
        leader = time.elect("A", "B", "B", dynamicMembershipChange=True)
        leader.hear("B", ack(3))
        time.tick(leader)

        leader.removeNodeFromCluster(Node("B"), lambda _, error: answers.append(error))
        time.tick(leader, 3, seconds=0.05)

        assert answers == [0]


def test_t19_after_a_restart_it_forgets_the_members_in_its_log_and_is_elected_by_a_minority(
    tmp_path: Path,
) -> None:
    settings = {"journalFile": str(tmp_path / "journal"), "dynamicMembershipChange": True}
    with bare_library() as time:
        node = Bare("A", "BC", **settings)
        time.tick(node)
        node.hear("B", append(1, 1, 0, [(NO_OP, 2, 1), (_joins("D"), 3, 1)], 2))
        node.hear("B", append(1, 3, 1, [(_joins("E"), 4, 1)], 3))
        time.tick(node)
        assert {other.id for other in node.otherNodes} == set("BCDE")

        again = Bare("A", "BC", **settings)
        again.connect("BC")
        time.tick(again, 2)
        time.tick(again, seconds=2.0)
        again.hear("B", vote(again.raftCurrentTerm))

        assert (4, 1) in again.entries
        assert again._isLeader(), "by two of five"
        node.look("raftLog")._destroy()
        again.look("raftLog")._destroy()


def _joins(name: str) -> bytes:
    return MEMBERSHIP + pickle.dumps(["add", name, Node(name)], 2)
