"""Job documents in Redis, on rustq's keys: what either side writes, the other reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import hiredis
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript

from tq.client.rustq import redis_scripts
from tq.client.rustq.job import BadJob, Job, JobStatus, from_json
from tq.client.rustq.storage import CRASHES_MAX, LEASE_MS, Claim, End, Entry, Verdict
from tq.errors import BadRequest, BrokerUnavailable

CONNECTIONS_MAX = 16
SOCKET_SECONDS = 10.0
"""A Redis that is silent for so long is taken for away."""
CRASH_MS = 7 * 24 * 3600 * 1000
"""How long a worker's death with a job is remembered."""
KEEP_MS = 24 * 3600 * 1000
"""How much longer than its delay a published retry is remembered."""
SCAN_COUNT = 1_000
ARGUMENTS_MAX = 6_000
"""Of one script call: Lua builds them into one table, and Redis does nothing else meanwhile."""

Argument: TypeAlias = bytes | str | int
_T = TypeVar("_T")
_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    OSError,
)


class _Packing(AbstractConnection):
    """The library's own connections with hiredis at both ends: they pack in Python, which takes three times as long as all
    that Redis does with it."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name = args[0]
        if isinstance(name, str) and " " not in name:
            return [hiredis.pack_command(args)]
        return list(super().pack_command(*args))  # two words in one


class RedisStorage:
    """The `JobStorage` for redis://, rediss:// and unix:// addresses. Connects at the first call."""

    def __init__(self, url: str) -> None:
        """Raises BadRequest for an address that redis-py does not understand."""
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS_MAX,
                timeout=SOCKET_SECONDS,  # of waiting for one of them
                socket_timeout=SOCKET_SECONDS,
                socket_connect_timeout=SOCKET_SECONDS,
                # Whoever asks knows whether asking again means the same; the library does not.
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise BadRequest(f"the Redis address is wrong: {error}") from error
        pool.connection_class = type("Connection", (_Packing, pool.connection_class), {})
        self._redis = Redis.from_pool(pool)
        self._store = self._script(redis_scripts.STORE)
        self._begin = self._script(redis_scripts.BEGIN)
        self._end = self._script(redis_scripts.END)
        self._renew = self._script(redis_scripts.RENEW)
        self._overdue = self._script(redis_scripts.OVERDUE)
        self._forget = self._script(redis_scripts.FORGET)

    async def store_jobs(self, entries: Sequence[Entry], queue: str) -> None:
        rows = (
            (entry.job.id, entry.document, entry.job.job_type, entry.job.created_at, entry.watch_ms)
            for entry in entries
        )
        for arguments in _calls(rows, (queue,)):
            await self._run(self._store, arguments)

    async def get_job(self, job_id: str) -> Job | None:
        document = await self._ask(self._redis.get(f"job:data:{job_id}"))
        return None if document is None else from_json(_bytes(document))

    async def get_job_status(self, job_id: str) -> JobStatus | None:
        return _status(await self._ask(self._redis.get(f"job:status:{job_id}")))

    async def begin_jobs(self, claims: Sequence[Claim], worker_id: str) -> Sequence[Verdict]:
        head = (worker_id, LEASE_MS, CRASHES_MAX, CRASH_MS)
        rows = (
            (
                claim.job.id,
                claim.job.retry_count,
                int(claim.is_redelivered),
                claim.document,
                claim.job.job_type,
                claim.job.created_at,
                claim.queue,
            )
            for claim in claims
        )
        verdicts: list[Verdict] = []
        for arguments in _calls(rows, head):
            verdicts += map(Verdict, await self._run(self._begin, arguments))
        return verdicts

    async def renew_leases(self, job_ids: Sequence[str], worker_id: str) -> None:
        for arguments in _calls(((job_id,) for job_id in job_ids), (worker_id, LEASE_MS)):
            await self._run(self._renew, arguments)

    async def end_jobs(self, ends: Sequence[End], worker_id: str) -> Sequence[bool]:
        rows = (
            (end.job_id, end.status.value, end.document, end.next_retry, end.queue, end.watch_ms)
            for end in ends
        )
        written: list[bool] = []
        for arguments in _calls(rows, (worker_id, KEEP_MS)):
            written += map(bool, await self._run(self._end, arguments))
        return written

    async def take_overdue(self, queue: str, again_ms: int, limit: int) -> Sequence[str]:
        found = await self._ask(self._overdue(args=[queue, again_ms, limit]))
        return [_bytes(job_id).decode() for job_id in cast("Sequence[bytes]", found)]

    async def forget_jobs(self, job_ids: Sequence[str]) -> None:
        for arguments in _calls(((job_id,) for job_id in job_ids), ()):
            await self._run(self._forget, arguments)

    async def ids(self, status: JobStatus) -> AsyncIterator[Sequence[str]]:
        cursor = 0
        while True:
            cursor, members = await self._ask(
                self._redis.sscan(f"jobs:{status.value}", cursor, count=SCAN_COUNT)
            )
            yield [text for member in members if (text := _text(member)) is not None]
            if cursor == 0:
                return

    async def get_documents(self, job_ids: Sequence[str]) -> Sequence[tuple[bytes | None, JobStatus | None]]:
        if not job_ids:
            return []
        keys = [f"job:{kind}:{job_id}" for kind in ("data", "status") for job_id in job_ids]
        values = await self._ask(self._redis.mget(keys))
        documents = [None if value is None else _bytes(value) for value in values[: len(job_ids)]]
        return list(zip(documents, map(_status, values[len(job_ids) :]), strict=True))

    async def get_job_types(self) -> set[str]:
        members = await self._ask(self._redis.smembers("job:types"))
        return {text for member in members if (text := _text(member)) is not None}

    async def get_job_count_by_status(self, status: JobStatus) -> int:
        return int(await self._ask(self._redis.scard(f"jobs:{status.value}")))

    async def health_check(self) -> Sequence[str]:
        info = await self._ask(self._redis.info("persistence"))
        if info.get("aof_enabled"):
            return []
        return ["Redis keeps no append-only file: when it dies, statuses of ended jobs are lost with it"]

    async def close(self) -> None:
        await self._redis.aclose()

    def _script(self, text: str) -> AsyncScript:
        return self._redis.register_script(text)

    async def _run(self, script: AsyncScript, arguments: Sequence[Argument]) -> Sequence[int]:
        return cast("Sequence[int]", await self._ask(script(args=arguments)))

    async def _ask(self, call: Awaitable[_T]) -> _T:
        """Raises BrokerUnavailable; BadJob for a key that holds another type."""
        try:
            return await call
        except exceptions.AuthenticationError as error:
            raise BadRequest(f"Redis does not take the password: {error}") from error
        except _AWAY as error:
            raise BrokerUnavailable(f"Redis cannot be reached: {error}") from error
        except exceptions.ResponseError as error:
            if "WRONGTYPE" in str(error):
                raise BadJob("a key of the job holds another type") from error
            raise BrokerUnavailable(f"Redis cannot do it: {error}") from error


def _calls(rows: Iterable[tuple[Argument, ...]], head: tuple[Argument, ...]) -> Iterable[list[Argument]]:
    """The rows as flat arguments behind the head, in as many calls as they need."""
    arguments = list(head)
    for row in rows:
        if len(arguments) + len(row) > ARGUMENTS_MAX:
            yield arguments
            arguments = list(head)
        arguments += row
    if len(arguments) > len(head):
        yield arguments


def _status(value: bytes | str | None) -> JobStatus | None:
    return None if value is None else JobStatus.of(_bytes(value).decode("utf-8", "replace"))


def _bytes(value: bytes | str) -> bytes:
    """As they came; text comes only when the address asks for it."""
    return value.encode() if isinstance(value, str) else value


def _text(member: bytes | str) -> str | None:
    """A member that is not UTF-8 is nobody's job id."""
    try:
        return _bytes(member).decode()
    except UnicodeDecodeError:
        return None
