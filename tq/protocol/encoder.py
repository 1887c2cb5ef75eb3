"""Value classes to frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from tq import verbs
from tq.errors import BadRequest, TqError
from tq.protocol.answers import DELIVERY, VIEW
from tq.protocol.events import HelloReceived, Welcomed
from tq.protocol.frame_types import TYPE_OF, FrameType
from tq.protocol.frames import frame
from tq.protocol.records import Record
from tq.protocol.requests import SETTLE_ITEM, TASK
from tq.task import TaskView
from tq.verbs import Push, Reply, Request

_ROWS_OF: dict[type[Any], Record] = {
    verbs.Submit: TASK,
    verbs.Settle: SETTLE_ITEM,
    verbs.Deliver: DELIVERY,
    verbs.Claimed: DELIVERY,
    verbs.TaskEnded: VIEW,
    verbs.TaskPage: VIEW,
    verbs.Watching: VIEW,
}
"""Classes whose first field is a list of rows with many defaults."""


class Encoder:
    """Value classes to frames. Not for use from two threads at once; connections of one thread may share one."""

    def __init__(self) -> None:
        self._packer = _new_packer()

    def request(self, request_id: int, request: Request) -> bytes:
        """Raises BadRequest when a field cannot be encoded at all."""
        return self._frame(TYPE_OF[type(request)], (request_id, *_trimmed(request)))

    def reply(self, request_id: int, reply: Reply) -> bytes:
        return self._frame(FrameType.ACK, (request_id, *_trimmed(reply)))

    def error_reply(self, request_id: int, error: TqError) -> bytes:
        return self._frame(FrameType.NACK, (request_id, *_error_fields(error)))

    def push(self, push: Push) -> bytes:
        return self._frame(TYPE_OF[type(push)], _trimmed(push))

    def hello(self, hello: HelloReceived) -> bytes:
        return self._frame(FrameType.HELLO, hello)

    def welcome(self, welcome: Welcomed) -> bytes:
        return self._frame(FrameType.WELCOME, welcome)

    def close(self, error: TqError | None) -> bytes:
        return self._frame(FrameType.CLOSE, _error_fields(error) if error else ("",))

    def _frame(self, kind: FrameType, values: tuple[object, ...]) -> bytes:
        try:
            body: bytes = self._packer.pack(values)
        except (TypeError, ValueError, OverflowError) as error:
            self._packer = _new_packer()
            raise BadRequest(f"a field cannot be encoded: {error}") from error
        if len(body) > _PACKER_BYTES_KEPT_MAX:
            self._packer = _new_packer()
        return frame(kind, body)


_PACKER_BYTES_KEPT_MAX = 256 * 1024
"""A packer keeps the room its longest body needed; after one longer than this it is replaced."""


def _new_packer() -> msgpack.Packer:
    return msgpack.Packer(buf_size=16 * 1024)


def _error_fields(error: TqError) -> tuple[object, ...]:
    return (error.code, str(error.outcome), error.text, error.retry_after_ms, error.leader)


def _trimmed(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """The fields to send: trailing defaults that the receiver fills in again are left out of rows.

    All rows of a batch get the same width, which keeps the receiver on its quick path.
    """
    if type(value) is TaskView:
        return value[: _width([value], VIEW)]
    record = _ROWS_OF.get(type(value))
    if record is None:
        return value
    width = _width(value[0], record)
    return ([row[:width] for row in value[0]], *value[1:])


def _width(rows: Sequence[tuple[Any, ...]], record: Record) -> int:
    """How many fields the row that needs most of them needs."""
    width, tails = record.width_min, record.tails
    for row in rows:
        while row[width:] != tails[width]:
            width += 1
    return width
