"""Ids as gRPC has them: UUID text in messages, 16 bytes inside."""

from __future__ import annotations

from tq import ids
from tq.errors import BadRequest


def read_id(text: str, field: str) -> bytes:
    """The id in this field. Raises BadRequest that names the field."""
    try:
        return ids.from_text(text)
    except BadRequest as error:
        raise BadRequest(f"{field}: {error.text}") from None
