"""What has arrived and waits for the core's next step, and what is told when there will be none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tq.broker.replication.ports import Answered
from tq.errors import BrokerUnavailable

STEP_MESSAGES_MAX = 1_000
"""Delivered in one step; the rest wait for the next, behind a sync."""
INBOX_MAX = 100_000
"""Waiting for a step. Peers have one message with entries under way and a heartbeat each period, so more is a flood."""


class Inbox:
    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[], None], Answered | None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, event: Callable[[], None], done: Answered | None = None) -> None:
        """event: what to do in a step. done: who waits for an answer to it."""
        if len(self._waiting) >= INBOX_MAX:
            raise AssertionError(f"{INBOX_MAX} messages wait for a step: a peer floods this node")
        self._waiting.append((event, done))

    def deliver(self) -> None:
        for _ in range(min(len(self._waiting), STEP_MESSAGES_MAX)):
            self._waiting.popleft()[0]()

    def close(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for _, done in waiting:
            if done is not None:
                done(BrokerUnavailable("the broker is stopping"))
