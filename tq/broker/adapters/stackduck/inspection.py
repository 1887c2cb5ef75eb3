"""Reads a whole StackDuck deployment and changes nothing: `python -m tq.broker.adapters.stackduck.inspection COMMAND`.

    read     every job, each once: the rows, and what only Redis knows
    check    compares Redis with PostgreSQL

The stores are named by REDIS_URL and DATABASE_URL, as StackDuck names them. For programs (`tq-admin` is one, and does not
import the broker): prints one JSON object a line, the last of which has `event` = done or refused. Exit code 0, or 1
after `refused`, or 2 for wrong arguments.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from tq.broker.adapters.stackduck.postgres_rows import PostgresRows
from tq.broker.adapters.stackduck.redis_queue import PAGE, RedisQueue
from tq.broker.adapters.stackduck.stores import Store
from tq.broker.compat.stackduck.enqueue import PRIORITY_OF
from tq.broker.compat.stackduck.names import task_type_of
from tq.broker.compat.stackduck.stored import (
    DEFAULT_DELAY_S,
    FAILED,
    BadJob,
    StoredJob,
    parse_time,
    read_job,
    split_running,
)
from tq.broker.compat.stackduck.tasks import payload_bytes
from tq.clock import SystemClock
from tq.errors import TqError
from tq.ids import to_text

WAITING, DEAD, COMPLETED, CANCELLED = "waiting", "dead", "completed", "cancelled"
KIND_OF = {"failed": DEAD, "completed": COMPLETED, "cancelled": CANCELLED}
NAMED_MAX = 100
"""Ids of one kind of finding that are told."""


class Deployment:
    """Both stores, read only. They have to be there."""

    def __init__(self, redis_url: str, database_url: str) -> None:
        clock = SystemClock()
        self.redis = RedisQueue(redis_url, Store("Redis", clock), broker="inspection", alive_ms=1)
        self.rows = PostgresRows(database_url, Store("PostgreSQL", clock), _raise, clock)
        self.bad: list[str] = []

    async def open(self) -> None:
        """Raises StoreAway."""
        await self.rows.look(may_migrate=False)
        await self.redis.look()

    async def close(self) -> None:
        await self.rows.close()
        await self.redis.close()

    async def all_rows(self) -> AsyncIterator[StoredJob]:
        """Oldest first."""
        after_us, after_id = -(10**15), bytes(16)
        while page := await self.rows.list_jobs(
            "WHERE (created_at, id) > ($1::timestamptz, $2::uuid) ORDER BY created_at, id LIMIT $3",
            *(after_us, after_id, PAGE),
        ):
            for job in page:
                yield job
            after_us, after_id = page[-1].created_us or 0, page[-1].job_id

    async def with_results(self, jobs: AsyncIterator[StoredJob]) -> AsyncIterator[tuple[StoredJob, bytes]]:
        """The same jobs, those that completed with what they returned."""
        has_results = (await self.rows.fetch("SELECT to_regclass('tq_results') AS found"))[0][
            "found"
        ] is not None
        page: list[StoredJob] = []

        async def told() -> list[tuple[StoredJob, bytes]]:
            found = await self.rows.results_of([job.job_id for job in page]) if has_results else {}
            return [(job, found.get(job.job_id, b"")) for job in page]

        async for job in jobs:
            page.append(job)
            if len(page) == PAGE:
                for each in await told():
                    yield each
                page.clear()
        for each in await told():
            yield each

    async def queued(self) -> AsyncIterator[StoredJob]:
        for job_type in await self.redis.job_types():
            async for member in self.redis.members(job_type):
                job = self._read(member)
                if job is not None:
                    yield job

    async def running(self) -> AsyncIterator[StoredJob]:
        async for member, _ in self.redis.running():
            try:
                text = split_running(member.decode())
            except (BadJob, UnicodeDecodeError) as error:
                self._note(member, error)
                continue
            job = self._read(text.encode())
            if job is not None:
                yield job

    async def letters(self) -> AsyncIterator[StoredJob]:
        for job_type in await self.redis.dead_letter_types():
            start = 0
            while page := await self.redis.dead_letters(job_type, start):
                start += len(page)
                for entry in page:
                    job = self._letter(entry)
                    if job is not None:
                        yield job

    def _read(self, member: bytes) -> StoredJob | None:
        try:
            return read_job(member.decode())
        except (BadJob, UnicodeDecodeError) as error:
            self._note(member, error)
            return None

    def _letter(self, entry: bytes) -> StoredJob | None:
        try:
            found = json.loads(entry)
            created = found.get("original_created_at")
            job = {"id": found["job_id"], "status": FAILED, "error_message": found["reason"]}
            kept = {
                key: found.get(key) for key in ("job_type", "payload", "max_retries", "retry_count", "delay")
            }
            read = read_job(json.dumps({**job, **kept}))
            failed = found.get("failed_at")
            return read._replace(
                created_us=parse_time(created) if created else None,
                completed_us=parse_time(failed) if failed else None,
            )
        except (BadJob, ValueError, KeyError, TypeError, AttributeError) as error:
            self._note(entry, error)
            return None

    def _note(self, member: bytes, error: Exception) -> None:
        self.bad.append(f"{member[:60].decode('ascii', 'backslashreplace')}: {error}")


async def read(deployment: Deployment) -> None:
    """One line a job, then the counts."""
    counts: Counter[str] = Counter()
    seen: set[bytes] = set()
    in_queue = {job.job_id async for job in deployment.queued()}
    in_running = {job.job_id async for job in deployment.running()}
    deployment.bad.clear()

    def tell(job: StoredJob, kind: str, source: str, result: bytes = b"") -> None:
        if job.job_id in seen:
            return
        seen.add(job.job_id)
        counts[source] += 1
        _say("job", **_task(job, kind, result))

    async for job, result in deployment.with_results(deployment.all_rows()):
        kind = KIND_OF.get(job.status.lower(), WAITING)
        source = "history"
        if kind == WAITING:
            source = (
                "running"
                if job.job_id in in_running
                else "queue"
                if job.job_id in in_queue
                else "orphan_rows"
            )
        elif kind == DEAD:
            source = "dead_letters"
        tell(job, kind, source, result)
    async for job in deployment.queued():
        tell(job, WAITING, "redis_only")
    async for job in deployment.running():
        tell(job, WAITING, "redis_only")
    async for job in deployment.letters():
        tell(job, DEAD, "dead_letters")
    _say("done", counts={**counts, "unreadable": len(deployment.bad)}, unreadable=deployment.bad[:NAMED_MAX])


async def check(deployment: Deployment) -> None:
    """What one store has and the other has not."""
    waiting: set[bytes] = set()
    ended: set[bytes] = set()
    async for job in deployment.all_rows():
        (ended if job.has_ended else waiting).add(job.job_id)
    queued = Counter([job.job_id async for job in deployment.queued()])
    running = Counter([job.job_id async for job in deployment.running()])
    in_redis = queued.keys() | running.keys()
    findings = {
        "rows_in_no_queue": waiting - in_redis,
        "jobs_without_a_row": in_redis - waiting - ended,
        "ended_but_in_redis": in_redis & ended,
        "more_than_once": {each for each in in_redis if queued[each] + running[each] > 1},
    }
    _say(
        "done",
        counts={
            "rows_waiting": len(waiting),
            "rows_ended": len(ended),
            "queued": queued.total(),
            "running": running.total(),
            "unreadable": len(deployment.bad),
            **{name: len(found) for name, found in findings.items()},
        },
        findings={name: sorted(map(to_text, found))[:NAMED_MAX] for name, found in findings.items()},
        unreadable=deployment.bad[:NAMED_MAX],
    )


COMMANDS = {"read": read, "check": check}


def main(arguments: Sequence[str]) -> int:
    urls = os.environ.get("REDIS_URL"), os.environ.get("DATABASE_URL")
    if len(arguments) != 1 or arguments[0] not in COMMANDS or not urls[0] or not urls[1]:
        sys.stderr.write(__doc__ or "")
        return 2

    async def run(redis_url: str, database_url: str) -> None:
        deployment = Deployment(redis_url, database_url)
        try:
            await deployment.open()
            await COMMANDS[arguments[0]](deployment)
        finally:
            await deployment.close()

    try:
        asyncio.run(run(urls[0], urls[1]))
    except TqError as error:
        _say("refused", text=error.text)
        return 1
    return 0


def _task(job: StoredJob, kind: str, result: bytes) -> dict[str, object]:
    """What a task needs to be this job."""
    return {
        "kind": kind,
        "task_id": to_text(job.job_id),
        "task_type": task_type_of(job.job_type),
        "payload": base64.b64encode(payload_bytes(job.payload)).decode(),
        "priority": PRIORITY_OF[job.rank],
        "max_retries": job.retries_max,
        "retry_count": job.retries,
        "delay_s": job.delay_s or DEFAULT_DELAY_S,
        "schedule_at_ms": (job.scheduled_us or 0) // 1000,
        "created_ms": _ms(job.created_us),
        "started_ms": _ms(job.started_us),
        "ended_ms": _ms(job.completed_us or job.updated_us),
        "result": base64.b64encode(result).decode(),
        "error": job.error_message or "",
    }


def _ms(us: int | None) -> int:
    return max(us or 0, 0) // 1000


def _say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def _raise(error: BaseException) -> None:
    raise error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
