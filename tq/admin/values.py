"""Values of options, read as people write them; a word that cannot be read is a usage error (exit code 2)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

import typer

from tq import ids
from tq.errors import BadRequest, PayloadTooLarge
from tq.task import PAYLOAD_BYTES_MAX, STATE_OF_STATUS

_Value = TypeVar("_Value")


def task_id(text: str) -> bytes:
    return _checked(ids.from_text, text)


def status(text: str) -> int:
    """The state a status word means."""
    word = text.lower().replace("-", "_")
    if word not in STATE_OF_STATUS:
        raise typer.BadParameter(
            f"{text!r} is not a status; give one of {', '.join(sorted(STATE_OF_STATUS))}"
        )
    return STATE_OF_STATUS[word]


def priority(text: str) -> int:
    """0-255, or high, normal, low."""
    from tq.client.task import priority_number

    return _checked(priority_number, int(text) if text.isascii() and text.isdigit() else text)


def duration_ms(text: str) -> int:
    """`90s`, `5m`, `1h30m`, `7d`; a bare number is seconds."""
    from tq.client import durations

    return _checked(lambda given: durations.duration_ms(given, "it"), text)


def start(text: str) -> tuple[datetime | None, str | None]:
    """(schedule_at, delay), one of them None, from an ISO 8601 time (local unless it names a zone) or from `+5m`."""
    if text.startswith("+"):
        duration_ms(text[1:])
        return None, text[1:]
    try:
        return datetime.fromisoformat(text).astimezone(), None
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither an ISO 8601 time nor a delay such as +5m") from error


def payload(*, text: str | None, file: str | None, source: str | None) -> bytes:
    """The payload from one of three places, at most PAYLOAD_BYTES_MAX bytes; none given is an empty one."""
    if sum(given is not None for given in (text, file, source)) > 1:
        raise typer.BadParameter("give one of --payload, --payload-file and -")
    if source not in (None, "-"):
        raise typer.BadParameter(f"{source!r} is not expected here; - reads the payload from stdin")
    if text is not None:
        # What came in as bytes that are not text goes out as the same bytes.
        return _within_limit(text.encode(errors="surrogateescape"))
    if source == "-" or file == "-":
        return _read(sys.stdin.buffer)
    if file is None:
        return b""
    try:
        with Path(file).open("rb") as stream:
            return _read(stream)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror or error}") from error


def _read(stream: BinaryIO) -> bytes:
    return _within_limit(stream.read(PAYLOAD_BYTES_MAX + 1))


def _within_limit(content: bytes) -> bytes:
    if len(content) > PAYLOAD_BYTES_MAX:
        raise typer.BadParameter(f"the payload is larger than {PAYLOAD_BYTES_MAX} bytes")
    return content


@contextmanager
def usage_errors() -> Iterator[None]:
    """What the client refuses before anything was sent is a mistake on the command line."""
    try:
        yield
    except (BadRequest, PayloadTooLarge) as error:
        raise typer.BadParameter(error.text) from error


def _checked(read: Callable[..., _Value], given: object) -> _Value:
    with usage_errors():
        return read(given)
