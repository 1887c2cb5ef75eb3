"""The port at the height of verbs: what the service talks to, whatever keeps the tasks underneath."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from tq.errors import TqError
from tq.task import TaskSpec
from tq.verbs import Push, Reply, Request

Answer: TypeAlias = Callable[[Reply | TqError], None]
"""Called exactly once per request, on the event loop, never from inside `handle`'s caller's stack twice."""


class Peer(Protocol):
    """One connected client or worker, as a backend sees it. Compared by identity."""

    def push(self, push: Push) -> None:
        """Send without being asked. Never blocks and never raises; a peer that is gone swallows it."""
        ...

    def dismiss(self, error: TqError) -> None:
        """What it was told to expect from this node, deliveries or the end of tasks, will not come from here any more:
        let it go, with the reason, so that it comes back where they do. Never raises."""
        ...


class Capabilities(NamedTuple):
    """What a backend can do; a verb outside of it is answered Unsupported.

    priorities: each of the 256 counts; otherwise a task is kept, and shown, with that of its tier. jitter: retries are spread
    as their policy says; otherwise they are not, and the policy is shown without.
    ends_by_id: a SettleItem with token 0 ends a task whoever holds it, and the caller need not be a worker.
    """

    dependencies: bool = True
    unique_keys: bool = True
    pause: bool = True
    backup: bool = True
    claims: bool = True
    expiry: bool = True
    ends_by_id: bool = False
    priorities: bool = True
    jitter: bool = True


class Backend(Protocol):
    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def depth(self) -> int:
        """Waiting tasks (pending, scheduled, blocked, retrying), those of submits under way counted in."""
        ...

    def new_among(self, tasks: Sequence[TaskSpec]) -> int:
        """How many of these a submit would add: not those whose id, or unique key, a task has already.

        May read the disk; asked only where a submit would otherwise be refused.
        """
        ...

    async def start(self) -> None: ...

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        """Begin one request; the answer comes later or at once. Raises nothing: errors are answers."""
        ...

    def disconnected(self, peer: Peer) -> None:
        """The peer is gone: its waits end, its session's grace begins."""
        ...

    async def stop(self) -> None:
        """Answer what is under way, sync, close. Calling it twice is allowed."""
        ...
