"""Workers that are connected to a node that does not lead: each has a link to the leader of its own.

So the leader sees one peer per worker, and the link's end is the worker's disconnect. A worker whose leader changed is
let go: it comes back, to this node or another, and registers again with what it holds, within its grace.
"""

from __future__ import annotations

from tq.broker.backend import Answer, Backend, Peer
from tq.broker.clustering.link import PeerLink
from tq.broker.clustering.links import Links
from tq.broker.clustering.seat import Seat
from tq.errors import NotLeader
from tq.verbs import Claim, Deregister, Extend, Heartbeat, Register, Request, SetCapacity, Settle

OF_SESSIONS: frozenset[type[Request]] = frozenset(
    {Register, Heartbeat, SetCapacity, Claim, Settle, Extend, Deregister}
)
"""What goes by the session of the peer that asks."""


class Sessions:
    def __init__(self, own: Backend, seat: Seat, links: Links) -> None:
        self._own = own
        self._seat = seat
        self._links = links
        self._links_of: dict[Peer, PeerLink] = {}

    def send(self, peer: Peer, request: Request, answer: Answer) -> None:
        """To where the peer's session is. A registration opens it at whoever leads."""
        if isinstance(request, Register) and peer not in self._links_of:
            self._settle_down(peer)
        link = self._links_of.get(peer)
        if link is not None:
            link.request(request, answer)
        elif self._seat.leads or not isinstance(request, Register):
            # Registered here while this node led; or nowhere, and the node's own backend says so.
            self._own.handle(peer, request, answer)
        else:
            answer(self._seat.not_leader())

    def disconnected(self, peer: Peer) -> None:
        link = self._links_of.pop(peer, None)
        if link is not None:
            link.close()

    def drop(self, but: str) -> None:
        """Let go of those whose session is not at this node."""
        for link in [link for link in self._links_of.values() if link.peer != but]:
            link.close()

    def close(self) -> None:
        self.drop(but="")

    def _settle_down(self, peer: Peer) -> None:
        leader = self._seat.leader
        if self._seat.leads or not leader or leader == self._seat.node_id:
            return
        self._links_of[peer] = self._links.open(
            leader, on_push=peer.push, on_ended=lambda link: self._ended(peer, link)
        )

    def _ended(self, peer: Peer, link: PeerLink) -> None:
        if self._links_of.get(peer) is link:
            del self._links_of[peer]
            peer.dismiss(
                NotLeader("the node that led is gone or leads no more; register again", retry_after_ms=100)
            )
