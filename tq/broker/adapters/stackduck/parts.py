"""What the parts of this backend share: the two stores, the workers, the clock, and who is to be told of what."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field

from tq import documents
from tq.broker.adapters.stackduck.backlog import Backlog
from tq.broker.adapters.stackduck.pace import Pace
from tq.broker.adapters.stackduck.postgres_rows import PostgresRows
from tq.broker.adapters.stackduck.redis_queue import RedisQueue
from tq.broker.adapters.stackduck.sessions import Session, Sessions
from tq.broker.compat.stackduck.names import QUEUE, task_type_of
from tq.broker.compat.stackduck.stored import StoredJob
from tq.broker.compat.stackduck.tasks import state_of, view_of
from tq.broker.engine.roster import Roster
from tq.broker.engine.waiters import Waiters
from tq.broker.feed import Feed
from tq.broker.measures import TASK_BOUNDS_MS, Histogram, Labels
from tq.clock import Clock
from tq.ids import to_text
from tq.logs import get_logger
from tq.task import STATUS_OF_STATE
from tq.verbs import TaskEnded

_log = get_logger("stackduck")


@dataclass(slots=True)
class Tally:
    """Counted since the start. came: (status, task type). set_aside: members that could not be jobs. rounded: tasks whose
    priority is kept as its tier, or whose jitter is left out."""

    came: Counter[tuple[str, str]] = field(default_factory=Counter)
    labels: Labels = field(default_factory=Labels)
    runs: dict[str, Histogram] = field(default_factory=dict)
    waits: Histogram = field(default_factory=lambda: Histogram(TASK_BOUNDS_MS))
    set_aside: int = 0
    rounded: int = 0
    swept: int = 0
    requeued: int = 0
    """Rows that no queue knew, put back."""

    def run(self, job_type: str, ms: int) -> None:
        label = self.labels.of(task_type_of(job_type))
        found = self.runs.get(label)
        if found is None:
            found = self.runs[label] = Histogram(TASK_BOUNDS_MS)
        found.observe(ms)

    def count(self, status: str, job_type: str) -> None:
        self.came[status, self.labels.of(task_type_of(job_type))] += 1


@dataclass(slots=True)
class Parts:
    """wake: look for jobs to hand out. asked: called after the next such look. on_fatal: told of what must not happen."""

    clock: Clock
    redis: RedisQueue
    rows: PostgresRows
    roster: Roster
    sessions: Sessions
    waiters: Waiters
    feed: Feed
    backlog: Backlog
    on_fatal: Callable[[BaseException], None]
    pace: Pace
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    tally: Tally = field(default_factory=Tally)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    asked: list[Callable[[], None]] = field(default_factory=list)

    @property
    def now_us(self) -> int:
        return self.clock.now_ms() * 1000

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run beside everything else; what it raises is fatal, so it catches what may happen."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.on_fatal(error)

    def announce(self, jobs: Iterable[StoredJob], *, worker_id: str = "") -> None:
        """Tell the feed what these have become, and those who wait for one that has ended."""
        now_ms = self.clock.now_ms()
        everything = self.feed.is_wanted(now_ms)
        watched = self.feed.watched
        wanted = [job for job in jobs if everything or job.job_id in watched]
        if wanted:
            self.feed.publish(now_ms, "task_update", [self._fields(job, worker_id) for job in wanted])

    def _fields(self, job: StoredJob, worker_id: str) -> dict[str, object]:
        return {
            "task_id": to_text(job.job_id),
            "task_type": task_type_of(job.job_type),
            "queue": QUEUE,
            "status": STATUS_OF_STATE[state_of(job, self.now_us)],
            "worker_id": worker_id or None,
            "attempt": job.retries + 1,
            "error": job.error_message or None,
        }

    def tell_ended(self, job: StoredJob, result: bytes | None) -> None:
        """Those who wait for this job, which has ended, wait no more."""
        if not self.waiters.is_awaited(job.job_id):
            return
        view = view_of(job, self.now_us)._replace(
            result=result, result_bytes=-1 if result is None else len(result)
        )
        peers, tells = self.waiters.take(job.job_id)
        for peer in peers:
            peer.push(TaskEnded((view._replace(payload=None),)))
        for tell in tells:
            tell(view)

    def announce_worker(self, session: Session, change: str) -> None:
        said = session.said
        _log.info("worker", f"worker {said.worker_id} {change}", worker_id=said.worker_id, change=change)
        now_ms = self.clock.now_ms()
        if not self.feed.is_wanted(now_ms):
            return
        fields = {
            "worker_id": said.worker_id,
            "session_id": to_text(said.session_id),
            "change": change,
            "status": "active" if self.roster.is_connected(said.session_id) else "disconnected",
            "capacity": session.capacity,
            "host": said.host,
            "pid": said.pid,
        }
        self.feed.publish(now_ms, "worker_update", (fields,))


def moment(ms: int) -> str:
    """For what is written into Redis for people."""
    return documents.moment(ms) or ""
