"""Bodies of requests: bounded while they are read, one by one and all together, and only then looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from tq.broker.api.rest.errors import HttpFault, invalid, unsupported_media
from tq.errors import BadRequest, BrokerUnavailable, PayloadTooLarge
from tq.protocol.limits import FRAME_BYTES_MAX

SUBMIT_BODY_BYTES_MAX = FRAME_BYTES_MAX
"""16 MiB, as one frame of the TCP protocol: one task with the largest payload, which base64 makes a third larger."""
BODY_BYTES_MAX = 64 * 1024
"""Of every other call: a few names and numbers."""
BODIES_BYTES_MAX = 128 * 1024 * 1024
"""Of all bodies being read or worked on at one time: what a crowd may make the broker hold. Beyond it: try again."""
JSON_TYPE = "application/json"

M = TypeVar("M", bound=BaseModel)


class Bodies:
    """All bodies that are held now."""

    def __init__(self, *, total_bytes_max: int = BODIES_BYTES_MAX) -> None:
        self._total_bytes_max = total_bytes_max
        self.held_bytes = 0

    @asynccontextmanager
    async def read(self, request: Request, bytes_max: int) -> AsyncIterator[bytes]:
        """The body of a request; it counts as held until the block ends.

        Raises PayloadTooLarge before reading when the length is announced, else as soon as it is passed;
        BrokerUnavailable when all bodies together take too much; ClientDisconnect.
        """
        announced = _length_of(request)
        if announced > bytes_max:
            raise _too_large(bytes_max)
        chunks: list[bytes] = []
        held = 0
        try:
            async for chunk in request.stream():
                held += len(chunk)
                self.held_bytes += len(chunk)
                if held > bytes_max:
                    raise _too_large(bytes_max)
                if self.held_bytes > self._total_bytes_max:
                    raise BrokerUnavailable(
                        "the broker holds as many unfinished requests as it may; try again"
                    )
                chunks.append(chunk)
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            del chunks
            yield body
        finally:
            self.held_bytes -= held

    async def model(self, request: Request, model: type[M]) -> M:
        """A small JSON body as a model; no body at all is an empty object, when the model allows that.

        Raises BadRequest naming each wrong field, HttpFault for another media type, and as `read`.
        """
        async with self.read(request, BODY_BYTES_MAX) as body:
            if not body:
                return parsed(model, b"{}")
            check_media_type(request)
            return parsed(model, body)


def check_media_type(request: Request) -> None:
    """Only JSON, and not compressed: no form a browser could post from elsewhere, and no body that grows when opened."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON_TYPE:
        raise unsupported_media(f"the body must be {JSON_TYPE}; send the header Content-Type: {JSON_TYPE}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise unsupported_media("the body must not be compressed; leave out Content-Encoding")


def parsed(model: type[M], body: bytes) -> M:
    """The body as a model. Raises BadRequest that names each wrong field."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(faults) from None


def _length_of(request: Request) -> int:
    """The announced length, 0 when none is. A body with two ways to end is the classic of request smuggling."""
    lengths = request.headers.getlist("content-length")
    if not lengths:
        return 0
    if request.headers.get("transfer-encoding"):
        raise HttpFault(
            400,
            "BAD_REQUEST",
            "a body has a Content-Length or a Transfer-Encoding, never both",
            headers={"Connection": "close"},
        )
    try:
        return int(lengths[0])
    except ValueError:
        raise BadRequest("Content-Length: is not a number") from None


def _too_large(bytes_max: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {bytes_max} bytes, the most this call takes")
