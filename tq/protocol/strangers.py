"""Who dialled the wrong port, told from the first four bytes, and one readable line for them."""

from __future__ import annotations

from typing import NamedTuple

_THIS_PORT = "this is the task queue's own TCP protocol (tq), see docs/protocol.md"
_HTTP_STARTS = (b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI ")
_RESP_STARTS = (
    b"PING",
    b"AUTH",
    b"HELL",
    b"INFO",
    b"ECHO",
    b"QUIT",
    b"SELE",
    b"COMM",
    b"KEYS",
    b"SET ",
    b"INLI",
)


class Stranger(NamedTuple):
    """text: for the log. answer: bytes the stranger can read, empty when there is nothing it would understand."""

    text: str
    answer: bytes


def recognise(first: bytes) -> Stranger | None:
    """The speaker of a foreign protocol, by its first four bytes; None = nobody known.

    None of them can be the length of a frame: as a number each is far above every limit.
    """
    if first in _HTTP_STARTS:
        return Stranger(
            f"an HTTP client dialled this port; {_THIS_PORT}; HTTP has its own port", _http_answer()
        )
    if first in _RESP_STARTS or (first[:1] == b"*" and first[1:2].isdigit()):
        return Stranger(
            f"a Redis client dialled this port; {_THIS_PORT}", f"-ERR {_THIS_PORT}, not Redis\r\n".encode()
        )
    if first[:2] == b"\x16\x03":
        # Any bytes that are no TLS make the client say so; these can be read in a packet dump, too.
        return Stranger("a TLS client dialled this port, where TLS is off", b"tq: TLS is off at this port\n")
    return None


def recognise_server(first: bytes) -> str:
    """What a client reached instead of a broker, in words; empty = nobody known."""
    if first == b"HTTP":
        return "an HTTP server answers at this address; is it the broker's REST port?"
    if first in (b"-ERR", b"-NOA", b"+PON"):
        return "a Redis server answers at this address"
    if first[:2] == b"\x15\x03":
        return "a TLS server answers at this address; switch TLS on"
    return ""


def _http_answer() -> bytes:
    body = f"{_THIS_PORT}; HTTP has its own port\n".encode()
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
