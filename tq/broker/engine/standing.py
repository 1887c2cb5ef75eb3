"""What a broker says of itself: how it is, and what it is in its cluster. By itself it is all there is."""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.backend import Answer, Peer
from tq.broker.machine.state import State
from tq.broker.replication.log import ReplicatedLog
from tq.errors import Unsupported
from tq.verbs import AddNode, Cluster, GetCluster, GetHealth, Health, Member, RemoveNode, TransferLeadership
from tq.version import VERSION


class Standing:
    """health: as of now, its leader left out."""

    def __init__(self, node_id: str, log: ReplicatedLog, state: State, health: Callable[[], Health]) -> None:
        self._node_id = node_id
        self._log = log
        self._state = state
        self._health = health
        self.leader: Callable[[], str] = lambda: node_id
        """Node id of who leads, empty = nobody is known to; a node of a cluster puts its own knowledge here."""

    def health(self, peer: Peer, request: GetHealth, answer: Answer) -> None:
        health, leader = self._health(), self.leader()
        if not leader:
            problems = (*health.problems, "no node is known to lead: writes wait for one")
            health = health._replace(status="degraded", problems=problems)
        answer(health._replace(leader=leader))

    def cluster(self, peer: Peer, request: GetCluster, answer: Answer) -> None:
        last = self._log.last_index
        member = Member(
            self._node_id,
            "",
            "standalone",
            0,
            last,
            self._state.index,
            is_self=True,
            last_index=last,
            version=VERSION,
        )
        answer(Cluster((member,), self._node_id))

    def change_cluster(
        self, peer: Peer, request: AddNode | RemoveNode | TransferLeadership, answer: Answer
    ) -> None:
        answer(Unsupported("this broker is not part of a cluster: raft.enabled is off"))
