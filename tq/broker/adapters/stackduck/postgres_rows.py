"""StackDuck's table: every statement that touches it. Rows and jobs are the same thing here.

Rules of the file:
- A row that has ended is changed by nobody but an operator's retry, and by an earlier end that was acknowledged while
  PostgreSQL was away: whoever comes second learns that it had ended. So a job is completed once in the record, however
  often it ran.
- Rows are marked by id. (StackDuck itself marks some row of the type as running; what it says is not trusted for that.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import asyncpg

from tq.broker.adapters.stackduck.lane import Lane
from tq.broker.adapters.stackduck.line import Line
from tq.broker.adapters.stackduck.schema import migrate
from tq.broker.adapters.stackduck.stores import Store
from tq.broker.compat.stackduck.payloads import normalise
from tq.broker.compat.stackduck.stored import ROW_STATUS, StoredJob
from tq.broker.measures import DISK_BOUNDS_NS, Histogram
from tq.clock import Clock
from tq.errors import BadRequest, TqError

_COLUMNS = (
    "id, job_type, payload, status, priority, retry_count, max_retries, error_message, delay, scheduled_at,"
    " started_at, completed_at, created_at, updated_at"
)
_INSERT = f"""
INSERT INTO jobs ({_COLUMNS})
SELECT u.id, u.job_type, u.payload::jsonb, u.status, u.priority, u.retry_count, u.max_retries, u.error_message, u.delay,
       u.scheduled_at, u.started_at, u.completed_at, COALESCE(u.created_at, NOW()), COALESCE(u.updated_at, NOW())
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::text[], $9::int[],
            $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[])
  AS u({_COLUMNS})
ON CONFLICT (id) DO NOTHING RETURNING id
"""
_INSERT_ONE = f"""
INSERT INTO jobs ({_COLUMNS})
VALUES ($1, $2, $3::text::jsonb, $4, $5, $6, $7, $8, $9, $10, $11, $12, COALESCE($13, NOW()), COALESCE($14, NOW()))
ON CONFLICT (id) DO NOTHING RETURNING id
"""
"""The same for one: it takes two thirds of the time, and jobs mostly come one by one."""
_ENDED = "('completed', 'failed', 'cancelled')"
_UPDATE = """
UPDATE jobs SET status = u.status, retry_count = u.retry_count, max_retries = u.max_retries,
       error_message = u.error_message, scheduled_at = u.scheduled_at, started_at = u.started_at,
       completed_at = u.completed_at
FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::timestamptz[], $9::bool[])
  AS u(id, status, retry_count, max_retries, error_message, scheduled_at, started_at, completed_at, revives)
WHERE jobs.id = u.id
"""
_CHANGE = f"""{_UPDATE}
  AND (lower(jobs.status) IN {_ENDED}) = u.revives
  AND (u.revives OR u.retry_count >= COALESCE(jobs.retry_count, 0))
RETURNING jobs.id
"""
_WRITE_DOWN = f"""{_UPDATE}
  AND CASE WHEN lower(u.status) IN {_ENDED} THEN lower(jobs.status) NOT IN ('completed', lower(u.status))
      ELSE lower(jobs.status) NOT IN {_ENDED} AND u.retry_count >= COALESCE(jobs.retry_count, 0) END
