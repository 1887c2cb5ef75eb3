"""Any bytes as the first words of a connection, at either end: an event, never an exception."""

from __future__ import annotations

import atheris
from harness import run

with atheris.instrument_imports(include=["tq.protocol"]):
    from tq.protocol.connection import Connection, Role
    from tq.protocol.encoder import Encoder
    from tq.protocol.events import CloseReceived, Failed

from tests.protocol.cases import CASES

encoder = Encoder()
STRANGERS = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"\x16\x03\x01",
    b"HTTP/1.1 400",
    b"-ERR x\r\n",
)


def target(data: bytes) -> None:
    broker, peer = Connection(Role.BROKER, encoder), Connection(Role.PEER, encoder)
    peer.start_hello("client")
    for connection in (broker, peer):
        events = connection.receive(data)
        assert connection.is_closed == any(isinstance(event, Failed | CloseReceived) for event in events)
        connection.receive_eof()
        connection.data_to_send()
        assert connection.is_closed


if __name__ == "__main__":
    run(target, [*STRANGERS, *(case.data for case in CASES)])
