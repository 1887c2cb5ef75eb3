"""What operators ask: numbers, workers, many tasks at once. Counted in PostgreSQL, at most once a second."""

from __future__ import annotations

from tq.broker.adapters.stackduck.by_name import ByName
from tq.broker.adapters.stackduck.parts import Parts
from tq.broker.adapters.stackduck.reading import where_of
from tq.broker.adapters.stackduck.sessions import Session
from tq.broker.compat.stackduck.names import QUEUE, task_type_of
from tq.broker.compat.stackduck.tasks import QUEUES
from tq.errors import InvalidStatus, TaskNotFound, Unsupported
from tq.task import (
    CANCELLED,
    COMPLETED,
    DEAD_LETTER,
    ENDED_STATES,
    IN_PROGRESS,
    LIVE_STATES,
    PENDING,
    RETRYING,
    SCHEDULED,
    Cause,
)
from tq.verbs import (
    CancelMany,
    Changed,
    Failure,
    Failures,
    ForgetMany,
    ListFailures,
    Purge,
    Purged,
    Queues,
    QueueStats,
    QueueView,
    RetryMany,
    Stats,
    TypeStats,
    Workers,
    WorkerView,
)

STATS_AGE_MS = 1_000
TYPES_SHOWN_MAX = 100
_COUNTS = """
SELECT lower(status) AS status, job_type, COALESCE(priority, 2) AS rank,
       COALESCE(scheduled_at, created_at) > NOW() AS is_later, COALESCE(retry_count, 0) > 0 AS is_retry, count(*) AS n,
       count(*) FILTER (WHERE completed_at > NOW() - INTERVAL '1 hour') AS last_hour,
       COALESCE(sum(EXTRACT(EPOCH FROM completed_at - started_at)) FILTER
         (WHERE completed_at > NOW() - INTERVAL '1 hour'), 0)::float8 AS run_s,
       COALESCE(EXTRACT(EPOCH FROM NOW() - min(COALESCE(scheduled_at, created_at))), 0)::float8 AS oldest_s
FROM jobs GROUP BY 1, 2, 3, 4, 5
"""


