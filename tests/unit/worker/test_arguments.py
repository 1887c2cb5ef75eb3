"""Arguments and results as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tq.errors import BadRequest, PayloadTooLarge
from tq.task import PAYLOAD_BYTES_MAX
from tq.worker.arguments import (
    checked_result,
    pack_arguments,
    pack_result,
    unpack_arguments,
    unpack_result,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=3)
    ),
)


@settings(max_examples=50)
@given(st.lists(VALUES, max_size=4), st.dictionaries(st.text(), VALUES, max_size=4))
def test_arguments_arrive_as_they_were_sent(args: list[object], kwargs: dict[str, object]) -> None:
    assert unpack_arguments(pack_arguments(tuple(args), kwargs, of="f")) == (args, kwargs)


@given(VALUES)
def test_a_result_arrives_as_it_was_returned(value: object) -> None:
    assert unpack_result(pack_result(value)) == value


@given(st.binary())
def test_any_bytes_as_payload_are_arguments_or_a_clear_error(payload: bytes) -> None:
    try:
        unpack_arguments(payload)
    except BadRequest as error:
        assert "raw handler" in error.text


def test_an_empty_payload_is_a_call_without_arguments() -> None:
    assert unpack_arguments(b"") == ([], {})


def loop_in_itself() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((1, {2}), {}, "argument 2 is set"),
        ((), {"when": object()}, "when is object"),
        (([1, {"a": {1}}],), {}, "argument 1[1]['a'] is set"),
        ((2**64,), {}, "argument 1 is an integer of more than 64 bits"),
        ((loop_in_itself(),), {}, "nested more than 64 deep or contains itself"),
        (({(1, 2): 3, (1, object()): 4},), {}, "a key of argument 1[1] is object"),
    ],
)
def test_an_argument_that_cannot_travel_is_named(
    args: tuple[object, ...], kwargs: dict[str, object], words: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        pack_arguments(args, kwargs, of="shop.send")
    assert caught.value.text.startswith("shop.send: ")
    assert words in caught.value.text


def test_arguments_and_results_above_the_limit_are_refused() -> None:
    large = b"x" * (PAYLOAD_BYTES_MAX + 1)
    with pytest.raises(PayloadTooLarge):
        pack_arguments((large,), {}, of="f")
    with pytest.raises(PayloadTooLarge):
        pack_result(large)
    with pytest.raises(PayloadTooLarge):
        checked_result(large)


def test_a_raw_result_that_is_read_as_a_value_says_so() -> None:
    with pytest.raises(BadRequest, match="raw handler"):
        unpack_result(b"\xc1 no msgpack")
