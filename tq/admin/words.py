"""Numbers and bytes as people read them. Pure text in, text out; nothing here knows a terminal."""

from __future__ import annotations

import json

BYTES_SHOWN_MAX = 4096
"""More of a payload or result than this does not help on a screen; `--format json` has all of it."""
BAR_CELLS = 40

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000))
_SIZES = ("KB", "MB", "GB", "TB")


def duration(ms: int) -> str:
    """The two largest units: `3m 12s`, `2d 5h`; below a second `850ms`."""
    if ms < 1000:
        return f"{max(ms, 0)}ms"
    parts = []
    for unit, size_ms in _UNITS:
        count, ms = divmod(ms, size_ms)
        parts.append(f"{count}{unit}" if count else "")
    first = next(position for position, part in enumerate(parts) if part)
    return " ".join(part for part in parts[first : first + 2] if part)


def age(then_ms: int, now_ms: int) -> str:
    """How long ago; `-` for never, `in 5m` for what lies ahead."""
    if not then_ms:
        return "-"
    return duration(now_ms - then_ms) if then_ms <= now_ms else f"in {duration(then_ms - now_ms)}"


def size(count: int) -> str:
    """Bytes in powers of 1024: `1.5 MB`."""
    if count < 1024:
        return f"{count} B"
    amount, unit = count / 1024, 0
    while amount >= 1024 and unit < len(_SIZES) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_SIZES[unit]}"


def number(count: int) -> str:
    """`1,234,567`"""
    return f"{count:,}"


def plain(text: str) -> str:
    """The text on one line, without control characters: a task's name must not move the reader's cursor."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def plain_lines(text: str) -> str:
    """The same for text of several lines, such as a traceback."""
    return "\n".join(plain(line.expandtabs()) for line in text.splitlines())


def data(content: bytes) -> str:
    """A payload or result: JSON laid out, text as it is, anything else in hexadecimal; cut when long."""
    shown, more = content[:BYTES_SHOWN_MAX], len(content) - BYTES_SHOWN_MAX
    tail = f"\n... {number(more)} bytes more" if more > 0 else ""
    try:
        # A cut may go through a character; up to three bytes of it are left out.
        text = shown.decode(errors="strict" if not tail else "ignore")
    except UnicodeDecodeError:
        return _hexadecimal(shown) + tail
    if any(not (letter.isprintable() or letter in "\n\r\t") for letter in text):
        return _hexadecimal(shown) + tail
    return plain_lines(text if tail else _laid_out(text)) + tail


def bar(part: int, whole: int) -> str:
    """A bar of up to BAR_CELLS cells; what is not nothing gets at least a sliver."""
    if part <= 0 or whole <= 0:
        return ""
    eighths = max(1, part * BAR_CELLS * 8 // whole)
    full, rest = divmod(min(eighths, BAR_CELLS * 8), 8)
    return "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")


def _laid_out(text: str) -> str:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(document, indent=2, ensure_ascii=False) if isinstance(document, dict | list) else text


def _hexadecimal(content: bytes) -> str:
    return content.hex(" ", -4)
