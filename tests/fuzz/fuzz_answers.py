"""Any body of any type sent to a client or worker that waits for one of every reply: an event, never an exception."""

from __future__ import annotations

import atheris
from harness import run

with atheris.instrument_imports(include=["tq.protocol"]):
    from tq.protocol.connection import Connection, Role
    from tq.protocol.encoder import Encoder
    from tq.protocol.events import CloseReceived, Failed, Welcomed
    from tq.protocol.frames import frame

from tests.protocol.cases import CASES

encoder = Encoder()
WELCOME = encoder.welcome(Welcomed(1, "node1"))
ASKED = [case.asked for case in CASES if case.asked is not None]


def target(data: bytes) -> None:
    peer = Connection(Role.PEER, encoder)
    peer.start_hello("client")
    peer.receive(WELCOME)
    for request in ASKED:
        peer.send_request(request)
    events = peer.receive(frame(data[0] if data else 0, data[1:]))
    assert len(events) <= 1
    assert peer.is_closed == any(isinstance(event, Failed | CloseReceived) for event in events)
    peer.data_to_send()


if __name__ == "__main__":
    # Each reply as a seed, under the number of the request it answers.
    answers = [case for case in CASES if case.asked is not None]
    seeds = [case.data[4:6] + bytes([number]) + case.data[7:] for number, case in enumerate(answers, 1)]
    run(target, seeds + [case.data[4:] for case in CASES if case.asked is None])
