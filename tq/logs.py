"""Logs: one event, one sentence, some fields, on one line.

    log = get_logger("broker")
    log.info("ready", "broker is ready", addresses={"tcp": "127.0.0.1:6379"})

Rules of the file:
- A call below the configured level costs one comparison; nothing is formatted.
- A field named in WITHHELD never reaches the output, at any depth: payloads and secrets do not belong in logs.
- Logging never raises and never stops the process: a line that cannot be written is counted and given up.
- Loggers may be made before `configure` is called, at import too; they follow it. Until then warnings and
  errors go to stderr as text, which suits programs that only use the client.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from tq import ids
from tq.clock import Clock, SystemClock

if TYPE_CHECKING:
    import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
"""The words that `configure` takes, and their weight."""
FORMATS = ("text", "json")

WITHHELD = frozenset(
    {"payload", "payload_json", "result", "token", "api_key", "password", "secret", "authorization"}
)
DEPTH_MAX = 4
"""Fields nested deeper are shown by their repr: a log line is not a data structure."""
ITEMS_MAX = 100
"""A longer list or map in a field is cut, and says so."""
TEXT_CHARS_MAX = 16 * 1024
"""A longer text in a field is cut, and says so."""

_LEADING = ("timestamp", "level", "message", "event", "component")

Level = Literal["debug", "info", "warning", "error", "critical"]


class Logger:
    """Speaks for one component. Cheap to make, safe to share between threads."""

    __slots__ = ("_component", "_fields")

    def __init__(self, component: str, fields: Mapping[str, object]) -> None:
        self._component = component
        self._fields = fields

    def bind(self, **fields: object) -> Logger:
        """The same logger with fields that go with every line, such as task_id."""
        return Logger(self._component, {**self._fields, **fields})

    def is_enabled(self, level: Level) -> bool:
        """Would a line of this level be written? For callers whose fields are dear to work out."""
        return LEVELS[level] >= _outlet.level

    def debug(self, event: str, message: str = "", /, **fields: object) -> None:
        if _outlet.level <= 10:
            self._write("debug", event, message, fields)

    def info(self, event: str, message: str = "", /, **fields: object) -> None:
        if _outlet.level <= 20:
            self._write("info", event, message, fields)

    def warning(self, event: str, message: str = "", /, **fields: object) -> None:
        if _outlet.level <= 30:
            self._write("warning", event, message, fields)

    def error(self, event: str, message: str = "", /, **fields: object) -> None:
        """exc_info=True, or an exception, adds the traceback as the field `exception`."""
        if _outlet.level <= 40:
            self._write("error", event, message, fields)

    def critical(self, event: str, message: str = "", /, **fields: object) -> None:
        if _outlet.level <= 50:
            self._write("critical", event, message, fields)

    def _write(self, level: str, event: str, message: str, fields: Mapping[str, object]) -> None:
        line = {**self._fields, **fields}
        line.update(level=level, message=message or event, component=self._component)
        line.pop("event", None)
        _outlet.write(event, line)


def get_logger(component: str) -> Logger:
    """The logger of a part of the system; its name becomes the field `component`."""
    return Logger(component, {})


def configure(level: str, format: str, stream: TextIO | None = None, *, clock: Clock | None = None) -> None:
    """Say once per process what is written and how; a later call replaces an earlier one.

    level: a key of LEVELS; format: one of FORMATS. stream: stdout unless given.
    Lines of the standard library's `logging` from `warning` up (asyncio's complaints, other libraries) and
    Python's own warnings come out in the same shape, with the logger's name as component.
    Raises ValueError for a word it does not know.
    """
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is not one of {', '.join(LEVELS)}")
    if format not in FORMATS:
        raise ValueError(f"log format {format!r} is not one of {', '.join(FORMATS)}")
    _outlet.open(LEVELS[level], format, stream or sys.stdout, clock or SystemClock())
    _take_over_standard_logging(LEVELS[level])


class _Sink:
    """A stream that may go away. structlog calls `msg` with a finished line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self.lines_lost = 0

    def msg(self, line: str) -> None:
        if self._stream is None:
            self.lines_lost += 1
            return
        try:
            # Lone surrogates and characters outside a small encoding must not cost the line.
            text = line.encode(self._encoding, "backslashreplace").decode(self._encoding)
            # One write for one line, so that lines of several threads do not mix.
            self._stream.write(text + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            # The reader is gone or the file is closed, for good. ValueError is what a closed file raises.
            self.lines_lost += 1
            self._let_go()
        except OSError:
            # A full disk or a pipe that is full for the moment: this line is lost, the next may pass.
            self.lines_lost += 1

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        try:
            # Python flushes stdout once more at exit and would end with status 120 on a broken pipe.
            descriptor = stream.fileno() if stream else -1
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)
        except (OSError, ValueError):
            # Not a real file, or closed already: then nothing is left to flush.
            return


