"""What the doors and the service count, in plain integers. The exporter reads them; nothing here talks to it."""

from __future__ import annotations

from collections import Counter

from tq.logs import get_logger
from tq.verbs import Request

DEPTH_WARNING = 10_000
"""Waiting tasks from which on the log says so: well before the threshold that refuses submits."""
DEPTH_CALM = 8_000
"""The warning is armed again below this, so that a depth that swings around the mark does not fill the log."""

_log = get_logger("broker")


class Observer:
    """Counters of one broker; only the event loop touches them.

    requests: verb -> how many arrived. rejections: error code -> how many answers carried it.
    connections_open: now, at the TCP door, refused ones not counted in; http_connections_open: at the REST door. connections_closed: reason -> how many.
    """

    def __init__(self) -> None:
        self.requests: Counter[type[Request]] = Counter()
        self.rejections: Counter[str] = Counter()
        self.connections_open = 0
        self.connections_total = 0
        self.http_connections_open = 0
        self.connections_closed: Counter[str] = Counter()
        self._warned = False

    def watch_depth(self, depth: int) -> None:
        """Log a warning once when the depth climbs over DEPTH_WARNING."""
        if depth > DEPTH_WARNING and not self._warned:
            self._warned = True
            _log.warning(
                "depth_high",
                f"{depth} tasks wait; are there enough workers?",
                depth=depth,
                mark=DEPTH_WARNING,
            )
        elif depth < DEPTH_CALM:
            self._warned = False
