"""W3C trace context: what is believed, what is passed on, what is dropped without a word."""

from __future__ import annotations

import pytest

from tq.trace_context import (
    TRACESTATE_CHARS_MAX,
    TRACESTATE_MEMBERS_MAX,
    TraceParent,
    checked_tracestate,
    format_traceparent,
    parse_traceparent,
    trace_metadata,
    trace_of,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_a_traceparent_is_read_and_written_back() -> None:
    parent = parse_traceparent(GOOD)

    assert parent == TraceParent(TRACE, SPAN, 1)
    assert parent.is_sampled
    assert format_traceparent(parent) == GOOD
    unsampled = parse_traceparent(f"00-{TRACE}-{SPAN}-00")
    assert unsampled is not None
    assert not unsampled.is_sampled


@pytest.mark.parametrize("text", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-later"])
def test_a_later_version_is_read_as_far_as_it_is_known(text: str) -> None:
    assert parse_traceparent(text) == TraceParent(TRACE, SPAN, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01x",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0\u0661",
    ],
    ids=range(14),
)
def test_a_traceparent_that_is_no_good_is_none(text: str) -> None:
    assert parse_traceparent(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", "a=1"),
        ("a=1 , b=2\t,", "a=1,b=2"),
        ("tenant@vendor=x y", "tenant@vendor=x y"),
        ("", ""),
        ("a", ""),
        ("a=", ""),
        ("A=1", ""),
        ("a=1,a=2", ""),
        ("a=1\n", ""),
        ("a=\u00e9", ""),
        ("a=b=c", ""),
        (",".join(f"k{number}=1" for number in range(TRACESTATE_MEMBERS_MAX + 1)), ""),
        ("a=" + "x" * TRACESTATE_CHARS_MAX, ""),
    ],
    ids=range(13),
)
def test_a_tracestate_is_passed_on_whole_or_not_at_all(text: str, expected: str) -> None:
    assert checked_tracestate(text) == expected


def test_headers_become_metadata_only_with_a_good_traceparent() -> None:
    assert trace_metadata(GOOD) == {"traceparent": GOOD}
    assert trace_metadata(GOOD, "a=1") == {"traceparent": GOOD, "tracestate": "a=1"}
    assert trace_metadata(GOOD, "A") == {"traceparent": GOOD}
    assert trace_metadata(None, "a=1") == {}
    assert trace_metadata("no", "a=1") == {}


def test_of_metadata_only_the_trace_is_handed_on() -> None:
    metadata = {"traceparent": GOOD, "tracestate": "a=1", "user": "7"}

    assert trace_of(metadata) == {"traceparent": GOOD, "tracestate": "a=1"}
    assert trace_of({"user": "7"}) == {}
    assert trace_of({"traceparent": "x"}) == {}