class _Outlet:
    """Where lines go: the one thing in tq that a process sets once and every module sees."""

    def __init__(self) -> None:
        self.level = LEVELS["warning"]
        self._logger: structlog.BoundLoggerBase | None = None

    def open(self, level: int, format: str, stream: TextIO, clock: Clock) -> None:
        # structlog brings Rich along, 100 ms; importing it here spares every start of a command line that.
        import structlog

        def stamp(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
            line["timestamp"] = _iso_ms(clock.now_ms())
            return line

        self._logger = structlog.wrap_logger(
            _Sink(stream),
            processors=[
                stamp,
                structlog.processors.ExceptionRenderer(),
                _tidy,
                _as_json if format == "json" else _as_text,
            ],
            wrapper_class=structlog.BoundLoggerBase,
            context_class=dict,
        ).bind()
        self.level = level

    def write(self, event: str, line: dict[str, object]) -> None:
        if self._logger is None:
            self.open(self.level, "text", sys.stderr, SystemClock())
        assert self._logger is not None
        self._logger._proxy_to_logger("msg", event, **line)


_outlet = _Outlet()


def _iso_ms(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tidy(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Plain JSON values only, nothing withheld, the leading fields first."""
    rest = {key: value for key, value in line.items() if key not in _LEADING}
    return {key: _plain(line[key], key, DEPTH_MAX) for key in _LEADING} | _plain_map(rest, DEPTH_MAX)


def _plain_map(fields: Mapping[Any, object], depth: int) -> dict[str, object]:
    kept = [(str(key), value) for key, value in fields.items() if str(key).lower() not in WITHHELD]
    shown = {key: _plain(value, key, depth - 1) for key, value in kept[:ITEMS_MAX]}
    if len(kept) > ITEMS_MAX:
        shown["..."] = f"{len(kept) - ITEMS_MAX} more"
    return shown


def _plain(value: object, key: str, depth: int) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, float):
        # JSON has no word for these, and half of the readers of logs choke on them.
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return ids.to_text(value) if len(value) == ids.ID_BYTES and key.endswith("_id") else _cut(value.hex())
    if isinstance(value, BaseException):
        return _cut(f"{type(value).__name__}: {value}")
    if isinstance(value, Mapping) and depth > 0:
        return _plain_map(value, depth)
    if isinstance(value, list | tuple | set | frozenset) and depth > 0:
        return _plain_list(list(value), key, depth)
    return _cut(_repr(value))


def _plain_list(values: list[object], key: str, depth: int) -> list[object]:
    key = key.removesuffix("s")
    shown = [_plain(value, key, depth - 1) for value in values[:ITEMS_MAX]]
    return shown if len(values) <= ITEMS_MAX else [*shown, f"... {len(values) - ITEMS_MAX} more"]


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  somebody else's __repr__ may raise anything; a log line must not
        return f"<{type(value).__name__} whose repr fails>"


def _cut(text: str) -> str:
    return (
        text
        if len(text) <= TEXT_CHARS_MAX
        else f"{text[:TEXT_CHARS_MAX]}... {len(text) - TEXT_CHARS_MAX} more"
    )


def _as_json(_logger: object, _method: str, line: MutableMapping[str, Any]) -> str:
    return json.dumps(line)


def _as_text(_logger: object, _method: str, line: MutableMapping[str, Any]) -> str:
    """`12:00:00.123Z INFO    broker: broker is ready [ready] addresses={...}`, for people."""
    timestamp, level, message, event, component = (str(line[key]) for key in _LEADING)
    fields = "".join(
        f" {key}={_word(value)}" for key, value in line.items() if key not in (*_LEADING, "exception")
    )
    # A line break in a message could forge a line of its own.
    message = message.replace("\r", "\\r").replace("\n", "\\n")
    text = f"{timestamp} {level.upper():<8} {component}: {message} [{event}]{fields}"
    return f"{text}\n{line['exception']}" if line.get("exception") else text


def _word(value: object) -> str:
    return (
        value
        if isinstance(value, str) and value and value.isprintable() and " " not in value
        else json.dumps(value)
    )


class _FromStandardLogging(logging.Handler):
    """Lines of the standard library's logging, in our shape."""

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple):
            # grpcio logs a header that is no text, as it came: it may be a key.
            record.args = tuple(map(_withheld, record.args))
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        logger = Logger(record.name, {})
        write: dict[str, Callable[..., None]] = {"WARNING": logger.warning, "ERROR": logger.error}
        fields = {"exc_info": record.exc_info} if record.exc_info else {}
        write.get(record.levelname, logger.critical)("library_log", message, **fields)


def _withheld(value: object) -> object:
    """Bytes that a library would show: nobody knows what they are."""
    return f"<{len(value)} bytes>" if isinstance(value, bytes | bytearray) else value


def _take_over_standard_logging(level: int) -> None:
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _FromStandardLogging)]:
        root.removeHandler(handler)
    # Below warning, libraries tell their own story, not ours.
    root.addHandler(_FromStandardLogging(max(level, logging.WARNING)))
    logging.captureWarnings(True)