class Operating:
    def __init__(self, parts: Parts, by_name: ByName) -> None:
        self._parts = parts
        self._by_name = by_name
        self._counted: tuple[int, Stats, tuple[TypeStats, ...]] | None = None

    # ------------------------------------------------------------ numbers

    async def stats(self) -> Stats:
        return (await self._count())[0]

    async def queues(self) -> Queues:
        stats, types = await self._count()
        return Queues(tuple(QueueView(queue, types) for queue in stats.queues))

    @property
    def latest(self) -> Stats | None:
        """What was counted last; None = nothing yet."""
        return self._counted[1] if self._counted is not None else None

    async def _count(self) -> tuple[Stats, tuple[TypeStats, ...]]:
        """Raises StoreAway."""
        now_ms = self._parts.clock.now_ms()
        if self._counted is None or now_ms - self._counted[0] > STATS_AGE_MS:
            rows = await self._parts.rows.fetch(_COUNTS)
            self._counted = (now_ms, *self._summed([dict(row.items()) for row in rows]))
        return self._counted[1:]

    def _summed(self, rows: list[dict[str, object]]) -> tuple[Stats, tuple[TypeStats, ...]]:
        states = dict.fromkeys((*LIVE_STATES, *ENDED_STATES), 0)
        hour = {COMPLETED: 0, DEAD_LETTER: 0}
        pending: dict[str, int] = {}
        depth = {1: 0, 2: 0, 3: 0}
        oldest_s = run_s = 0.0
        for row in rows:
            state = _state(row)
            n = int(str(row["n"]))
            states[state] += n
            if state in hour:
                hour[state] += int(str(row["last_hour"]))
            if state == COMPLETED:
                run_s += float(str(row["run_s"]))
            if state == PENDING:
                name = task_type_of(str(row["job_type"]))
                pending[name] = pending.get(name, 0) + n
                depth[int(str(row["rank"]))] += n
                oldest_s = max(oldest_s, float(str(row["oldest_s"])))
        served = self._served()
        oldest_ms = int(oldest_s * 1000)
        queue = QueueStats(
            *(QUEUE, states[PENDING], states[IN_PROGRESS], states[SCHEDULED], 0, states[RETRYING]),
            *(states[DEAD_LETTER], oldest_ms),
            unserved=tuple(sorted(set(pending) - set(served))[:TYPES_SHOWN_MAX]),
        )
        stats = Stats(
            pending_count=states[PENDING],
            in_progress_count=states[IN_PROGRESS],
            scheduled_count=states[SCHEDULED],
            blocked_count=0,
            retrying_count=states[RETRYING],
            completed_count=states[COMPLETED],
            dead_letter_count=states[DEAD_LETTER],
            cancelled_count=states[CANCELLED],
            expired_count=0,
            completed_last_hour=hour[COMPLETED],
            failed_last_hour=hour[DEAD_LETTER],
            worker_count=self._parts.roster.connected_count(),
            avg_processing_time_ms=int(run_s * 1000 / hour[COMPLETED]) if hour[COMPLETED] else 0,
            oldest_pending_age_ms=oldest_ms,
            depth_high=depth[1],
            depth_normal=depth[2],
            depth_low=depth[3],
            queues=(queue,),
        )
        most = sorted(pending.items(), key=lambda one: (-one[1], one[0]))[:TYPES_SHOWN_MAX]
        return stats, tuple(TypeStats(name, n, served.get(name, 0)) for name, n in most)

    def _served(self) -> dict[str, int]:
        """Task type -> workers of this broker that serve it."""
        served: dict[str, int] = {}
        for session in self._parts.sessions:
            for name in session.said.task_types if session.job_types else ():
                served[name] = served.get(name, 0) + 1
        return served

    def workers(self) -> Workers:
        """Of this broker."""
        return Workers(tuple(self._worker(session) for session in self._parts.sessions))

    def _worker(self, session: Session) -> WorkerView:
        said, presence = session.said, self._parts.roster.presence(session.session_id)
        if presence is None or presence.peer is None:
            status = "disconnected"
        else:
            status = "active" if session.capacity or session.claim is not None else "draining"
        return WorkerView(
            worker_id=said.worker_id,
            session_id=session.session_id,
            host=said.host,
            pid=said.pid,
            version=said.version,
            status=status,
            capacity=session.capacity,
            queues=said.queues,
            task_types=said.task_types,
            task_ids=tuple(session.held),
            cpu_percent=presence.beat.cpu_percent if presence else 0,
            memory_bytes=presence.beat.memory_bytes if presence else 0,
            last_heartbeat_ms=presence.beat_wall_ms if presence else 0,
            connected_ms=presence.connected_ms if presence else 0,
        )

    async def failures(self, request: ListFailures) -> Failures:
        """The jobs that failed last, with their last error: StackDuck keeps no other."""
        jobs = await self._parts.rows.list_jobs(
            "WHERE COALESCE(error_message, '') <> '' ORDER BY updated_at DESC LIMIT $1", request.limit
        )
        return Failures(
            tuple(
                Failure(
                    at_ms=(job.updated_us or 0) // 1000,
                    task_id=job.job_id,
                    task_type=task_type_of(job.job_type),
                    queue=QUEUE,
                    state=DEAD_LETTER if job.has_ended else RETRYING,
                    attempt=max(job.retries, 1),
                    worker_id="",
                    cause=Cause.ERROR,
                    error=(job.error_message or "").strip().splitlines()[0][:200],
                )
                for job in jobs
                if (job.error_message or "").strip()
            )
        )

    # ------------------------------------------------------------ many at once

    async def cancel_many(self, request: CancelMany) -> Changed:
        """Raises StoreAway, Unsupported."""
        states = (request.state,) if request.state else LIVE_STATES
        ids, cursor = await self._chosen(request, states)
        done = 0
        for job_id in ids:
            try:
                await self._by_name.cancel(job_id, request.force)
                done += 1
            except (TaskNotFound, InvalidStatus):
                continue
        return Changed(done, len(ids) - done, cursor)

    async def retry_many(self, request: RetryMany) -> Changed:
        states = (request.state,) if request.state else (DEAD_LETTER, CANCELLED)
        ids, cursor = await self._chosen(request, states)
        done = 0
        for job_id in ids:
            try:
                await self._by_name.retry(job_id, request.max_retries)
                done += 1
            except (TaskNotFound, InvalidStatus):
                continue
        return Changed(done, len(ids) - done, cursor)

    async def forget_many(self, request: ForgetMany) -> Changed:
        states = (request.state,) if request.state else ENDED_STATES
        ids, cursor = await self._chosen(request, states)
        done = await self._forget(ids)
        return Changed(done, len(ids) - done, cursor)

    async def purge(self, request: Purge) -> Purged:
        if request.queue and request.queue not in QUEUES:
            return Purged(0, False)
        values: list[object] = [(self._parts.clock.now_ms() - request.older_than_ms) * 1000]
        where = f"updated_at <= $1::timestamptz AND {where_of(request.state, request.task_type, values)}"
        rows = await self._parts.rows.fetch(
            f"SELECT id FROM jobs WHERE {where} LIMIT {request.limit}", *values
        )
        ids = [row["id"] for row in rows]
        if request.state in LIVE_STATES:
            for job_id in ids:
                try:
                    await self._by_name.cancel(job_id, False)
                except (TaskNotFound, InvalidStatus):
                    continue
        return Purged(await self._forget(ids), len(ids) == request.limit)

    async def _chosen(
        self, request: CancelMany | RetryMany | ForgetMany, states: tuple[int, ...]
    ) -> tuple[list[bytes], int]:
        """(ids, next cursor)."""
        if request.task_ids:
            return list(request.task_ids), 0
        if getattr(request, "fingerprint", ""):
            raise Unsupported("dead letters are not grouped on StackDuck's stores")
        if request.queue and request.queue not in QUEUES:
            return [], 0
        values: list[object] = []
        where = " OR ".join(f"({where_of(state, '', values)})" for state in states)
        where = f"({where})" + where_of(0, request.task_type, values).removeprefix("TRUE")
        if request.cursor:
            values.append(request.cursor)
            where += f" AND created_at < ${len(values)}::timestamptz"
        rows = await self._parts.rows.fetch(
            f"SELECT id, created_at FROM jobs WHERE {where} ORDER BY created_at DESC LIMIT {request.limit}",
            *values,
        )
        cursor = rows[-1]["created_at"] if len(rows) == request.limit else 0
        return [row["id"] for row in rows], cursor

    async def _forget(self, ids: list[bytes]) -> int:
        """Rows that have ended go, with their results."""
        rows = await self._parts.rows.fetch(
            "WITH gone AS (DELETE FROM jobs WHERE id = ANY($1::uuid[]) AND"
            " lower(status) IN ('completed', 'failed', 'cancelled') RETURNING id),"
            " results AS (DELETE FROM tq_results WHERE job_id IN (SELECT id FROM gone)) SELECT id FROM gone",
            ids,
        )
        return len(rows)


def _state(row: dict[str, object]) -> int:
    status = row["status"]
    known = {"completed": COMPLETED, "failed": DEAD_LETTER, "cancelled": CANCELLED, "running": IN_PROGRESS}
    found = known.get(str(status))
    if found is not None:
        return found
    if row["is_later"]:
        return RETRYING if row["is_retry"] else SCHEDULED
    return PENDING
