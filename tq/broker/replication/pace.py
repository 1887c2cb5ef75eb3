"""How fast a peer that is behind is brought up: slowly enough that those who serve meanwhile hardly notice.

A follower that works flat out takes processor, disk and network from the leader and its clients: on a machine of two
cores, 256 entries a message and one message after the other made the slowest of a hundred submits three times as slow.
So a peer that lacks more than a message holds gets few entries a message, and rests after each for as long as that took,
while the others commit without it, which is: have committed within a heartbeat. When they have not, nobody is disturbed,
or everybody waits for this peer: then it gets what it can take.
"""

from __future__ import annotations

from tq.broker.replication.messages import APPEND_ENTRIES_MAX

NEVER = -1e18
PACED_ENTRIES = 16
"""A paced message brings at least so many."""
ENTRIES_PER_SECOND = 1_000
"""What catching up aims at: the 20,000 entries that a log keeps take twenty seconds, or forty beside 500 new ones a
second."""
REST_SECONDS_MAX = 0.02


class Pace:
    """Of one peer. Times by the leader's clock."""

    __slots__ = ("_asked_at", "_growth", "_keeps_up", "_last_index", "rests_until")

    def __init__(self) -> None:
        self.end()

    def end(self) -> None:
        """It is behind no longer, or is to hurry."""
        self._asked_at = self.rests_until = NEVER
        self._last_index = self._growth = 0
        self._keeps_up = True

    def entries_max(self, last_index: int, now: float) -> int:
        """How many entries the next message brings to it: twice what was written since the one before, or more.

        last_index: where the leader's log ends.
        """
        entries = PACED_ENTRIES
        if self._asked_at != NEVER:
            passed, written = now - self._asked_at, last_index - self._last_index
            entries = max(entries, int(passed * ENTRIES_PER_SECOND), 2 * written)
            self._growth = written
        self._asked_at, self._last_index = now, last_index
        return min(entries, APPEND_ENTRIES_MAX)

    def sent(self, entries: int) -> None:
        """So many went with the message, whose bytes are bounded, too: who gains no ground with it does not rest."""
        self._keeps_up = entries >= 2 * self._growth

    def answered(self, now: float) -> None:
        if self._asked_at != NEVER and self._keeps_up:
            self.rests_until = now + min(now - self._asked_at, REST_SECONDS_MAX)

    def is_resting(self, now: float) -> bool:
        if now >= self.rests_until:
            self.rests_until = NEVER
        return self.rests_until != NEVER
