"""StackDuck's reading of JSON, of times and of names, in golden tables: what its clients see must not drift."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tq.broker.compat.stackduck.enqueue import moment_ms, retry_delay_s, retry_policy, task_of
from tq.broker.compat.stackduck.names import job_type_of, task_type_of, worker_name_of
from tq.broker.compat.stackduck.payloads import InvalidJson, normalise, write_double
from tq.errors import BadRequest
from tq.retry import delay_ms

NORMALISED = {
    '{"b":1,"a":2}': '{"a":2,"b":1}',
    ' { "a" : [ 1 , true , null ] } ': '{"a":[1,true,null]}',
    '{"a":1,"a":2}': '{"a":2}',
    '{"é":1,"z":2,"Z":3}': '{"Z":3,"z":2,"é":1}',
    '"x"': '"x"',
    "null": "null",
    "false": "false",
    "7": "7",
    "-0": "-0.0",
    "1.0": "1.0",
    "1e2": "100.0",
    "1E+2": "100.0",
    "1.50": "1.5",
    "0.1": "0.1",
    "1e15": "1000000000000000.0",
    "1e16": "1e16",
    "1.5e16": "1.5e16",
    "123456789012345.6": "123456789012345.6",
    "0.0001": "0.0001",
    "1e-5": "0.00001",
    "1.234e-5": "0.00001234",
    "1e-6": "1e-6",
    "1.5e-7": "1.5e-7",
    "5e-324": "5e-324",
    "1.7976931348623157e308": "1.7976931348623157e308",
    "999999999999999999": "999999999999999999",
    "1000000000000000000": "1000000000000000000",
    '[{"a":-0},"-0",{"-0":[ -0]}]': '[{"a":-0.0},"-0",{"-0":[-0.0]}]',
    "18446744073709551615": "18446744073709551615",
    "18446744073709551616": "1.8446744073709552e19",
    "-9223372036854775808": "-9223372036854775808",
    "-9223372036854775809": "-9.223372036854776e18",
    '"\\u00e9\\n\\u0000\\/"': '"é\\n\\u0000/"',
    '"\\ud83d\\ude00"': '"😀"',
    '{"n":{"b":[{"d":1.0,"c":""}]}}': '{"n":{"b":[{"c":"","d":1.0}]}}',
    "[" * 127 + "]" * 127: "[" * 127 + "]" * 127,
    '"' + "[" * 200 + '"': '"' + "[" * 200 + '"',
}
"""what a client sends -> what a consumer is given"""
INVALID = (
    ("nothing", ""),
    ("blank", "  "),
    ("half", '{"a":'),
    ("two", "1 2"),
    ("leading-zero", "01"),
    ("trailing-comma", "[1,]"),
    ("single-quotes", "{'a':1}"),
    ("nan", "NaN"),
    ("infinity", "-Infinity"),
    ("out-of-range", "1e999"),
    ("half-a-pair", '"\\ud800"'),
    ("newline-in-text", '"\n"'),
    ("byte-order-mark", "\ufeff1"),
    ("too-deep", "[" * 128 + "]" * 128),
    ("far-too-deep", "[" * 100_000),
)
MOMENTS = {
    "2026-01-02T03:04:05Z": 1_767_323_045_000,
    "2026-01-02t03:04:05z": 1_767_323_045_000,
    "2026-01-02 03:04:05+00:00": 1_767_323_045_000,
    "2026-01-02T03:04:05.1239+01:30": 1_767_317_645_123,
    "2026-01-01T23:04:05-04:00": 1_767_323_045_000,
    "2016-12-31T23:59:60Z": 1_483_228_800_000,
    "1969-12-31T23:59:59Z": -1_000,
}
NO_MOMENTS = (
    "tomorrow",
    "2026-01-02",
    "2026-01-02T03:04:05",
    "2026-13-02T03:04:05Z",
    "2026-02-30T03:04:05Z",
    "2026-01-02T24:00:00Z",
    "2026-01-02T03:04:05+2500",
    "2026-01-02T03:04:05+25:00",
    " 2026-01-02T03:04:05Z",
    "٢٠٢٦-01-02T03:04:05Z",
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inside),
    max_leaves=10,
)  # fmt: skip


@pytest.mark.parametrize("text", NORMALISED, ids=range(len(NORMALISED)))
def test_payload_comes_back_as_serde_json_writes_it(text: str) -> None:
    assert normalise(text) == NORMALISED[text]


@pytest.mark.parametrize("text", [text for _, text in INVALID], ids=[name for name, _ in INVALID])
def test_what_serde_json_does_not_read_is_invalid(text: str) -> None:
    with pytest.raises(InvalidJson):
        normalise(text)


@given(JSON_VALUES)
def test_normalised_payload_means_the_same_and_stays_as_it_is(value: object) -> None:
    once = normalise(json.dumps(value))

    assert json.loads(once) == value
    assert normalise(once) == once


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_written_double_reads_back_the_same(number: float) -> None:
    text = write_double(number)

    assert float(text) == number
    assert math.copysign(1, float(text)) == math.copysign(1, number)
    assert "e+" not in text and ("e" in text or "." in text)


@pytest.mark.parametrize("text", MOMENTS)
def test_time_with_an_offset_is_read_to_the_millisecond(text: str) -> None:
    assert moment_ms(text) == MOMENTS[text]


@pytest.mark.parametrize("text", NO_MOMENTS, ids=range(len(NO_MOMENTS)))
def test_other_times_are_refused_in_stackducks_words(text: str) -> None:
    with pytest.raises(BadRequest, match="^Invalid scheduled_at format: "):
        moment_ms(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_job_type_survives_being_a_task_type(job_type: str) -> None:
    assert job_type_of(task_type_of(job_type)) == job_type


def test_job_types_are_their_own_task_types_where_names_allow_it() -> None:
    assert task_type_of("send_email") == "send_email"
    assert (task_type_of(""), task_type_of("50%"), task_type_of("a\nb")) == ("%", "50%25", "a%0Ab")


def test_worker_id_is_made_a_name() -> None:
    assert worker_name_of("w\n1") == "w?1"
    assert worker_name_of("") == "stackduck"
    assert len(worker_name_of("w" * 1_000)) == 255


@pytest.mark.parametrize(
    ("delay", "delays"), [(30, [30, 60, 120, 240]), (3_600, [3_600] * 4), (1, [1, 2, 4, 8]), (1_000, [1_000, 2_000, 3_600, 3_600])]
)  # fmt: skip
def test_retry_waits_twice_as_long_each_time_up_to_an_hour(delay: int, delays: list[int]) -> None:
    policy = retry_policy(delay)

    assert [retry_delay_s(delay, count) for count in range(4)] == delays
    assert [delay_ms(policy, failures, bytes(16)) for failures in range(1, 5)] == [
        each * 1000 for each in delays
    ]


@pytest.mark.parametrize("priority", [-1, 0, 1, 2, 3, 4, 2**31 - 1])
def test_priority_1_is_highest_and_anything_else_is_2(priority: int) -> None:
    spec = task_of(
        bytes(16), job_type="a", payload="1", priority=priority, delay=0, max_retries=0, scheduled_at=""
    )

    assert spec.priority == {1: 200, 3: 50}.get(priority, 150)


def test_payload_is_looked_at_before_the_time() -> None:
    with pytest.raises(BadRequest, match="^Invalid JSON payload: "):
        task_of(bytes(16), job_type="a", payload="", priority=0, delay=0, max_retries=0, scheduled_at="x")
