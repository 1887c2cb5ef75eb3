"""What a node tells of its cluster when it knows less than others do."""

from __future__ import annotations

import asyncio

from tq.broker.backend import Answer
from tq.broker.clustering.desk import Desk
from tq.errors import TqError
from tq.verbs import Cluster, GetCluster, Member, Reply


def member(node: str, role: str, *, last: int, is_self: bool = False, is_joining: bool = False) -> Member:
    return Member(
        node, f"{node}:1", role, 5, last, last, last_index=last, is_self=is_self, is_joining=is_joining
    )


LEADERS_WORD = Cluster(
    (
        member("n1", "observer", last=40, is_joining=True),
        member("n2", "leader", last=99, is_self=True),
        member("n3", "follower", last=99),
    ),
    "n2",
)
ANEW = Cluster(
    (
        member("n1", "follower", last=40, is_self=True),
        member("n2", "leader", last=0),
        member("n3", "follower", last=0),
    ),
    "n2",
)
N3 = Cluster((member("n3", "follower", last=99, is_self=True),), "n2")


class Around:
    """A seat, and links, of n1, which learns the log anew and reads that it votes."""

    peers = ("n2", "n3")

    def view(self) -> Cluster:
        return ANEW

    async def ask(self, peer: str, request: object, seconds: float) -> Cluster:
        return {"n2": LEADERS_WORD, "n3": N3}[peer]


def test_who_votes_is_the_leaders_word_even_where_a_node_asks_itself() -> None:
    async def ask() -> Cluster:
        answered: asyncio.Future[Reply | TqError] = asyncio.get_running_loop().create_future()
        answer: Answer = answered.set_result
        Desk(Around(), Around()).show(GetCluster(), answer)  # type: ignore[arg-type]
        cluster = await answered
        assert isinstance(cluster, Cluster)
        return cluster

    cluster = asyncio.run(asyncio.wait_for(ask(), 60))
    shown = {each.node_id: (each.role, each.is_joining, each.lag, each.is_self) for each in cluster.members}
    assert shown == {
        "n1": ("observer", True, 59, True),
        "n2": ("leader", False, 0, False),
        "n3": ("follower", False, 0, False),
    }
