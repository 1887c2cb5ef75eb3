"""The built-in handlers."""

from __future__ import annotations

import asyncio
import json

import pytest

from tq.worker.builtin import HandlerFailed, compute, echo, fail, make_app, sleep


def test_echo_gives_the_payload_back() -> None:
    assert asyncio.run(echo(b"\x00any\xff")) == b"\x00any\xff"


def test_sleep_takes_seconds_as_text() -> None:
    assert asyncio.run(sleep(b" 0.001\n")) == b" 0.001\n"


@pytest.mark.parametrize("payload", [b"", b"soon", b"-1", b"nan", b"inf", b"1e9", b"\xff"])
def test_sleep_refuses_what_is_no_duration(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a number of seconds"):
        asyncio.run(sleep(payload))


@pytest.mark.parametrize(
    ("operation", "a", "b", "result"),
    [
        ("add", 1, 2, 3),
        ("subtract", 1, 2, -1),
        ("multiply", 3, 0.5, 1.5),
        ("divide", 1, 4, 0.25),
        ("modulo", 7, 4, 3),
        ("power", 2, 10, 1024),
        ("min", 2, 10, 2),
        ("max", 2, 10, 10),
    ],
)
def test_compute_works_out_every_operation(operation: str, a: float, b: float, result: float) -> None:
    payload = json.dumps({"operation": operation, "a": a, "b": b}).encode()
    assert json.loads(asyncio.run(compute(payload))) == {"result": result}


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"a": 1, "b": 2}', "operation None is not one of add"),
        (b'{"operation": "conquer", "a": 1, "b": 2}', "operation 'conquer'"),
        (b'{"operation": ["add"], "a": 1, "b": 2}', "is not one of add"),
        (b'{"operation": "add", "a": 1}', "b is None, not a number"),
        (b'{"operation": "add", "a": true, "b": 2}', "a is True, not a number"),
        (b'{"operation": "add", "a": NaN, "b": 2}', "a is nan, not a number"),
        (b'{"operation": "divide", "a": 1, "b": 0}', "cannot divide 1 by zero"),
        (b'{"operation": "power", "a": 9, "b": 999999999}', "is too large"),
        (b'{"operation": "power", "a": 9.5, "b": 999999999}', "is too large"),
        (b'{"operation": "power", "a": -1, "b": 0.5}', "is not a real number"),
        (b'{"operation": "multiply", "a": 1e308, "b": 10}', "is not a real number"),
        (b'{"operation": "divide", "a": 1' + b"0" * 400 + b', "b": 3}', "is too large"),
    ],
)
def test_compute_says_what_is_wrong(payload: bytes, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        asyncio.run(compute(payload))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "text"), [(b"as wished", "as wished"), (b"", "asked to fail"), (b"\xff", "\ufffd")]
)
def test_fail_always_raises_with_the_payload_as_text(payload: bytes, text: str) -> None:
    with pytest.raises(HandlerFailed) as caught:
        asyncio.run(fail(payload))
    assert str(caught.value) == text


def test_all_four_are_served() -> None:
    assert sorted(make_app().registry()) == ["compute", "echo", "fail", "sleep"]
