"""What wants to leave the node, held back until the sync that covers it has returned.

The order is: messages to peers in the order of their names, each peer's in the order they were made, then commits.
Sorted, because the library walks over sets of nodes, whose order differs from process to process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tq.broker.replication.messages import Message
from tq.broker.replication.ports import Links


class Outbox:
    def __init__(self, links: Links) -> None:
        self._links = links
        self._held: dict[str, list[Message]] = {}
        self._committed: deque[tuple[int, Callable[[], None]]] = deque()

    def send(self, peer: str, message: Message) -> None:
        """Now: only for what promises nothing, such as a leader's entries."""
        self._links.send(peer, message)

    def hold(self, peer: str, message: Message) -> None:
        self._held.setdefault(peer, []).append(message)

    def commit(self, index: int, tell: Callable[[], None]) -> None:
        """Entry `index` is committed; tell the owner once it is durable here too."""
        self._committed.append((index, tell))

    def drop_commits(self) -> None:
        """The state was replaced by one that holds them all."""
        self._committed.clear()

    def release(self, durable_index: int, *, may_commit: bool) -> None:
        """Everything changed before is on the disk. may_commit: the state may move."""
        held, self._held = self._held, {}
        for peer in sorted(held):
            for message in held[peer]:
                self._links.send(peer, message)
        committed = self._committed
        while may_commit and committed and committed[0][0] <= durable_index:
            committed.popleft()[1]()
