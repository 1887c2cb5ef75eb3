"""Ports that stay with whoever reserved them: servers are named before they start, and come back after they were killed.

A port that is only looked up and let go is taken, once in some thousand times, by whoever else asks the system for one
before the server listens: two halves of a test run do so all the time.
"""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


class ReservedPort:
    """One port of one address, until `close`. Leaving the `with` block closes it.

    Whoever is told its number may listen there, as often as wanted, if it allows addresses to be used again (every
    server here does). While nobody listens, connections are refused; and the system gives the number to nobody.
    """

    def __init__(self, host: str = LOOPBACK) -> None:
        # Bound, and never listening: with the option on both sides that keeps out all but those who ask for it by number.
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give it back. Calling it again does nothing."""
        self._socket.close()

    def __enter__(self) -> ReservedPort:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
