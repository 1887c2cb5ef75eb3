"""Bodies to value classes; `encoder.py` is the other way.

Bodies are msgpack arrays. Requests and replies begin with the request id, pushes and the hello do not. A body is read
with strict limits (no ext types, no timestamps, valid UTF-8, string keys, bounded lists), so that what is built from
it stays within a small multiple of its own size.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn, cast

import msgpack

from tq.errors import (
    BY_CODE,
    BadRequest,
    BrokerUnavailable,
    Outcome,
    OutcomeUnknown,
    TqError,
)
from tq.protocol import limits
from tq.protocol.answers import REPLIES
from tq.protocol.events import HelloReceived, Welcomed
from tq.protocol.fields import Fault, Line, Text, Whole, shown
from tq.protocol.records import Record
from tq.verbs import Reply


class _ErrorFields(NamedTuple):
    code: str
    outcome: str = ""
    text: str = ""
    retry_after_ms: int = 0
    leader: str = ""


_LABEL = Line(limits.TEXT_CHARS_MAX)
_ERROR = Record(
    _ErrorFields,
    code=_LABEL,
    outcome=_LABEL,
    text=Text(limits.PEER_TEXT_CHARS_MAX),
    retry_after_ms=Whole(),
    leader=_LABEL,
)
_HELLO = Record(
    HelloReceived,
    version=Whole(1),
    role=_LABEL,
    token=Line(limits.TOKEN_CHARS_MAX),
    name=_LABEL,
    software=_LABEL,
)
_WELCOME = Record(
    Welcomed,
    version=Whole(1),
    node_id=_LABEL,
    cluster_id=_LABEL,
    frame_bytes_max=Whole(),
    payload_bytes_max=Whole(),
    batch_items_max=Whole(),
    requests_max=Whole(),
    heartbeat_ms=Whole(),
)
_REQUEST_ID = Whole(1, limits.REQUEST_ID_MAX)


def unpack(body: bytes | bytearray, list_items_max: int) -> tuple[object, ...]:
    """The array a body holds; raises Fault for anything else.

    A list is allocated when its length is read, before its items, and lists can be nested a thousand deep. So the
    longest list is bounded by what the body could hold, too: no row of a long list takes less than 16 bytes.
    """
    try:
        values = msgpack.unpackb(
            body,
            use_list=False,
            strict_map_key=True,
            ext_hook=_refuse_ext,
            max_array_len=min(list_items_max, max(limits.NAMES_MAX, len(body) // 16)),
            max_map_len=limits.METADATA_ITEMS_MAX,
            max_ext_len=0,
        )
    except msgpack.StackError:
        raise Fault("the body is not msgpack within its limits: nested too deeply") from None
    except (ValueError, msgpack.UnpackException) as error:
        raise Fault(f"the body is not msgpack within its limits: {error}") from None
    if type(values) is not tuple:
        raise Fault(f"the body is {shown(values)}; it must be a list of fields")
    return values


def read_request_id(values: tuple[object, ...]) -> int:
    """The first field of a request or reply; raises Fault."""
    try:
        return _REQUEST_ID.read(values[0] if values else None)
    except Fault as fault:
        raise fault.inside("request_id") from None


def guess_request_id(body: bytes | bytearray) -> int:
    """The request id of a body that could not be unpacked, so that its sender can be answered; 0 = not readable."""
    unpacker = msgpack.Unpacker(max_buffer_size=32)
    unpacker.feed(bytes(body[:32]))
    try:
        unpacker.read_array_header()
        return _REQUEST_ID.read(unpacker.unpack())
    except (Fault, ValueError, msgpack.UnpackException):
        return 0


def read_reply(kind: type[Reply], values: tuple[object, ...]) -> Reply:
    """The fields of an ACK after its request id; raises Fault."""
    return cast(Reply, REPLIES[kind].read(values[1:]))


def read_error(values: tuple[object, ...]) -> TqError | None:
    """The error in a CLOSE, or in a NACK after its request id; None = an empty code. Raises Fault.

    A code from a newer peer keeps its outcome, which is what decides whether to try again.
    """
    fields = cast(_ErrorFields, _ERROR.read(values))
    if not fields.code:
        return None
    kind, text = BY_CODE.get(fields.code), fields.text
    if kind is None:
        kind, text = _KIND_OF_OUTCOME.get(fields.outcome, OutcomeUnknown), f"{fields.code}: {text}"
    return kind(text, retry_after_ms=fields.retry_after_ms, leader=fields.leader)


def read_hello(values: tuple[object, ...]) -> HelloReceived:
    """Raises Fault."""
    hello = cast(HelloReceived, _HELLO.read(values))
    if hello.role not in limits.HELLO_ROLES:
        raise Fault(f"{shown(hello.role)} is not one of {', '.join(limits.HELLO_ROLES)}").inside("role")
    return hello


def read_welcome(values: tuple[object, ...]) -> Welcomed:
    """Raises Fault."""
    return cast(Welcomed, _WELCOME.read(values))


def _refuse_ext(code: int, _data: bytes) -> NoReturn:
    raise ValueError(f"ext type {code}; ext types are not used")


_KIND_OF_OUTCOME: dict[str, type[TqError]] = {
    Outcome.REJECTED: BadRequest,
    Outcome.UNAVAILABLE: BrokerUnavailable,
    Outcome.UNKNOWN: OutcomeUnknown,
}
