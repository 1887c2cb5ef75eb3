"""A broker that answers as it is told, or not at all: the protocol's own other half on a plain socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tq.errors import TqError
from tq.protocol.connection import Connection, Role
from tq.protocol.events import HelloReceived, RequestReceived
from tq.verbs import Done, Ping, Reply, Request

Answer = Callable[[Request], Reply | TqError | None]
"""None: the request is never answered."""


@contextmanager
def scripted_broker(answer: Answer, *, refusal: TqError | None = None) -> Iterator[str]:
    """host:port of a broker that answers pings itself and everything else by `answer`. refusal: of the hello."""
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(listener, answer, refusal))
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        # Waking accept takes a connection: closing a socket under it does not.
        socket.create_connection(listener.getsockname()).close()
        thread.join()
        listener.close()


def _serve(listener: socket.socket, answer: Answer, refusal: TqError | None) -> None:
    """One connection after the other; a connection that says nothing ends it."""
    while True:
        peer, _ = listener.accept()
        with peer:
            if not _talk(peer, answer, refusal):
                return


def _talk(peer: socket.socket, answer: Answer, refusal: TqError | None) -> bool:
    connection, has_spoken = Connection(Role.BROKER), False
    while data := peer.recv(65536):
        has_spoken = True
        for event in connection.receive(data):
            if isinstance(event, HelloReceived):
                if refusal is not None:
                    connection.refuse_hello(refusal)
                else:
                    connection.accept_hello("scripted")
            elif isinstance(event, RequestReceived):
                reply = Done() if isinstance(event.request, Ping) else answer(event.request)
                if reply is not None:
                    connection.send_reply(event.request_id, reply)
        peer.sendall(connection.data_to_send())
        if connection.is_closed:
            break
    return has_spoken
