"""What only the leader knows, for those who listen at another node: the numbers of the whole, and the workers' changes.

What happens to tasks every node sees in the log by itself. These are asked for once a second, and only while somebody
follows the feed.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterator

from tq import documents
from tq.broker.clustering.links import Links
from tq.broker.clustering.seat import Seat
from tq.broker.feed import Feed, Fields
from tq.errors import TqError
from tq.ids import to_text
from tq.verbs import GetSeries, GetStats, ListWorkers, Reply, Series, Stats, Workers, WorkerView

PULSE_SECONDS = 1.0


class Pulse:
    def __init__(
        self, feed: Feed, seat: Seat, links: Links, loop: AbstractEventLoop, *, now_ms: Callable[[], int]
    ) -> None:
        """Begins at once; `stop` ends it."""
        self._feed = feed
        self._seat = seat
        self._links = links
        self._loop = loop
        self._now_ms = now_ms
        self._workers: dict[bytes, WorkerView] | None = None
        self._latest: documents.Document = {}
        self._timer: TimerHandle = loop.call_later(PULSE_SECONDS, self._beat)

    def stop(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        self._timer = self._loop.call_later(PULSE_SECONDS, self._beat)
        leader = self._seat.leader
        if not self._feed.is_followed or not leader or leader == self._seat.node_id:
            self._workers = None
            return
        self._links.request(leader, GetSeries(), self._told)
        self._links.request(leader, GetStats(), self._told)
        self._links.request(leader, ListWorkers(), self._told)

    def _told(self, reply: Reply | TqError) -> None:
        if isinstance(reply, Series):
            self._latest = documents.of_latest(reply)
        elif isinstance(reply, Stats):
            self._feed.publish(self._now_ms(), "stats", ({**documents.of_stats(reply), **self._latest},))
        elif isinstance(reply, Workers):
            before, self._workers = self._workers, {each.session_id: each for each in reply.workers}
            if before is not None:
                self._feed.publish(self._now_ms(), "worker_update", _changes(before, self._workers))


def _changes(before: dict[bytes, WorkerView], now: dict[bytes, WorkerView]) -> Iterator[Fields]:
    for session_id, worker in now.items():
        known = before.get(session_id)
        if known is None:
            yield _fields(worker, "registered")
        elif (known.status, known.capacity) != (worker.status, worker.capacity):
            yield _fields(worker, "capacity" if worker.status == "active" else worker.status)
    for session_id, worker in before.items():
        if session_id not in now:
            yield _fields(worker._replace(status="disconnected"), "gone")


def _fields(worker: WorkerView, change: str) -> Fields:
    """As `engine.announcer` tells a change."""
    return {
        "worker_id": worker.worker_id,
        "session_id": to_text(worker.session_id),
        "change": change,
        "status": worker.status,
        "capacity": worker.capacity,
        "host": worker.host,
        "pid": worker.pid,
    }
