"""Connections from this node to others, to ask in the name of its clients: `link` is one, this keeps one per peer."""

from __future__ import annotations

import asyncio
from asyncio import Future, Task
from collections.abc import Callable

from tq.broker.backend import Answer
from tq.broker.clustering.link import PeerLink
from tq.broker.clustering.seat import Seat
from tq.errors import BrokerUnavailable, TqError
from tq.verbs import Push, Reply, Request


class Links:
    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._shared: dict[str, PeerLink] = {}
        self._opening: set[Task[None]] = set()
        self._is_closed = False
        self.on_push: Callable[[str, Push], None] = _unheard
        """Told what comes unasked over a shared link, and from which peer."""
        self.on_ended: Callable[[str], None] = _unnoticed
        """Told that the shared link to a peer is over."""

    def request(self, peer: str, request: Request, answer: Answer) -> None:
        """Ask a peer over the link that all share. answer is called once; see `PeerLink.request`."""
        link = self._shared.get(peer)
        if link is None:
            link = self._shared[peer] = self.open(
                peer,
                on_push=lambda push: self.on_push(peer, push),
                on_ended=lambda ended: self._shared_ended(peer, ended),
            )
        link.request(request, answer)

    async def ask(self, peer: str, request: Request, seconds: float) -> Reply:
        """The same for somebody who awaits. Raises the error, BrokerUnavailable when none comes in time."""
        waiter: Future[Reply | TqError] = asyncio.get_running_loop().create_future()

        def answer(reply: Reply | TqError) -> None:
            if not waiter.done():
                waiter.set_result(reply)

        self.request(peer, request, answer)
        try:
            async with asyncio.timeout(seconds):
                reply = await waiter
        except TimeoutError:
            raise BrokerUnavailable(f"{peer} does not answer") from None
        if isinstance(reply, TqError):
            raise reply
        return reply

    def open(
        self, peer: str, *, on_push: Callable[[Push], None], on_ended: Callable[[PeerLink], None]
    ) -> PeerLink:
        """A link of one's own. It takes requests at once; those wait until it is connected."""
        link = PeerLink(self._seat.node_id, peer, on_push=on_push, on_ended=on_ended)
        if self._is_closed:
            link.close()
            return link
        task = asyncio.get_running_loop().create_task(self._connect(link))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return link

    def drop(self, but: str = "") -> None:
        """Close the shared links, but for the one to this peer: what waits for an answer there gets its error now."""
        for peer in [peer for peer in self._shared if peer != but]:
            self._shared.pop(peer).close()

    def close(self) -> None:
        self._is_closed = True
        for task in self._opening:
            task.cancel()
        self.drop()

    async def _connect(self, link: PeerLink) -> None:
        try:
            await self._seat.visit(link.peer, link)
        except TqError as error:
            link.fail(error)
        except asyncio.CancelledError:
            link.fail(BrokerUnavailable("the broker is stopping"))
            raise

    def _shared_ended(self, peer: str, link: PeerLink) -> None:
        if self._shared.get(peer) is link:
            del self._shared[peer]
        self.on_ended(peer)


def _unheard(peer: str, push: Push) -> None:
    """Nobody watches over shared links yet."""


def _unnoticed(peer: str) -> None:
    """The same."""
