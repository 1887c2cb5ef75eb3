"""How two nodes find out that they are what they say, before either believes a frame.

    dialler  -> Hello(nonce)                      who I am, whom I mean
    listener -> Hello(nonce), proof               and that I know the secret
    dialler  -> proof                             so do I

A proof is HMAC-SHA256, keyed with the secret, over the side's name and both hellos: so it is of this connection, this
direction, and these names. Without a secret the proofs are empty, and TLS with certificates of our own authority on
both sides is what vouches for the peer. Frames that follow are bound to the connection; on a network where others can
change packets, use TLS.
"""

from __future__ import annotations

import hmac
from enum import IntEnum
from typing import NamedTuple

import msgpack

from tq.errors import AuthenticationFailed, ProtocolError

MAGIC = "tq-raft"
VERSION = 1
NONCE_BYTES = 32
HELLO_BYTES_MAX = 4_096
TEXT_CHARS_MAX = 300
_TEXTS = ("node_id", "node_uuid", "target", "client_address")


class Purpose(IntEnum):
    """What a connection is for."""

    RAFT = 0
    """The peer's one stream of messages."""
    VISIT = 1
    """Requests of a node's clients: what follows the handshake is the task protocol (docs/protocol.md)."""


class Hello(NamedTuple):
    """target: the node id that the sender means to talk to. generation: of its disk (see `storage.data_dir`).

    client_address: where its clients go, host:port. purpose: the dialler's; the listener says the same.
    """

    node_id: str
    node_uuid: str
    generation: int
    target: str
    client_address: str
    nonce: bytes
    purpose: Purpose = Purpose.RAFT


def pack_hello(hello: Hello) -> bytes:
    packed: bytes = msgpack.packb((MAGIC, VERSION, *hello))
    return packed


def unpack_hello(frame: bytes) -> Hello:
    """Raises ProtocolError."""
    try:
        magic, version, *fields = msgpack.unpackb(frame, max_str_len=TEXT_CHARS_MAX, max_bin_len=NONCE_BYTES)
        hello = Hello(*fields[:-1])._replace(purpose=Purpose(fields[-1]))
    except Exception as error:  # noqa: BLE001  what hostile bytes make of this is not one class
        raise ProtocolError("the other side of the Raft port does not speak it") from error
    if magic != MAGIC or version != VERSION:
        raise ProtocolError(
            f"a peer speaks {magic!r} version {version!r}, this node {MAGIC!r} version {VERSION}"
        )
    texts_fit = all(isinstance(getattr(hello, name), str) for name in _TEXTS)
    is_nonce = isinstance(hello.nonce, bytes) and len(hello.nonce) == NONCE_BYTES
    if not texts_fit or not is_nonce or type(hello.generation) is not int or not hello.node_id:
        raise ProtocolError("a peer's hello is not well-formed")
    return hello


def prove(secret: str, side: str, dialler: bytes, listener: bytes) -> bytes:
    """side: `dialler` or `listener`. dialler, listener: the hellos as they were sent. Empty without a secret."""
    if not secret:
        return b""
    return hmac.digest(secret.encode(), side.encode() + b"\0" + dialler + b"\0" + listener, "sha256")


def check_proof(secret: str, side: str, dialler: bytes, listener: bytes, proof: bytes) -> None:
    """Raises AuthenticationFailed."""
    if not hmac.compare_digest(prove(secret, side, dialler, listener), proof):
        raise AuthenticationFailed("the peer does not know this cluster's secret")
