"""What the rest of the broker needs to know of this node's place in the cluster: the port to `replication`."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tq.errors import NotLeader
from tq.verbs import Cluster


class Seat(Protocol):
    """`replication.cluster.ClusterMember` serves it."""

    @property
    def node_id(self) -> str: ...

    @property
    def leads(self) -> bool:
        """Whether this node takes writes, and its state holds everything that was acknowledged."""
        ...

    @property
    def leader(self) -> str:
        """Node id of who leads, as far as is known here; empty = nobody."""
        ...

    @property
    def peers(self) -> list[str]:
        """The other nodes."""
        ...

    def not_leader(self) -> NotLeader:
        """What those are told who want the leader, with the address where its clients go."""
        ...

    async def read_index(self) -> int:
        """Return once the state holds everything that was acknowledged anywhere before the call.

        Raises NotLeader, BrokerUnavailable.
        """
        ...

    async def visit(self, node: str, visitor: asyncio.Protocol) -> None:
        """Connect visitor to a peer, both proved to each other. Raises BrokerUnavailable."""
        ...

    def view(self) -> Cluster:
        """The nodes as this one knows them by itself."""
        ...

    async def add_node(self, node: str, address: str, *, votes: bool) -> None:
        """See `verbs.AddNode`. Raises BadRequest, NotLeader, BrokerUnavailable, OutcomeUnknown; so do the next two."""
        ...

    async def remove_node(self, node: str) -> None: ...

    async def transfer(self, target: str = "") -> None: ...
