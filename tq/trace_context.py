"""W3C trace context as a task carries it: two entries of its metadata, checked before they are believed.

Pure, and without OpenTelemetry: doors put the headers of a request into the metadata of what it submits, workers show
them to handlers. What makes spans of them is `tq.spans`. See https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""Names of the headers, and of the entries of the metadata."""
TRACESTATE_CHARS_MAX = 512
TRACESTATE_MEMBERS_MAX = 32
"""A longer one may be dropped, says the standard, and is."""

_VERSION_00 = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
# A later version may say more behind these fields, and is read as far as we know it.
_LATER = re.compile(r"(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL)
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


class TraceParent(NamedTuple):
    """The span that asked for the work. trace_id: 32 hex digits; span_id: 16; flags: bit 0 = it is recorded."""

    trace_id: str
    span_id: str
    flags: int

    @property
    def is_sampled(self) -> bool:
        return bool(self.flags & 1)


def parse_traceparent(text: str) -> TraceParent | None:
    """What the header says; None for what the standard tells to ignore, and so never an error."""
    found = _VERSION_00.fullmatch(text) or _LATER.fullmatch(text)
    if found is None:
        return None
    trace_id, span_id, flags = found.groups()
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceParent(trace_id, span_id, int(flags, 16))


def format_traceparent(parent: TraceParent) -> str:
    return f"00-{parent.trace_id}-{parent.span_id}-{parent.flags:02x}"


def checked_tracestate(text: str) -> str:
    """The header as it may be passed on, without spaces around its members; empty for one that is no good."""
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    whole = ",".join(members)
    keys = {member.partition("=")[0] for member in members}
    is_good = (
        len(whole) <= TRACESTATE_CHARS_MAX
        and len(members) <= TRACESTATE_MEMBERS_MAX
        and len(keys) == len(members)
        and all(_MEMBER.fullmatch(member) for member in members)
    )
    return whole if is_good else ""


def trace_metadata(traceparent: str | None, tracestate: str | None = None) -> dict[str, str]:
    """The entries of metadata that two headers make; none when the first is missing or no good."""
    parent = parse_traceparent(traceparent) if traceparent else None
    if parent is None:
        return {}
    entries = {TRACEPARENT: format_traceparent(parent)}
    state = checked_tracestate(tracestate) if tracestate else ""
    return {**entries, TRACESTATE: state} if state else entries


def trace_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """The two entries of a task's metadata, checked: what may be handed on to others."""
    if TRACEPARENT not in metadata:
        return {}
    return trace_metadata(metadata[TRACEPARENT], metadata.get(TRACESTATE))
