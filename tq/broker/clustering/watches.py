"""Who waits at this node for which tasks to end. The node itself watches, for all of them, and follows the leader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from tq.broker.backend import Answer, Peer
from tq.errors import TqError
from tq.protocol.limits import BATCH_ITEMS_MAX
from tq.task import TaskView
from tq.verbs import Push, Reply, TaskEnded, Watch, Watching


class Watches:
    """The peer that the leader sees, for a local leader as for one behind a link."""

    def __init__(self, *, send: Callable[[Peer, Watch, Answer], None]) -> None:
        """send: gets a Watch of this peer to the leader, again and again if need be."""
        self._send = send
        self._peers: dict[bytes, dict[Peer, None]] = {}
        self._tasks: dict[Peer, dict[bytes, None]] = {}
        self._following = 0
        self._is_behind = False
        self._is_stopped = False

    def watch(self, peer: Peer, request: Watch, answer: Answer) -> None:
        for task_id in request.task_ids:
            self._peers.setdefault(task_id, {})[peer] = None
            self._tasks.setdefault(peer, {})[task_id] = None

        def watching(reply: Reply | TqError) -> None:
            if isinstance(reply, Watching):
                # Its answer tells of these; only the others are still waited for.
                for task_id in (*(view.task_id for view in reply.ended), *reply.unknown):
                    self._drop(peer, task_id)
            else:
                for task_id in request.task_ids:
                    self._drop(peer, task_id)
            answer(reply)

        self._send(self, request, watching)

    def forget(self, peer: Peer) -> None:
        """The peer is gone. The leader goes on telling; nobody listens then."""
        for task_id in self._tasks.pop(peer, ()):
            peers = self._peers[task_id]
            del peers[peer]
            if not peers:
                del self._peers[task_id]

    def follow(self) -> None:
        """Whoever told of the tasks tells no more: watch again, at whoever leads. One round is under way at a time."""
        if self._is_stopped:
            return
        if self._following:
            self._is_behind = True
            return
        self._is_behind = False
        task_ids = iter(list(self._peers))
        batches = []
        while batch := tuple(islice(task_ids, BATCH_ITEMS_MAX)):
            batches.append(Watch(batch))
        self._following = len(batches)
        for request in batches:
            self._send(self, request, self._followed)

    def stop(self) -> None:
        """Nobody is followed any more."""
        self._is_stopped = True

    # ------------------------------------------------------------ as a peer

    def push(self, push: Push) -> None:
        if isinstance(push, TaskEnded):
            self._tell(push.tasks)

    def pushed(self, node: str, push: Push) -> None:
        """The same from a node that leads."""
        self.push(push)

    def dismiss(self, error: TqError) -> None:
        self.follow()

    # ------------------------------------------------------------ inside

    def _followed(self, reply: Reply | TqError) -> None:
        """Without a leader for so long the round ends; the next leader begins another."""
        self._following -= 1
        if isinstance(reply, Watching):
            self._tell(reply.ended)
            if not self._following and self._is_behind:
                self.follow()

    def _tell(self, views: Sequence[TaskView]) -> None:
        for view in views:
            for peer in list(self._peers.get(view.task_id, ())):
                self._drop(peer, view.task_id)
                peer.push(TaskEnded((view,)))

    def _drop(self, peer: Peer, task_id: bytes) -> None:
        tasks = self._tasks.get(peer)
        if tasks is None or task_id not in tasks:
            return
        del tasks[task_id]
        if not tasks:
            del self._tasks[peer]
        peers = self._peers[task_id]
        del peers[peer]
        if not peers:
            del self._peers[task_id]
