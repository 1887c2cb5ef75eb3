"""Payloads as StackDuck shows them: any JSON text, read and written again by the rules of serde_json.

Keys in alphabetical order, no white space, of a key that stands twice the last value. Integers that fit 64 bits stay,
every other number becomes a double and is written in the shortest form that reads back the same.
"""

from __future__ import annotations

import json
import math
from typing import Any

DEPTH_MAX = 127
"""Arrays and objects inside each other that serde_json reads."""
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
"""One for all: to make it costs more than to use it."""
_DIGITS_MAX = 20
"""An integer of more digits is outside 64 bits, and need not be worked out to know it."""
_PLAIN_DIGITS_MAX = 18
"""An integer of so many digits is inside, whichever its sign."""


class InvalidJson(ValueError):
    """The text is not JSON that StackDuck reads; the message says where."""


def normalise(text: str) -> str:
    """The text as StackDuck gives it back. Raises InvalidJson."""
    reader = _Reader()
    try:
        value = reader.read(text)
        # Deep texts are rare, and counting brackets is enough to know that this is none.
        if text.count("[") + text.count("{") > DEPTH_MAX and _depth(value) > DEPTH_MAX:
            raise InvalidJson("recursion limit exceeded")
        written = _write(value) if reader.has_floats else _dump(value)
        written.encode()
    except InvalidJson:
        raise
    except UnicodeEncodeError as error:
        raise InvalidJson("a surrogate without its other half") from error
    except RecursionError as error:
        raise InvalidJson("recursion limit exceeded") from error
    except ValueError as error:
        raise InvalidJson(str(error)) from error
    return written


def read_value(text: str) -> tuple[Any, bool]:
    """What any JSON text says, and whether `write_value` must be told of floats in it. Raises InvalidJson."""
    reader = _Reader()
    try:
        return reader.read(text), reader.has_floats
    except InvalidJson:
        raise
    except RecursionError as error:
        raise InvalidJson("recursion limit exceeded") from error
    except ValueError as error:
        raise InvalidJson(str(error)) from error


def write_value(value: object, has_floats: bool) -> str:
    """The value as `normalise` writes it."""
    return _write(value) if has_floats else _dump(value)


class _Reader:
    """has_floats: whether there was a number that has to be written by other rules than Python's."""

    def __init__(self) -> None:
        self.has_floats = False

    def read(self, text: str) -> Any:
        try:
            return _plain_decode(text)
        except _Special:
            pass
        decoder = json.JSONDecoder(parse_float=self._float, parse_int=self._integer, parse_constant=_refuse)
        return decoder.decode(text)

    def _float(self, text: str) -> float:
        self.has_floats = True
        number = float(text)
        if math.isinf(number):
            raise InvalidJson("number out of range")
        return number

    def _integer(self, text: str) -> int | float:
        if len(text) <= _DIGITS_MAX and text != "-0":
            number = int(text)
            if _INTEGER_MIN <= number <= _INTEGER_MAX:
                return number
        return self._float(text)


def _refuse(text: str) -> Any:
    raise InvalidJson(f"{text} is not JSON")


class _Special(Exception):
    """There is a number that Python may read otherwise than serde_json: no integer, minus zero, or about 64 bits."""


def _stop(text: str) -> Any:
    raise _Special


def _plain_integer(text: str) -> int:
    if len(text) > _PLAIN_DIGITS_MAX or text == "-0":
        raise _Special
    return int(text)


_plain_decode = json.JSONDecoder(parse_float=_stop, parse_int=_plain_integer, parse_constant=_refuse).decode
"""For most texts: those without such numbers. One for all: to make it costs more than to use it."""


def _dump(value: object) -> str:
    return _encode(value)


def _write(value: object) -> str:
    if isinstance(value, float):
        return write_double(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_dump(key)}:{_write(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    return _dump(value)


def write_double(number: float) -> str:
    """The shortest digits, laid out as Rust's ryu does: plain from 1e-5 up to 1e16, `1.5e-7` and `1e16` outside."""
    if not number:
        return "-0.0" if math.copysign(1, number) < 0 else "0.0"
    sign = "-" if number < 0 else ""
    # Python finds the same shortest digits; only where it puts the point differs.
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    return sign + _lay_out(digits, point)


def _lay_out(digits: str, point: int) -> str:
    """point: how many of the digits stand before the decimal point; negative = zeros after it."""
    if len(digits) <= point <= 16:
        return digits.ljust(point, "0") + ".0"
    if 0 < point <= 16:
        return f"{digits[:point]}.{digits[point:]}"
    if -5 < point <= 0:
        return "0." + "0" * -point + digits
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{point - 1}"


def _depth(value: object) -> int:
    """How many arrays and objects stand inside each other at the deepest place."""
    deepest = 0
    left: list[tuple[object, int]] = [(value, 1)]
    while left:
        found, depth = left.pop()
        inside: Any = (
            found.values() if isinstance(found, dict) else found if isinstance(found, list) else None
        )
        if inside is not None:
            deepest = max(deepest, depth)
            left += [(each, depth + 1) for each in inside]
    return deepest
