"""Task and session ids: 16 bytes inside, UUID text outside."""

from __future__ import annotations

import os
import time
import uuid

from tq.errors import BadRequest

ID_BYTES = 16


def new_id() -> bytes:
    """A fresh UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, version, 74 random bits.

    Ids made one after the other sort roughly by time, which keeps the store's writes close together.
    """
    random = bytearray(os.urandom(ID_BYTES))
    random[0:6] = (time.time_ns() // 1_000_000).to_bytes(6, "big")
    random[6] = 0x70 | (random[6] & 0x0F)
    random[8] = 0x80 | (random[8] & 0x3F)
    return bytes(random)


def to_text(task_id: bytes) -> str:
    """The canonical 36-character UUID text."""
    text = task_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def from_text(text: str) -> bytes:
    """Any UUID text, with or without hyphens, in either case. Raises BadRequest on anything else."""
    try:
        return uuid.UUID(text).bytes
    except (ValueError, AttributeError, TypeError) as error:
        raise BadRequest(f"{text!r} is not a task id; a task id is a UUID") from error
