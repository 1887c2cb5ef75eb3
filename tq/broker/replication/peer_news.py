"""What the log is told of peers: of each the first lines in a minute; the rest is counted, and told with the next one.

A node with another secret, or on another's disk, is met again every second for as long as nobody looks, and whoever
finds the port can open as many connections as he likes. One line a minute says all there is to say.
"""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.replication.ports import Monotonic
from tq.logs import get_logger

_log = get_logger("raft")

LINES_MAX = 5
"""Lines of one event about one peer in a window."""
WINDOW_SECONDS = 60.0
TOPICS_MAX = 1_000
"""Pairs of event and peer whose lines are counted; beyond them strangers share one."""
OTHERS = "others"


class _Topic:
    __slots__ = ("lines", "since", "withheld")

    def __init__(self, since: float) -> None:
        self.since = since
        self.lines = 0
        self.withheld = 0


class PeerNews:
    def __init__(self, clock: Monotonic) -> None:
        self._clock = clock
        self._topics: dict[tuple[str, str], _Topic] = {}

    def note(self, event: str, peer: str, text: str, /, **fields: object) -> None:
        """At level info."""
        self._tell(_log.info, event, peer, text, fields, LINES_MAX)

    def warn(
        self, event: str, peer: str, text: str, /, *, lines_max: int = LINES_MAX, **fields: object
    ) -> None:
        self._tell(_log.warning, event, peer, text, fields, lines_max)

    def _tell(
        self,
        write: Callable[..., None],
        event: str,
        peer: str,
        text: str,
        fields: dict[str, object],
        lines_max: int,
    ) -> None:
        now = self._clock()
        topic = self._topic(event, peer, now)
        if now - topic.since >= WINDOW_SECONDS:
            topic.since, topic.lines = now, 0
        if topic.lines >= lines_max:
            topic.withheld += 1
            return
        topic.lines += 1
        if topic.withheld:
            fields["withheld"], topic.withheld = topic.withheld, 0
        write(event, text, **fields)

    def _topic(self, event: str, peer: str, now: float) -> _Topic:
        known = self._topics.get((event, peer))
        if known is not None:
            return known
        if len(self._topics) >= TOPICS_MAX:
            self._topics = {
                key: each for key, each in self._topics.items() if now - each.since < WINDOW_SECONDS
            }
        key = (event, peer if len(self._topics) < TOPICS_MAX else OTHERS)
        return self._topics.setdefault(key, _Topic(now))
