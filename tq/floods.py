"""Bounds what one event may write to the log: ten thousand failures a second are one problem, not as many lines.

The first lines of an event in a second are written. The rest is counted, and told in one line at the end of the second,
with the kinds it was about. Nothing is lost without being counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

from tq.logs import Logger

LINES_MAX = 10
"""Lines of one event in one window; more of the same teach nobody anything."""
WINDOW_MS = 1_000
KINDS_MAX = 20
"""Kinds told by name in the line for the rest; further ones share `other`."""

Level = Literal["warning", "error"]


class Flood:
    """Keeps the count of one part's lines. Not safe between threads. `turn` is to be called now and then."""

    def __init__(self, log: Logger, now_ms: int) -> None:
        """now_ms: monotonic, as for `turn`."""
        self._log = log
        self._since_ms = now_ms
        self._written: Counter[str] = Counter()
        self._withheld: dict[tuple[Level, str], Counter[str]] = {}

    def lets(self, level: Level, event: str, kind: str) -> bool:
        """Whether the line may be written; if not, it has been counted. kind: a task type, or the like."""
        if self._written[event] < LINES_MAX:
            self._written[event] += 1
            return True
        counts = self._withheld.setdefault((level, event), Counter())
        counts[kind if kind in counts or len(counts) < KINDS_MAX else "other"] += 1
        return False

    def turn(self, now_ms: int) -> None:
        """Begin a new window once the last one is over, and tell what it withheld."""
        if now_ms - self._since_ms < WINDOW_MS:
            return
        window_ms, self._since_ms = now_ms - self._since_ms, now_ms
        self._written.clear()
        withheld, self._withheld = self._withheld, {}
        for (level, event), counts in withheld.items():
            count = counts.total()
            text = f"{count} more lines of {event} within {window_ms / 1000:.1f} s"
            write = self._log.error if level == "error" else self._log.warning
            write("lines_withheld", text, withheld=event, count=count, kinds=dict(counts))
