"""Any body of any type sent to a broker: an event, never an exception, and what is let through is within bounds."""

from __future__ import annotations

import atheris
from harness import run

with atheris.instrument_imports(include=["tq.protocol"]):
    from tq.protocol.connection import Connection, Role
    from tq.protocol.encoder import Encoder
    from tq.protocol.events import Failed, HelloReceived, RequestReceived
    from tq.protocol.frames import frame
    from tq.protocol.validate import check_request

from tests.protocol.cases import CASES

encoder = Encoder()
HELLO = encoder.hello(HelloReceived(1, "client", "", ""))


def target(data: bytes) -> None:
    broker = Connection(Role.BROKER, encoder)
    broker.receive(HELLO)
    broker.accept_hello("node1")
    events = broker.receive(frame(data[0] if data else 0, data[1:]))
    assert len(events) <= 1
    for event in events:
        assert broker.is_open or not isinstance(event, RequestReceived)
        if isinstance(event, RequestReceived):
            assert check_request(event.request) == event.request
            again = encoder.request(event.request_id, event.request)
            broker = Connection(Role.BROKER, encoder)
            broker.receive(HELLO)
            broker.accept_hello("node1")
            assert broker.receive(again) == [event]
        elif isinstance(event, Failed):
            assert broker.is_closed
    broker.data_to_send()


if __name__ == "__main__":
    run(target, [case.data[4:] for case in CASES if case.is_request])
