"""Nodes that come and go, in virtual time."""

from __future__ import annotations

import pytest

from tests.replication.rig import Node as RigNode
from tests.replication.rig import Rig
from tq.broker.replication.membership import Configuration, Node
from tq.errors import BadRequest, BrokerUnavailable, TqError


def configuration(voters: str, observers: str = "") -> Configuration:
    return Configuration.of(
        {name: f"{name}:1" for name in voters.split()}, {name: f"{name}:1" for name in observers.split()}
    )


def change(rig: Rig, wanted: Configuration, node: RigNode | None = None) -> list[int | TqError]:
    outcome: list[int | TqError] = []
    node = node or rig.elect()
    node.core.change_members(wanted, outcome.append)
    node.poke()
    return outcome


def changed(rig: Rig, wanted: Configuration) -> None:
    outcome = change(rig, wanted)
    rig.run_until(lambda: bool(outcome))
    assert isinstance(outcome[0], int), outcome


def test_new_node_learns_everything_as_an_observer_and_then_votes() -> None:
    rig = Rig(3, spares=1)
    for number in range(20):
        rig.commit(b"%d" % number)
    spare = rig.nodes["n4"]
    assert spare.commands == []
    changed(rig, configuration("n1 n2 n3", "n4"))
    rig.settle()
    assert spare.core.status.role == "observer"
    changed(rig, configuration("n1 n2 n3 n4"))
    rig.settle()
    assert spare.core.configuration.voters == ("n1", "n2", "n3", "n4")
    leader = rig.elect()
    down = [node for node in rig.nodes.values() if node is not leader and node is not spare][:1]
    down[0].crash()
    rig.commit(b"three of four")


def test_node_votes_only_after_it_was_an_observer_that_caught_up() -> None:
    rig = Rig(3, spares=1)
    rig.commit(b"x")
    assert isinstance(change(rig, configuration("n1 n2 n3 n4"))[0], BadRequest)
    rig.nodes["n4"].crash()
    changed(rig, configuration("n1 n2 n3", "n4"))
    assert isinstance(change(rig, configuration("n1 n2 n3 n4"))[0], BadRequest)


def test_configuration_survives_a_restart_of_all_nodes_and_the_trimming_of_its_entry() -> None:
    rig = Rig(3, spares=1, trailing_entries=3)
    changed(rig, configuration("n1 n2 n3", "n4"))
    rig.settle()
    changed(rig, configuration("n1 n2 n3 n4"))
    for number in range(30):
        rig.commit(b"%d" % number)
    rig.settle()
    for node in rig.nodes.values():
        node.save()
    rig.commit(b"takes the trimming with it")
    rig.settle()
    rig.run(0.3)
    assert all(node.journal.controls() == [] for node in rig.nodes.values())
    for node in rig.nodes.values():
        node.crash()
    for node in rig.nodes.values():
        node.start()
        assert node.core.configuration == configuration("n1 n2 n3 n4")


def test_second_change_is_refused_until_the_first_is_committed() -> None:
    """The library admitted both, and a leader cut off from all shrank the cluster to itself (reproduction t3)."""
    rig = Rig(3)
    leader = rig.elect()
    rig.commit(b"x")
    others = [name for name in rig.nodes if name != leader.name]
    first = change(rig, configuration(f"{leader.name} {others[0]}"), leader)
    rig.isolate(leader.name)
    second = change(rig, configuration(leader.name), leader)
    rig.run_until(lambda: bool(second), 0.1)
    assert isinstance(second[0], BrokerUnavailable)
    rig.run(3)
    assert not first or not isinstance(first[0], int)
    assert rig.leader is not leader


def test_two_voters_cannot_be_changed_at_once_and_a_leader_does_not_remove_itself() -> None:
    rig = Rig(5)
    rig.commit(b"x")
    leader = rig.elect()
    rest = " ".join(name for name in rig.nodes if name != leader.name)
    assert isinstance(change(rig, configuration("n1 n2 n3"))[0], BadRequest)
    assert isinstance(change(rig, configuration(rest))[0], BadRequest)


@pytest.mark.parametrize("keeps_its_connections", [False, True])
def test_voter_is_not_removed_when_those_that_are_left_are_no_majority(keeps_its_connections: bool) -> None:
    rig = Rig(3)
    rig.commit(b"x")
    leader = rig.elect()
    dead, alive = (name for name in rig.nodes if name != leader.name)
    if keeps_its_connections:
        rig.nodes[dead].is_paused = True
    else:
        rig.nodes[dead].crash()
    rig.run(1.0)
    refused = change(rig, configuration(f"{leader.name} {dead}"), leader)
    assert isinstance(refused[0], BadRequest)
    assert "no majority" in refused[0].text
    changed(rig, configuration(f"{leader.name} {alive}"))


def test_removed_node_disturbs_nobody() -> None:
    rig = Rig(3)
    rig.commit(b"x")
    leader = rig.elect()
    gone = next(name for name in rig.nodes if name != leader.name)
    stays = next(name for name in rig.nodes if name not in (gone, leader.name))
    rig.isolate(gone)
    changed(rig, configuration(f"{leader.name} {stays}"))
    rig.heal()
    term = leader.core.status.term
    rig.run(10)
    assert (leader.core.is_leader, leader.core.status.term) == (True, term)
    rig.commit(b"goes on")


@pytest.mark.parametrize("seed", range(8))
def test_change_that_gives_way_to_another_leader_is_undone(seed: int) -> None:
    rig = Rig(3, seed=seed)
    leader = rig.elect()
    rig.commit(b"x")
    others = [name for name in rig.nodes if name != leader.name]
    change(rig, configuration(f"{leader.name} {others[0]}"), leader)
    rig.isolate(leader.name)
    assert leader.core.configuration.voters != ("n1", "n2", "n3")
    rig.run_until(lambda: any(node is not leader and node.core.is_leader for node in rig.nodes.values()))
    new = next(node for node in rig.nodes.values() if node is not leader and node.core.is_leader)
    rig.commit_on(new, b"y")
    rig.heal()
    rig.settle()
    assert leader.core.configuration.voters == ("n1", "n2", "n3")


def test_what_a_node_acknowledged_on_another_disk_counts_no_more() -> None:
    """It was counted, once: the node came back empty, was taken for caught up, and voted on what it had lost."""
    rig = Rig(3)
    for number in range(20):
        rig.commit(b"%d" % number)
    leader = rig.elect()
    wiped = next(name for name in rig.nodes if name != leader.name)
    assert leader.core.status.match[wiped] > 0
    rig.nodes[wiped].crash()
    known = leader.core.configuration.known()
    known[wiped] = Node(f"{wiped}:1", votes=False, is_joining=True, disk="another/1")
    changed(rig, Configuration.made(known))
    assert leader.core.status.match[wiped] == 0
    assert not leader.core.has_caught_up(wiped)
    known[wiped] = known[wiped]._replace(votes=True, is_joining=False)
    assert isinstance(change(rig, Configuration.made(known))[0], BadRequest)
