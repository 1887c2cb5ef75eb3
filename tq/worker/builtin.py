"""The handlers a worker has when it is given no App: to try a set-up, and to test it. All of bytes to bytes.

echo      the payload
sleep     seconds as text; gives the payload back after so long
compute   JSON {"operation": "add", "a": 1, "b": 2} -> JSON {"result": 3}
fail      raises, with the payload as text
"""

from __future__ import annotations

import asyncio
import json
import math
import operator
from collections.abc import Callable
from typing import TypeAlias

from tq.worker.app import App

Number: TypeAlias = int | float

SLEEP_S_MAX = 86_400.0
POWER_BITS_MAX = 10_000
"""2 to the 10,000th has 3,011 digits; far larger ones would take minutes and memory."""


class HandlerFailed(Exception):
    """What `fail` raises."""


def make_app() -> App:
    """An App with the built-in handlers. `tq-worker` without MODULE:APP serves it."""
    app = App()
    app.handler("echo")(echo)
    app.handler("sleep")(sleep)
    app.handler("compute")(compute)
    app.handler("fail")(fail)
    return app


async def echo(payload: bytes) -> bytes:
    """The payload."""
    return payload


async def sleep(payload: bytes) -> bytes:
    """Wait so many seconds, 0 to a day, and give the payload back. Raises ValueError when it is no number."""
    text = payload.decode("utf-8", "replace").strip()
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= SLEEP_S_MAX:
        raise ValueError(f"{text!r:.100} is not a number of seconds from 0 to {SLEEP_S_MAX:g}")
    await asyncio.sleep(seconds)
    return payload


async def compute(payload: bytes) -> bytes:
    """Work out one operation on two numbers. Raises ValueError saying what is wrong with the request."""
    try:
        request = json.loads(payload)
    except ValueError as error:
        raise ValueError(f"the payload is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise ValueError('the payload is not a JSON object such as {"operation": "add", "a": 1, "b": 2}')
    name = request.get("operation")
    if not isinstance(name, str) or name not in OPERATIONS:
        raise ValueError(f"operation {name!r} is not one of {', '.join(OPERATIONS)}")
    a, b = _number(request, "a"), _number(request, "b")
    try:
        result = OPERATIONS[name](a, b)
    except ZeroDivisionError:
        raise ValueError(f"cannot {name} {a} by zero") from None
    except OverflowError:
        raise ValueError(f"the result of {name} {a}, {b} is too large") from None
    if isinstance(result, complex) or not _is_finite(result):
        raise ValueError(f"the result of {name} {a}, {b} is not a real number")
    return json.dumps({"result": result}).encode()


async def fail(payload: bytes) -> bytes:
    """Raise HandlerFailed with the payload as text."""
    raise HandlerFailed(payload.decode("utf-8", "replace") or "asked to fail")


def _power(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int) and abs(b) * max(a.bit_length(), 1) > POWER_BITS_MAX:
        raise OverflowError
    result: Number = a**b
    return result


def _number(request: dict[str, object], name: str) -> Number:
    value = request.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise ValueError(f"{name} is {value!r:.100}, not a number")
    return value


def _is_finite(number: Number) -> bool:
    return isinstance(number, int) or math.isfinite(number)


OPERATIONS: dict[str, Callable[[Number, Number], Number]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "modulo": operator.mod,
    "power": _power,
    "min": min,
    "max": max,
}
