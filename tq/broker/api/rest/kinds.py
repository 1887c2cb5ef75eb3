"""Kinds of field in request bodies: JSON in, the broker's own units out, and what OpenAPI says of each.

A validator says what is wrong without repeating the value: it may be a payload or a key.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeAlias, TypeGuard
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StringConstraints, WithJsonSchema

from tq.ids import to_text
from tq.protocol.limits import CHANGE_TASKS_MAX, FINGERPRINT_CHARS_MAX, PURGE_TASKS_MAX, TIME_MS_MAX
from tq.retry import DELAY_MS_MAX
from tq.task import NAME_CHARS_MAX, PRIORITY_MAX, RETRIES_MAX, TIMEOUT_MS_MAX, UNIQUE_KEY_CHARS_MAX, Priority

NO_ID = b""
"""A task that came without an id: the broker makes one."""
DAY_S = 24 * 3600

_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII | re.I)
_MOMENT_SCHEMA = r"^(19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}T"
_BASE64_SCHEMA = r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID_CHARS_MAX = 36
_PRIORITIES = {member.name.lower(): int(member) for member in Priority}


def _task_id(value: object) -> bytes:
    if value is None:
        return NO_ID
    try:
        if isinstance(value, str) and len(value) <= _UUID_CHARS_MAX:
            return UUID(value).bytes
    except ValueError:
        pass
    raise ValueError("should be a UUID, such as 018f3c1e-7c2a-7b1e-9a55-3f1f6f3c2b10")


def _required_id(value: object) -> bytes:
    if value is None:
        raise ValueError("should be a UUID")
    return _task_id(value)


def _base64(value: object) -> bytes:
    if value is None:
        return b""
    try:
        if isinstance(value, str):
            return b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise ValueError("should be bytes as base64 text, with its padding; or send payload_json")


def _whole(value: object) -> object:
    """A whole number may be written 5.0: to JSON that is the same number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _priority(value: object) -> int:
    value = _PRIORITIES.get(value.lower(), value) if isinstance(value, str) else _whole(value)
    if type(value) is int and 0 <= value <= PRIORITY_MAX:
        return value
    raise ValueError(f"should be a whole number from 0 to {PRIORITY_MAX}, or high, normal or low")


def _moment(value: object) -> int:
    """Milliseconds since 1970, 0 for none. A time without an offset is UTC."""
    if value is None:
        return 0
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.upper())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            ms = (moment - _EPOCH) // timedelta(milliseconds=1)
        except (ValueError, OverflowError):
            ms = -1
        if 0 < ms <= TIME_MS_MAX:
            return ms
    raise ValueError("should be an ISO 8601 time after 1970, such as 2030-01-31T08:00:00Z")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _milliseconds(low_ms: int, high_ms: int) -> PlainValidator:
    """Seconds, whole or not, as milliseconds in these bounds."""

    def read(value: object) -> int:
        # NaN and the infinities are in no range, and an integer of a thousand digits may be compared, not divided.
        if _is_number(value) and low_ms <= value * 1000 <= high_ms:
            return round(value * 1000)
        raise ValueError(f"should be a number of seconds from {low_ms / 1000:g} to {high_ms // 1000}")

    return PlainValidator(read)


def _seconds_schema(low_ms: int, high_ms: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "number", "minimum": low_ms / 1000, "maximum": high_ms / 1000})


def _permille(low: int, high: int) -> PlainValidator:
    def read(value: object) -> int:
        if _is_number(value) and low <= value * 1000 <= high:
            return round(value * 1000)
        raise ValueError(f"should be a number from {low / 1000:g} to {high / 1000:g}")

    return PlainValidator(read)


Name: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=NAME_CHARS_MAX, pattern=_PRINTABLE)
]
NameOrNone: TypeAlias = Annotated[str, StringConstraints(max_length=NAME_CHARS_MAX, pattern=_PRINTABLE)]
UniqueKey: TypeAlias = Annotated[str, StringConstraints(max_length=UNIQUE_KEY_CHARS_MAX, pattern=_PRINTABLE)]
Note: TypeAlias = Annotated[str, StringConstraints(max_length=1_000, pattern=_PRINTABLE)]
NewId: TypeAlias = Annotated[
    bytes,
    PlainValidator(_task_id),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}),
]
TaskId: TypeAlias = Annotated[
    bytes, PlainValidator(_required_id), WithJsonSchema({"type": "string", "format": "uuid"})
]
TaskIdText: TypeAlias = Annotated[
    str,
    PlainValidator(_required_id),
    AfterValidator(to_text),
    WithJsonSchema({"type": "string", "format": "uuid"}),
]
"""However it was written, as the broker writes it."""
Base64: TypeAlias = Annotated[
    bytes,
    PlainValidator(_base64),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "contentEncoding": "base64", "pattern": _BASE64_SCHEMA},
                {"type": "null"},
            ]
        }
    ),
]
PriorityNumber: TypeAlias = Annotated[
    int,
    PlainValidator(_priority),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": PRIORITY_MAX},
                {"type": "string", "enum": list(_PRIORITIES)},
            ]
        }
    ),
]
Moment: TypeAlias = Annotated[
    int,
    PlainValidator(_moment),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time", "pattern": _MOMENT_SCHEMA},
                {"type": "null"},
            ]
        }
    ),
]
Delay: TypeAlias = Annotated[int, _milliseconds(0, DELAY_MS_MAX), _seconds_schema(0, DELAY_MS_MAX)]
TimeLimit: TypeAlias = Annotated[int, _milliseconds(1, TIMEOUT_MS_MAX), _seconds_schema(1, TIMEOUT_MS_MAX)]
Factor: TypeAlias = Annotated[
    int, _permille(1_000, 1_000_000), WithJsonSchema({"type": "number", "minimum": 1, "maximum": 1_000})
]
Jitter: TypeAlias = Annotated[
    int, _permille(0, 1_000), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
]
Retries: TypeAlias = Annotated[int, Field(ge=0, le=RETRIES_MAX), BeforeValidator(_whole)]
ManyLimit: TypeAlias = Annotated[int, Field(ge=1, le=CHANGE_TASKS_MAX), BeforeValidator(_whole)]
Fingerprint: TypeAlias = Annotated[
    str, StringConstraints(max_length=FINGERPRINT_CHARS_MAX, pattern=r"^[0-9a-f]*$")
]
Cursor: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")]
PurgeLimit: TypeAlias = Annotated[int, Field(ge=1, le=PURGE_TASKS_MAX), BeforeValidator(_whole)]
AnyJson: TypeAlias = Annotated[Any, Field(json_schema_extra={"description": "Any JSON value."})]