RETURNING jobs.id
"""
"""An end that was acknowledged while PostgreSQL was away: whoever ended the job otherwise meanwhile was not told so."""
_MARK = f"""
UPDATE jobs SET status = 'running', started_at = $2
WHERE id = ANY($1::uuid[]) AND lower(status) NOT IN {_ENDED} AND (lower(status) = 'queued' OR NOT $3)
RETURNING id
"""
_RESULT = (
    "INSERT INTO tq_results SELECT * FROM unnest($1::uuid[], $2::bytea[]) ON CONFLICT (job_id) DO NOTHING"
)


class Change(NamedTuple):
    """What a row is to become. revives: it is one that has ended; otherwise it must not have."""

    job: StoredJob
    revives: bool = False
    result: bytes = b""


class PostgresRows:
    """Raises StoreAway wherever it awaits."""

    def __init__(
        self, url: str, store: Store, on_fatal: Callable[[BaseException], None], clock: Clock
    ) -> None:
        self.store = store
        self._clock = clock
        self.commits = Histogram(DISK_BOUNDS_NS)
        self._writing, self._changing, self._reading = (Line(url, store) for _ in range(3))
        # A mark that is lost with the machine is found again: the job is in the running set then, or in its queue.
        self._marking = Line(url, store, settings={"synchronous_commit": "off"})
        self.inserts: Lane[Sequence[StoredJob], set[bytes]] = Lane(self._insert, on_fatal, weigh=len)
        """A verb's jobs, all or none -> the ids that were new."""
        self.changes: Lane[Change, bool] = Lane(self._change, on_fatal)
        """-> False when it had ended already (or, for one that revives, had not)."""

    async def look(self, *, may_migrate: bool = True) -> None:
        """See whether PostgreSQL is there, and bring its schema up. Raises StoreAway."""

        async def probe(connection: asyncpg.Connection) -> None:
            await connection.fetchval("SELECT 1")
            if may_migrate and not self.store.is_up:
                await migrate(connection)

        await self._reading.run(probe, is_probe=True)
        self.store.back()

    async def mark_running(self, ids: Sequence[bytes], *, at_us: int, is_strict: bool) -> set[bytes]:
        """Those that may run: not ended. is_strict: nor running anywhere."""
        rows = await self._marking.run(lambda c: c.fetch(_MARK, ids, at_us, is_strict))
        return {row["id"] for row in rows}

    async def find(self, ids: Iterable[bytes]) -> dict[bytes, StoredJob]:
        wanted = list(ids)
        rows = await self.fetch(f"SELECT {_COLUMNS} FROM jobs WHERE id = ANY($1::uuid[])", wanted)
        return {row["id"]: job_of_row(row) for row in rows}

    async def result_of(self, job_id: bytes) -> bytes | None:
        rows = await self.fetch("SELECT result FROM tq_results WHERE job_id = $1", job_id)
        return bytes(rows[0]["result"]) if rows else None

    async def results_of(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Of those that have one."""
        rows = await self.fetch("SELECT job_id, result FROM tq_results WHERE job_id = ANY($1::uuid[])", ids)
        return {row["job_id"]: bytes(row["result"]) for row in rows}

    async def list_jobs(self, where: str, *values: object) -> list[StoredJob]:
        """where: what follows `SELECT ... FROM jobs`."""
        return [job_of_row(row) for row in await self.fetch(f"SELECT {_COLUMNS} FROM jobs {where}", *values)]

    async def fetch(self, statement: str, *values: object) -> list[asyncpg.Record]:
        try:
            return list(await self._reading.run(lambda c: c.fetch(statement, *values)))
        except asyncpg.PostgresError as error:
            raise _refusal(error) from error

    async def insert_missing(self, jobs: Sequence[StoredJob]) -> dict[bytes, TqError]:
        """Rows for jobs that are known to Redis only; those that PostgreSQL refuses, with its reason."""
        ends = await self._insert([[job] for job in jobs])
        return {job.job_id: end for job, end in zip(jobs, ends, strict=True) if isinstance(end, TqError)}

    async def write_down(self, jobs: Sequence[StoredJob]) -> dict[bytes, TqError]:
        """Ends that the record missed, or has already; those that PostgreSQL refuses, with its reason."""
        ends = await self._change_all([Change(job) for job in jobs], _WRITE_DOWN)
        return {job_id: end for job_id, end in ends.items() if isinstance(end, TqError)}

    async def close(self) -> None:
        await self.inserts.stop()
        await self.changes.stop()
        for line in (self._writing, self._changing, self._reading, self._marking):
            await line.close()

    # ------------------------------------------------------------ batches

    async def _insert(self, verbs: Sequence[Sequence[StoredJob]]) -> list[set[bytes] | TqError]:
        try:
            added = await self._insert_all([job for jobs in verbs for job in jobs])
            return _shared_out(verbs, added)
        except asyncpg.PostgresError as error:
            if len(verbs) == 1:
                return [_refusal(error)]
        # One of them is at fault; the others must not suffer for it.
        results: list[set[bytes] | TqError] = []
        for jobs in verbs:
            try:
                results.append(await self._insert_all(jobs))
            except asyncpg.PostgresError as error:
                results.append(_refusal(error))
        return results

    async def _insert_all(self, jobs: Sequence[StoredJob]) -> set[bytes]:
        began_ns = self._clock.monotonic_ns()
        if len(jobs) == 1:
            rows = await self._writing.run(lambda c: c.fetch(_INSERT_ONE, *_row(jobs[0])))
        else:
            # Of an id that comes twice the first counts.
            columns = zip(*({job.job_id: _row(job) for job in reversed(jobs)}).values(), strict=True)
            rows = await self._writing.run(lambda c: c.fetch(_INSERT, *columns))
        self.commits.observe(self._clock.monotonic_ns() - began_ns)
        return {row["id"] for row in rows}

    async def _change(self, changes: Sequence[Change]) -> list[bool | TqError]:
        ends: list[bool | TqError] = [False] * len(changes)
        first: dict[bytes, int] = {}
        later: list[int] = []
        for position, change in enumerate(changes):
            if first.setdefault(change.job.job_id, position) != position:
                later.append(position)
        done = await self._change_all([changes[position] for position in first.values()])
        for job_id, position in first.items():
            ends[position] = done.get(job_id, False)
        # The second of two changes of one job sees what the first made of it.
        for position in later:
            done = await self._change_all([changes[position]])
            ends[position] = done.get(changes[position].job.job_id, False)
        return ends

    async def _change_all(
        self, changes: Sequence[Change], statement: str = _CHANGE
    ) -> dict[bytes, bool | TqError]:
        """What became of each. A job that Redis knew and PostgreSQL did not is put on record as it ends."""
        try:
            done = await self._update(changes, statement)
        except asyncpg.PostgresError as error:
            if len(changes) == 1:
                return {changes[0].job.job_id: _refusal(error)}
            # One of them is at fault; the others must not suffer for it.
            ends: dict[bytes, bool | TqError] = {}
            for each in changes:
                ends |= await self._change_all([each], statement)
            return ends
        ends = dict.fromkeys(done, True)
        unknown = [each.job for each in changes if each.job.job_id not in done]
        if unknown:
            for job, end in zip(unknown, await self._insert([[job] for job in unknown]), strict=True):
                ends[job.job_id] = end if isinstance(end, TqError) else bool(end)
        return ends

    async def _update(self, changes: Sequence[Change], statement: str) -> set[bytes]:
        columns = list(zip(*map(_change_row, changes), strict=True))
        results = [(change.job.job_id, change.result) for change in changes if change.result]

        async def use(connection: asyncpg.Connection) -> list[asyncpg.Record]:
            if not results:
                return list(await connection.fetch(statement, *columns))
            async with connection.transaction():
                rows = list(await connection.fetch(statement, *columns))
                ids = {row["id"] for row in rows}
                kept = [each for each in results if each[0] in ids]
                if kept:
                    await connection.execute(_RESULT, *zip(*kept, strict=True))
                return rows

        return {row["id"] for row in await self._changing.run(use)}


def _shared_out(verbs: Sequence[Sequence[StoredJob]], added: set[bytes]) -> list[set[bytes] | TqError]:
    results: list[set[bytes] | TqError] = []
    for jobs in verbs:
        own = {job.job_id for job in jobs} & added
        added = added - own
        results.append(own)
    return results


def job_of_row(row: asyncpg.Record) -> StoredJob:
    job = StoredJob(*row.values())
    return job._replace(payload=normalise(job.payload))


def _row(job: StoredJob) -> tuple[object, ...]:
    return job._replace(
        status=ROW_STATUS.get(job.status, job.status),
        priority=job.rank,
        error_message=_kept(job.error_message),
    )


def _change_row(change: Change) -> tuple[object, ...]:
    job = change.job
    status = ROW_STATUS.get(job.status, job.status)
    return (
        *(job.job_id, status, job.retries, job.retries_max, _kept(job.error_message)),
        *(job.scheduled_us, job.started_us, job.completed_us, change.revives),
    )


def _kept(text: str | None) -> str | None:
    """PostgreSQL keeps no NUL in a text."""
    return text.replace("\0", "\ufffd") if text and "\0" in text else text


def _refusal(error: asyncpg.PostgresError) -> TqError:
    if isinstance(error, (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)):
        return BadRequest(f"PostgreSQL does not take it: {str(error).splitlines()[0][:200]}")
    return TqError(f"PostgreSQL: {str(error).splitlines()[0][:200]}")
