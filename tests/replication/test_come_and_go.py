"""Nodes of a real cluster that join, leave, lose their disks or find them damaged, while tasks go on."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from lab.processes import wait_until
from tests.replication.brokers import ANSWER_SECONDS, Brokers
from tq import Client

NAMES = ("n1", "n2", "n3", "n4")


def test_node_joins_votes_survives_restarts_and_leaves(tmp_path: Path) -> None:
    with ExitStack() as stack:
        brokers = Brokers(tmp_path, stack, names=NAMES)
        client = stack.enter_context(Client(brokers.addresses))
        ids = [client.submit_task("echo", b"%d" % number) for number in range(20)]
        follower = brokers.followers()[0]
        brokers.start("n4", join=True).wait_for_event("ready")
        new = {"node_id": "n4", "address": brokers.raft("n4")}
        status, document = brokers.ask(follower, "POST", "/cluster/nodes", new)
        assert (status, len(document["members"])) == (200, 4)
        brokers.until_role(follower, "n4", "follower", "leader")

        for name in NAMES:
            brokers.kill(name)
        # The files still name three nodes; the log knows that they are four.
        for name in NAMES:
            brokers.start(name)
        for name in NAMES:
            brokers.running[name].wait_for_event("ready")
        brokers.leader()
        wait_until(
            lambda: "unreachable" not in {each["role"] for each in brokers.members("n4").values()} or None,
            ANSWER_SECONDS,
            what=lambda: str(brokers.members("n4")),
        )
        assert sorted(brokers.members("n4")) == list(NAMES)

        # The leader is asked to remove itself: it hands over first, and the next one removes it.
        leader = brokers.leader()
        stays = next(name for name in NAMES if name != leader)
        assert brokers.ask(stays, "DELETE", f"/cluster/nodes/{leader}")[0] == 200
        brokers.kill(leader)
        assert sorted(brokers.members(stays)) == sorted(set(NAMES) - {leader})
        ids.append(client.submit_task("echo", b"without it"))
        assert {client.get_task(task_id).status for task_id in ids} == {"pending"}


def test_wiped_and_damaged_nodes_come_back_as_observers_and_vote_again(tmp_path: Path) -> None:
    with ExitStack() as stack:
        brokers = Brokers(tmp_path, stack, as_list=True)
        client = stack.enter_context(Client(brokers.addresses))
        ids = [client.submit_task("echo", b"%d" % number) for number in range(20)]
        leader, (wiped, damaged) = brokers.leader(), brokers.followers()

        for _ in range(2):
            brokers.kill(wiped)
            shutil.rmtree(brokers.data(wiped))
            brokers.restart(wiped)
            # Nodes that are given as a list go by their addresses.
            back = brokers.until_role(leader, brokers.raft(wiped), "follower")
            assert back["commit_index"] >= brokers.members(leader)[brokers.raft(damaged)]["first_index"]

        # It leads when the other one begins anew, who knows it by its first disk and will read of its second.
        assert brokers.ask(leader, "POST", "/cluster/transfer", {"node_id": brokers.raft(wiped)})[0] == 200

        brokers.kill(damaged)
        newest = max((brokers.data(damaged) / "journal").glob("*.log"))
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
        broker = brokers.start(damaged)
        broker.wait_for_event("needs_repair")
        broker.wait_for_event("ready")
        brokers.until_role(wiped, brokers.raft(damaged), "follower")
        assert (brokers.data(damaged) / "damaged-1" / "journal").is_dir()

        # Both vote again: without the one whose disk was never lost the cluster goes on, and has everything.
        brokers.kill(leader)
        ids.append(client.submit_task("echo", b"without it"))
        assert {client.get_task(task_id).status for task_id in ids} == {"pending"}
