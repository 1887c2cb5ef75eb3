"""What a connection tells its owner: one small class per thing that can happen."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from tq.errors import TqError
from tq.verbs import Push, Reply, Request


class HelloReceived(NamedTuple):
    """Broker: a peer introduced itself. Answer with `accept_hello` or `refuse_hello`; nothing else may pass before.

    version: the highest protocol version the peer speaks. role: one of `limits.HELLO_ROLES`. token: its API key,
    empty = none. name: what it calls itself, for people. software: its name and version, for people.
    """

    version: int
    role: str
    token: str
    name: str
    software: str = ""

    def __repr__(self) -> str:
        # The token is a key: it must not reach a log through somebody's repr().
        return f"HelloReceived(version={self.version}, role={self.role!r}, name={self.name!r})"


class Welcomed(NamedTuple):
    """Peer: the broker accepted the hello; requests may be sent now.

    version: the protocol version both speak from here on. frame_bytes_max, payload_bytes_max, batch_items_max,
    requests_max: this broker's limits. heartbeat_ms: how often it would like a worker to beat.
    """

    version: int
    node_id: str
    cluster_id: str = ""
    frame_bytes_max: int = 0
    payload_bytes_max: int = 0
    batch_items_max: int = 0
    requests_max: int = 0
    heartbeat_ms: int = 0


class RequestReceived(NamedTuple):
    """Broker: a valid request. Owes exactly one `send_reply(request_id, ...)`."""

    request_id: int
    request: Request


class RequestRefused(NamedTuple):
    """Broker: a request that was understood to be one but is not valid. The NACK is queued already; for the log."""

    request_id: int
    error: TqError


class ReplyReceived(NamedTuple):
    """The answer to `send_request`: the reply class that belongs to the request, or an error."""

    request_id: int
    reply: Reply | TqError


class PushReceived(NamedTuple):
    """Peer: the broker says something unasked."""

    push: Push


class CloseReceived(NamedTuple):
    """The other side ended the connection in order. error: None = it was simply done. Nothing follows."""

    error: TqError | None


class Failed(NamedTuple):
    """The connection cannot go on. What explains it to the other side is queued: send it, then hang up. Nothing follows."""

    error: TqError


Event: TypeAlias = (
    HelloReceived
    | Welcomed
    | RequestReceived
    | RequestRefused
    | ReplyReceived
    | PushReceived
    | CloseReceived
    | Failed
)
