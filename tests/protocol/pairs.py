"""Two ends of one connection, joined by hand."""

from __future__ import annotations

from typing import NamedTuple

from tq.protocol.connection import Connection, Role
from tq.protocol.events import Event


class Pair(NamedTuple):
    broker: Connection
    peer: Connection

    def to_broker(self) -> list[Event]:
        """Carry what the peer has to send."""
        return self.broker.receive(self.peer.data_to_send())

    def to_peer(self) -> list[Event]:
        """Carry what the broker has to send."""
        return self.peer.receive(self.broker.data_to_send())


def new_pair() -> Pair:
    """Neither has said anything."""
    return Pair(Connection(Role.BROKER), Connection(Role.PEER))


def open_pair() -> Pair:
    """The hello is through."""
    pair = new_pair()
    pair.peer.start_hello("worker", "key", "w1")
    pair.to_broker()
    pair.broker.accept_hello("node1")
    pair.to_peer()
    return pair


def body(message: bytes) -> bytes:
    """The body of one frame."""
    return message[5:]
