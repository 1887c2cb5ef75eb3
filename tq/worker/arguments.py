"""Arguments and results as bytes: msgpack, checked where they are made and not where they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import msgpack

from tq.errors import BadRequest, PayloadTooLarge
from tq.task import PAYLOAD_BYTES_MAX

DEPTH_MAX = 64
"""Nesting deeper than this is a cycle or a mistake; it bounds the search for what cannot be encoded."""
_PLAIN = (type(None), bool, float, str, bytes)


def pack_arguments(args: tuple[object, ...], kwargs: dict[str, object], *, of: str) -> bytes:
    """The payload for a call: msgpack of [args, kwargs]. Tuples arrive as lists.

    Raises BadRequest naming the argument that cannot travel, PayloadTooLarge above 10 MiB.
    """
    try:
        packed = cast("bytes", msgpack.packb((args, kwargs)))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        named = [*((f"argument {n}", value) for n, value in enumerate(args, 1)), *kwargs.items()]
        raise BadRequest(f"{of}: {_first_problem(named) or error}") from error
    if len(packed) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            f"{of}: the arguments take {len(packed)} bytes, more than {PAYLOAD_BYTES_MAX}; send an address instead"
        )
    return packed


def unpack_arguments(payload: bytes) -> tuple[list[object], dict[str, object]]:
    """The arguments of `pack_arguments`. Raises BadRequest when the payload is something else."""
    try:
        args, kwargs = msgpack.unpackb(payload, strict_map_key=False) if payload else ((), {})
        if (
            isinstance(args, list | tuple)
            and isinstance(kwargs, dict)
            and all(type(k) is str for k in kwargs)
        ):
            return list(args), kwargs
    except (ValueError, TypeError):
        pass
    raise BadRequest(
        "the payload is not msgpack of [args, kwargs]; whoever submits this type as bytes needs a raw handler (app.handler)"
    )


def pack_result(value: object) -> bytes:
    """The bytes of a return value. Raises BadRequest saying what in it cannot travel, PayloadTooLarge above 10 MiB."""
    try:
        packed = cast("bytes", msgpack.packb(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadRequest(f"{_first_problem([('the result', value)]) or error}") from error
    return checked_result(packed)


def checked_result(result: object) -> bytes:
    """A raw handler's result as it is. Raises BadRequest when it is not bytes, PayloadTooLarge above 10 MiB."""
    if not isinstance(result, bytes | bytearray | memoryview):
        raise BadRequest(f"the result is {type(result).__name__}; a raw handler returns bytes")
    if len(result) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            f"the result takes {len(result)} bytes, more than {PAYLOAD_BYTES_MAX}; store it elsewhere and return its address"
        )
    return bytes(result)


def unpack_result(result: bytes) -> object:
    """What `pack_result` packed. Raises BadRequest when these bytes are something else."""
    try:
        return cast("object", msgpack.unpackb(result, strict_map_key=False))
    except (ValueError, TypeError) as error:
        raise BadRequest("the result is not msgpack; a raw handler made it: read it as bytes") from error


def _first_problem(named: list[tuple[str, object]]) -> str:
    for name, value in named:
        for problem in _problems(name, value, DEPTH_MAX):
            return problem
    return ""


def _problems(path: str, value: object, depth_left: int) -> Iterator[str]:
    if isinstance(value, _PLAIN):
        return
    if depth_left == 0:
        yield f"{path} is nested more than {DEPTH_MAX} deep or contains itself"
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            yield f"{path} is an integer of more than 64 bits; send it as text"
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _problems(f"{path}[{position}]", item, depth_left - 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _problems(f"a key of {path}", key, depth_left - 1)
            yield from _problems(f"{path}[{key!r}]", item, depth_left - 1)
    else:
        yield (
            f"{path} is {type(value).__name__}, which cannot travel; "
            "use None, bool, int, float, str, bytes, list, tuple or dict"
        )
