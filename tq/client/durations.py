"""Durations and moments as people write them, turned into integer milliseconds.

A duration is a timedelta, a number of seconds, or a text such as "250ms", "5m", "1h30m", "7d".
A moment is a datetime with a time zone, or its ISO 8601 text. Never bare milliseconds.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from tq.errors import BadRequest

Duration: TypeAlias = timedelta | float | str
Moment: TypeAlias = datetime | str

DURATION_MS_MAX = 100 * 365 * 24 * 3600 * 1000
"""A century; more is a mistake in units."""

_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*", re.ASCII)
_TEXT_CHARS_MAX = 64
_EXAMPLES = 'a timedelta, seconds, or a text like "30s", "5m", "1h30m", "7d"'


def duration_ms(value: Duration, name: str) -> int:
    """Milliseconds, rounded; what is above nothing is at least 1. Raises BadRequest naming the field."""
    if isinstance(value, timedelta):
        ms = value.total_seconds() * 1000
    elif isinstance(value, str):
        ms = _text_ms(value, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        ms = float(value) * 1000 if abs(value) < DURATION_MS_MAX else math.inf
    else:
        raise BadRequest(f"{name} is {value!r}; a duration is {_EXAMPLES}")
    if not 0 <= ms <= DURATION_MS_MAX:
        raise BadRequest(f"{name} is {value!r}; a duration is from 0 to 100 years")
    return max(round(ms), 1) if ms > 0 else 0


def duration_s(value: Duration, name: str) -> float:
    """The same in seconds, for waits inside a process."""
    return duration_ms(value, name) / 1000


def moment_ms(value: Moment, name: str) -> int:
    """Milliseconds since 1970 UTC. Raises BadRequest for a time without a zone: it would mean another hour elsewhere."""
    moment = value
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise BadRequest(f"{name} is {value!r}, which is not an ISO 8601 time") from error
    if not isinstance(moment, datetime):
        raise BadRequest(f"{name} is {value!r}; a moment is a datetime or its ISO 8601 text")
    if moment.tzinfo is None:
        raise BadRequest(f"{name} is {value!r}, which has no time zone; use datetime.now(timezone.utc) + ...")
    ms = round((moment - _EPOCH) / _MILLISECOND)
    if ms <= 0:
        raise BadRequest(f"{name} is {value!r}; it must be after 1970")
    return ms


def moment_of(ms: int) -> datetime | None:
    """The UTC datetime of milliseconds since 1970; None for 0, which says never."""
    return _EPOCH + ms * _MILLISECOND if ms else None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def _text_ms(text: str, name: str) -> float:
    rest = text.strip().lower()
    if not rest or len(rest) > _TEXT_CHARS_MAX:
        raise BadRequest(f"{name} is {text!r}; a duration is {_EXAMPLES}")
    try:
        return float(rest) * 1000 if rest[-1].isdigit() else _pieces_ms(rest)
    except ValueError as error:
        raise BadRequest(f"{name} is {text!r}; a duration is {_EXAMPLES}") from error


def _pieces_ms(text: str) -> float:
    total, at = 0.0, 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            raise ValueError(text)
        total += float(piece[1]) * _UNIT_MS[piece[2]]
        at = piece.end()
    return total
