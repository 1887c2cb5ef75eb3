"""Leader only: which worker is connected where, when it last beat, and when it is given up.

Heartbeats never enter the log. What does is their absence: a session whose worker fell silent for two beats, or
disconnected and did not come back within the grace, is closed by a command, and its tasks go back.
"""

from __future__ import annotations

from tq.broker.backend import Peer
from tq.clock import Clock
from tq.errors import LeaseLost, NotLeader
from tq.verbs import Heartbeat, Push

MISSED_BEATS = 2
BEAT_SLACK_MS = 1_000
"""A beat may be so late on the way without counting as missed."""


class Presence:
    """One session's worker. gone_ms: monotonic time of its disconnect, None while it is connected."""

    __slots__ = (
        "beat",
        "beat_ms",
        "beat_wall_ms",
        "connected_ms",
        "gone_ms",
        "heartbeat_ms",
        "is_closing",
        "peer",
        "progress",
    )

    def __init__(self, peer: Peer | None, heartbeat_ms: int, now_ms: int, wall_ms: int) -> None:
        self.peer = peer
        self.heartbeat_ms = heartbeat_ms
        self.beat_ms = now_ms
        self.beat_wall_ms = wall_ms
        self.connected_ms = wall_ms
        self.gone_ms = None if peer is not None else now_ms
        self.beat = Heartbeat()
        self.progress: dict[bytes, tuple[int, str]] = {}
        self.is_closing = False


class Roster:
    """Keyed by session id; a peer attends to at most one session."""

    def __init__(self, clock: Clock, *, grace_ms: int) -> None:
        """grace_ms: how long a session outlives its worker's connection."""
        self._clock = clock
        self._grace_ms = grace_ms
        self._present: dict[bytes, Presence] = {}
        self._session_of: dict[Peer, bytes] = {}

    def expect(self, session_id: bytes) -> None:
        """A session from before a restart: its worker has the grace to come back."""
        self._present[session_id] = Presence(None, 0, self._clock.monotonic_ms(), self._clock.now_ms())

    def clear(self) -> list[Peer]:
        """This node leads no more: who is connected is the next leader's to know. Gives those who are."""
        peers = list(self._session_of)
        self._present.clear()
        self._session_of.clear()
        return peers

    def attach(self, session_id: bytes, peer: Peer, heartbeat_ms: int) -> None:
        """The worker of this session is at this peer from now on."""
        self.release(peer)
        before = self._present.get(session_id)
        if before is not None and before.peer is not None:
            self._session_of.pop(before.peer, None)
        now_ms, wall_ms = self._clock.monotonic_ms(), self._clock.now_ms()
        presence = self._present[session_id] = Presence(peer, heartbeat_ms, now_ms, wall_ms)
        if before is not None:
            presence.progress = before.progress
        self._session_of[peer] = session_id

    def release(self, peer: Peer) -> None:
        """The peer is gone: its session's grace begins."""
        session_id = self._session_of.pop(peer, None)
        if session_id is not None:
            presence = self._present[session_id]
            presence.peer = None
            presence.gone_ms = self._clock.monotonic_ms()

    def keep(self, session_id: bytes) -> None:
        """The session could not be closed; if its worker is still lost, `lost` tells it again."""
        presence = self._present.get(session_id)
        if presence is not None:
            presence.is_closing = False

    def forget(self, session_id: bytes) -> None:
        """The session is closed."""
        presence = self._present.pop(session_id, None)
        if presence is not None and presence.peer is not None:
            self._session_of.pop(presence.peer, None)

    def session_of(self, peer: Peer) -> bytes | None:
        return self._session_of.get(peer)

    def presence(self, session_id: bytes) -> Presence | None:
        return self._present.get(session_id)

    def push(self, session_id: bytes, push: Push) -> None:
        """Send to the session's worker; one that is away lists what it holds when it comes back."""
        presence = self._present.get(session_id)
        if presence is not None and presence.peer is not None:
            presence.peer.push(push)

    def beat(self, peer: Peer, beat: Heartbeat) -> bool:
        """Take note of a heartbeat; False when the peer attends to no session."""
        session_id = self._session_of.get(peer)
        if session_id is None:
            return False
        presence = self._present[session_id]
        presence.beat = beat
        presence.beat_ms = self._clock.monotonic_ms()
        presence.beat_wall_ms = self._clock.now_ms()
        for task_id, permille, text in beat.progress:
            presence.progress[task_id] = (permille, text)
        return True

    def is_connected(self, session_id: bytes) -> bool:
        presence = self._present.get(session_id)
        return presence is not None and presence.peer is not None

    def connected_count(self) -> int:
        return len(self._session_of)

    def lost(self) -> list[bytes]:
        """Sessions whose workers are silent or gone for too long, each told once: they are to be closed."""
        now_ms = self._clock.monotonic_ms()
        found = []
        for session_id, presence in self._present.items():
            if not presence.is_closing and self._is_lost(presence, now_ms):
                presence.is_closing = True
                found.append(session_id)
        return found

    def _is_lost(self, presence: Presence, now_ms: int) -> bool:
        if presence.gone_ms is not None:
            return now_ms - presence.gone_ms >= self._grace_ms
        return now_ms - presence.beat_ms >= MISSED_BEATS * presence.heartbeat_ms + BEAT_SLACK_MS


def not_registered() -> LeaseLost:
    """What a peer without a session is told."""
    return LeaseLost(
        "this connection has not registered as a worker, or its session was closed; register again"
    )


def leads_no_more() -> NotLeader:
    """What peers are told whose session this node kept while it led, or was about to."""
    return NotLeader("this node leads no more; go to the one that does", retry_after_ms=100)
