"""Who waits for which task to end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, islice
from typing import TypeAlias

from tq.broker.backend import Peer
from tq.task import TaskView

Tell: TypeAlias = Callable[[TaskView], None]


class Waiters:
    """Peers that watch (told by push, for as long as they are connected) and single calls (told once)."""

    def __init__(self) -> None:
        self._peers: dict[bytes, dict[Peer, None]] = {}
        self._watched: dict[Peer, dict[bytes, None]] = {}
        self._calls: dict[bytes, list[Tell]] = {}

    def watch(self, peer: Peer, task_id: bytes) -> None:
        self._peers.setdefault(task_id, {})[peer] = None
        self._watched.setdefault(peer, {})[task_id] = None

    def call(self, task_id: bytes, tell: Tell) -> Callable[[], None]:
        """Have tell called once when the task has ended. The answer takes it back."""
        self._calls.setdefault(task_id, []).append(tell)

        def take_back() -> None:
            calls = self._calls.get(task_id)
            if calls is not None and tell in calls:
                calls.remove(tell)
                if not calls:
                    del self._calls[task_id]

        return take_back

    def is_awaited(self, task_id: bytes) -> bool:
        return task_id in self._peers or task_id in self._calls

    def awaited(self, limit: int) -> list[bytes]:
        """Up to `limit` tasks that somebody waits for."""
        return list(islice(chain(self._peers, self._calls), limit))

    def any(self) -> bool:
        return bool(self._peers or self._calls)

    def take(self, task_id: bytes) -> tuple[list[Peer], list[Tell]]:
        """Everybody who waits for this task; they wait no more."""
        peers = list(self._peers.pop(task_id, ()))
        for peer in peers:
            watched = self._watched[peer]
            del watched[task_id]
            if not watched:
                del self._watched[peer]
        return peers, self._calls.pop(task_id, [])

    def peers(self) -> list[Peer]:
        """Everybody who watches."""
        return list(self._watched)

    def release(self, peer: Peer) -> None:
        """The peer is gone."""
        for task_id in self._watched.pop(peer, ()):
            peers = self._peers[task_id]
            del peers[peer]
            if not peers:
                del self._peers[task_id]
