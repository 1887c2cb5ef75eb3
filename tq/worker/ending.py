"""How one attempt ended, in the words the broker takes; from a handler's value or from what it raised."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import NamedTuple

from tq.errors import TqError
from tq.task import ERROR_CHARS_MAX, Cause
from tq.worker.arguments import checked_result, pack_result
from tq.worker.control import Fatal, RetryLater, Snooze, Stopped
from tq.worker.definition import Definition

# Plain integers: these are compared for every task, and an enum member costs a look-up each time.
DONE, ERROR, TIMEOUT, CRASH, LEASE_LOST, RELEASED, CANCELLED, SNOOZED, FATAL = (int(cause) for cause in Cause)


class Ending(NamedTuple):
    """cause: a `tq.task.Cause` as int. delay_ms: -1 leaves it to the task's retry policy."""

    cause: int
    result: bytes = b""
    error: str = ""
    delay_ms: int = -1


def ending_of_value(definition: Definition, value: object) -> Ending:
    """What a handler returned. A value that cannot be encoded, or is too large, is the task's error."""
    if isinstance(value, Snooze):
        return Ending(SNOOZED, delay_ms=value.delay_ms)
    try:
        return Ending(DONE, checked_result(value) if definition.is_raw else pack_result(value))
    except TqError as error:
        return Ending(ERROR, error=cut(f"{definition.name}: {error.text}"))


def ending_of_error(error: BaseException) -> Ending:
    """What a handler raised: any exception at all, SystemExit and KeyboardInterrupt too, is only its own end."""
    if isinstance(error, Snooze):
        return Ending(SNOOZED, delay_ms=error.delay_ms)
    if isinstance(error, Stopped):
        # Its own stop is turned into timeout or cancellation by the consumer. A stop meant for another task that
        # ran on the same loop costs this one nothing.
        return Ending(RELEASED, error=f"stopped: {error}", delay_ms=0)
    text = error_text(error)
    if isinstance(error, RetryLater):
        return Ending(ERROR, error=text, delay_ms=error.delay_ms)
    return Ending(FATAL if isinstance(error, Fatal) else ERROR, error=text)


def error_text(error: BaseException) -> str:
    """Type and message on the first line, then the traceback from the handler's own code on, cut to
    ERROR_CHARS_MAX with a note where it was cut."""
    try:
        headline = traceback.format_exception_only(error)[-1].strip()
        frames = "".join(traceback.format_exception(type(error), error, _own_frames(error.__traceback__)))
    except Exception as broken:  # noqa: BLE001  a handler's exception may fail in its own __str__
        return f"{type(error).__name__} (its text cannot be shown: {type(broken).__name__})"
    return cut(f"{headline}\n\n{frames}".rstrip())


def cut(text: str) -> str:
    """At most ERROR_CHARS_MAX characters; what is left out is said. Half a surrogate becomes a question mark."""
    if len(text) > ERROR_CHARS_MAX:
        note = f"\n... {len(text) - ERROR_CHARS_MAX} characters left out ...\n"
        half = (ERROR_CHARS_MAX - len(note) - 10) // 2
        text = text[:half] + note + text[-half:]
    return text.encode("utf-8", "replace").decode("utf-8")


def _own_frames(frames: TracebackType | None) -> TracebackType | None:
    """Without the worker's own frames on top, which tell the reader of the error nothing."""
    last = frames
    while frames is not None and frames.tb_frame.f_globals.get("__name__") == "tq.worker.invoke":
        frames = frames.tb_next
    return frames or last
