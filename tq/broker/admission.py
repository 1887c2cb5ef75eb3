"""Does it fit: how deep the queues may get, and how much one connection and all of them may hold.

Payload, frame and batch sizes are the protocol's limits, checked where the bytes are read. Here is what takes a
view of the whole broker: waiting tasks, connections, and work of one peer that is not answered yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from tq.errors import BadRequest, QueueFull, TooManyConnections
from tq.protocol.limits import HELLO_WAIT_MS, REQUESTS_MAX

MIB = 1024 * 1024

QUEUE_FULL_RETRY_MS = 1_000
"""Long enough for workers to make room, short enough that a freed queue is not left idle."""
TOO_MANY_RETRY_MS = 5_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one broker. Times in milliseconds; every one has its reason beside it."""

    queue_depth_max: int = 100_000
    """Waiting tasks in all queues together; each costs memory for its head for as long as it waits."""
    connections_max: int = 1_000
    idlers_max: int = 0
    """Beyond that, at a door that can neither see who only waits nor send them away (gRPC): 15 KB of memory each."""
    refusals_max: int = 128
    """Connections over the limit that are being told so at one time; more are dropped without a word."""
    bytes_in_flight_max: int = 64 * MIB
    """Received and not yet answered, per connection: four of the largest frames. Then its socket is not read."""
    bytes_in_flight_total_max: int = 512 * MIB
    """The same for all connections together: what a crowd may make the broker hold."""
    requests_in_flight_max: int = REQUESTS_MAX
    """The same in requests: small frames grow about fifty times when they become objects."""
    out_high_bytes: int = 1 * MIB
    """Unread answers at which a connection's requests are no longer read."""
    out_low_bytes: int = 256 * 1024
    """Unread answers at which they are read again."""
    out_max_bytes: int = 64 * MIB
    """Unread answers and pushes at which the connection is cut: pushes go on while requests are not read."""
    handshake_ms: int = HELLO_WAIT_MS
    """From the first byte of the connection to a complete hello."""
    preface_ms: int = 3_000
    """From the first byte of a connection at a gRPC port without TLS to HTTP/2's preface and settings, if that is less than
    handshake_ms: clients send them unasked, with their first packet. Long enough for that to be lost and sent again."""
    idle_ms: int = 300_000
    """Without a complete frame, a ping at least, while no answer is owed. Slow frames get longer, see below."""
    receive_bytes_per_s_min: int = 4 * 1024
    """A frame may take longer than idle_ms as long as its bytes come at this pace."""
    unread_ms: int = 30_000
    """A peer above out_high_bytes that took less than `unread_bytes_min` in this time is closed."""
    unread_bytes_min: int = 64 * 1024
    linger_ms: int = 2_000
    """After our last word we wait so long for the peer to read it and hang up, then cut."""


class Admission:
    """The decisions; pure, so that every door gives the same ones."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def refuse_submit(self, tasks: int, depth: int) -> QueueFull | BadRequest | None:
        """None when `tasks` more fit on top of `depth` waiting ones; a batch fits whole or not at all."""
        most = self.limits.queue_depth_max
        if depth + tasks <= most:
            return None
        if tasks > most:
            # Trying again would never help, so this must not say `unavailable`.
            return BadRequest(f"a batch of {tasks} tasks never fits a broker that holds {most}; split it")
        return QueueFull(
            f"{depth} tasks wait and {tasks} more would pass the limit of {most}; "
            "add workers, submit later, or raise broker.queue_depth_threshold (--queue-depth-threshold)",
            retry_after_ms=QUEUE_FULL_RETRY_MS,
        )

    def refuse_connection(self, connections: int) -> TooManyConnections | None:
        """None when one more fits beside `connections` open ones."""
        if connections < self.limits.connections_max:
            return None
        return TooManyConnections(
            f"{connections} connections are open, the limit; close some, share one between threads, "
            "or raise broker.max_connections (--max-connections)",
            retry_after_ms=TOO_MANY_RETRY_MS,
        )
