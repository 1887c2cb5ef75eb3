"""Events as messages. Each is written out once, however many listen: ten dashboards cost little more than one."""

from __future__ import annotations

import json

from tq import documents
from tq.broker.feed import FeedEvent

TEXTS_CHARS_MAX = 1_000_000
"""Kept of the latest messages. Listeners that keep up take the same few events; one that is behind pays for its own."""


class EventTexts:
    """The latest messages of one feed. To be used on the event loop."""

    def __init__(self, chars_max: int = TEXTS_CHARS_MAX) -> None:
        self._chars_max = chars_max
        self._chars = 0
        self._texts: dict[int, str] = {}

    def of(self, event: FeedEvent) -> str:
        """The event as the JSON text that is sent."""
        text = self._texts.get(event.seq)
        return text if text is not None else self._write(event)

    def _write(self, event: FeedEvent) -> str:
        document = {
            "type": event.type,
            "seq": event.seq,
            "at": documents.moment(event.at_ms),
            **event.fields,
        }
        text = self._texts[event.seq] = compact(document)
        self._chars += len(text)
        while self._chars > self._chars_max:
            self._chars -= len(self._texts.pop(next(iter(self._texts))))
        return text


def compact(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
