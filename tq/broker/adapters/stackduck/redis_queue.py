"""StackDuck's Redis: queues, running set, caches and dead letters, and the leases that tq keeps beside them.

Raises StoreAway whenever Redis cannot be reached or does not answer in time; what was asked for may have happened then.
Nothing here is asked twice by itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar, cast

import redis.asyncio as aioredis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tq.broker.adapters.stackduck import scripts
from tq.broker.adapters.stackduck.stores import Store
from tq.broker.adapters.stackduck.wire import Argument, Script, Wire
from tq.broker.compat.stackduck.stored import (
    CACHE_PREFIX,
    DLQ_PREFIX,
    QUEUE_PREFIX,
    RUNNING_KEY,
    RUNNING_S,
    StoredJob,
    running_member,
    score_of,
    write_job,
)
from tq.ids import to_text

R = TypeVar("R")

PUSH, TAKE, FINISH, HOLD, PICTURE, RESCORE, DROP = (
    Script(text)
    for text in (
        *(scripts.PUSH, scripts.TAKE, scripts.FINISH, scripts.HOLD, scripts.PICTURE),
        *(scripts.RESCORE, scripts.DROP),
    )
)
ANSWER_S = 2.0
PAGE = 500
AWAY = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)
LOADING = (exceptions.BusyLoadingError, exceptions.ReadOnlyError, exceptions.OutOfMemoryError)


class Lease(NamedTuple):
    """One entry of the leases, as Redis has it."""

    job_id: bytes
    token: int
    deadline_ms: int
    broker: str

    @property
    def text(self) -> str:
        return f"{self.token}:{self.deadline_ms}:{self.broker}"


class Taken(NamedTuple):
    """lost: how often its worker was lost before. queued: its text in the queue."""

    token: int
    lost: int
    queued: bytes


class Finish(NamedTuple):
    """The end of a run, as Redis is to be told.

    job: as it is now. token: 0 = whoever has it. member: of the running set, empty = it has none. requeues: it is to run
    again. letter: for the dead-letter list. lost: 1 = its worker was lost once more, -1 = forget how often. is_owed:
    PostgreSQL is away and still to be told.
    """

    job: StoredJob
    token: int
    member: bytes
    requeues: bool
    letter: str = ""
    lost: int = 0
    is_owed: bool = False


class RedisQueue:
    def __init__(self, url: str, store: Store, *, broker: str, alive_ms: int) -> None:
        """broker: this broker's name among those that share the deployment, new for each start."""
        self.store = store
        self.broker = broker
        self._alive_ms = alive_ms
        # The library types every answer as bytes or str; this one only ever gives bytes.
        self._redis: Any = aioredis.Redis.from_url(
            url,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            encoding_errors="surrogateescape",
        )
        make = self._make = self._redis.connection_pool.make_connection
        # New jobs, runs that begin and runs that end do not wait for each other.
        self._in, self._out, self._back, self._rest = wires = tuple(Wire(make, ANSWER_S) for _ in range(4))
        store.on_gone += [wire.renew for wire in wires]

    async def look(self) -> None:
        """See whether Redis is there, and tell the other brokers that this one is. Raises StoreAway."""
        await self._ask(
            self._redis.set(scripts.ALIVE_PREFIX + self.broker, "1", px=self._alive_ms), is_probe=True
        )
        self.store.back()

    async def close(self) -> None:
        with suppress(*AWAY):
            await self._redis.delete(scripts.ALIVE_PREFIX + self.broker)
        for wire in (self._in, self._out, self._back, self._rest):
            await wire.close()
        await self._redis.aclose()

    # ------------------------------------------------------------ jobs in and out

    async def push(self, jobs: Sequence[StoredJob], *, now_us: int, only_unknown: bool = False) -> int:
        """Put jobs on their queues and into the cache; how many. only_unknown: not those whose cache is there."""
        keys: list[str] = []
        args: list[Argument] = ["1" if only_unknown else "0", scripts.NEWS]
        for job in jobs:
            text = write_job(job)
            keys += (QUEUE_PREFIX + job.job_type, cache_key(job.job_id))
            args += (text, repr(score_of(job, now_us)), text, job.cache_s)
        return int(await self._run(self._in, PUSH, keys, args))

    async def take(
        self, job_types: Iterable[str], limit: int, *, now_ms: int, deadline_ms: int, now_text: str
    ) -> tuple[int, list[Taken]]:
        """Up to `limit` due jobs in order of priority, leased to this broker; and how many members left their queues,
        those that were set aside counted in."""
        keys = [RUNNING_KEY, scripts.LEASES, scripts.TOKEN, scripts.ASIDE, scripts.LOST]
        keys += [QUEUE_PREFIX + job_type for job_type in job_types]
        now_s = now_ms // 1000
        args: list[Argument] = [
            now_s,
            now_s + RUNNING_S,
            now_ms * 1000,
            deadline_ms,
            self.broker,
            limit,
            now_text,
        ]
        found = await self._run(self._out, TAKE, keys, args)
        taken = [Taken(int(found[n]), int(found[n + 1]), found[n + 2]) for n in range(1, len(found), 3)]
        return int(found[0]), taken

    async def finish(self, items: Sequence[Finish], *, now_us: int) -> list[bool]:
        """End runs; False where somebody else had the job by now, and nothing was changed."""
        keys = [RUNNING_KEY, scripts.LEASES, scripts.LOST, scripts.OWED]
        args: list[Argument] = [scripts.NEWS]
        for item in items:
            job, text = item.job, write_job(item.job)
            keys += (QUEUE_PREFIX + job.job_type, DLQ_PREFIX + job.job_type, cache_key(job.job_id))
            args += (to_text(job.job_id), str(item.token or ""), item.member, text, job.cache_s)
            args += (text if item.requeues else "", repr(score_of(job, now_us)), item.letter, item.lost)
            args.append(int(item.is_owed))
        return [bool(done) for done in await self._run(self._back, FINISH, keys, args)]

    async def hold(self, held: Iterable[tuple[Lease, bytes]]) -> None:
        """Leases with their members of the running set: taken over, extended, or made while Redis was away."""
        args: list[Argument] = []
        for lease, member in held:
            args += (to_text(lease.job_id), lease.text, member, lease.deadline_ms // 1000)
        if args:
            await self._run(self._rest, HOLD, [RUNNING_KEY, scripts.LEASES], args)

    async def picture(self, jobs: Sequence[StoredJob]) -> None:
        """Show these as running in the cache, those that still are."""
        keys, args = [scripts.LEASES], list[Argument]()
        for job in jobs:
            keys.append(cache_key(job.job_id))
            args += (to_text(job.job_id), write_job(job), job.cache_s)
        await self._run(self._rest, PICTURE, keys, args)

    # ------------------------------------------------------------ looking

    async def cached(self, job_id: bytes) -> bytes | None:
        return cast("bytes | None", await self._ask(self._redis.get(cache_key(job_id))))

    async def lease_of(self, ids: Sequence[bytes]) -> list[Lease | None]:
        found = await self._ask(self._redis.hmget(scripts.LEASES, [to_text(each) for each in ids]))
        return [
            None if text is None else lease_of(job_id, text) for job_id, text in zip(ids, found, strict=True)
        ]

    async def leases(self) -> AsyncIterator[Lease]:
        async for job_id, text in self._each(self._redis.hscan, scripts.LEASES):
            lease = lease_of(id_of(job_id), text)
            if lease is not None:
                yield lease

    async def running(self) -> AsyncIterator[tuple[bytes, float]]:
        """(member, score) of the whole running set; one that moves meanwhile may come twice or not."""
        async for found in self._each(self._redis.zscan, RUNNING_KEY):
            yield found

    async def running_member_of(self, job_id: bytes) -> bytes:
        """Empty when it is not running."""
        pattern = to_text(job_id) + ":*"
        async for member, _ in self._each(self._redis.zscan, RUNNING_KEY, match=pattern):
            return cast(bytes, member)
        return b""

    async def queued_members_of(self, job_type: str, job_id: bytes) -> list[bytes]:
        """More than one, if it was retried while it waited."""
        pattern = f'{{"id":"{to_text(job_id)}"*'
        return [m async for m, _ in self._each(self._redis.zscan, QUEUE_PREFIX + job_type, match=pattern)]

    async def is_queued(self, job_type: str, job_id: bytes) -> bool:
        text = await self.cached(job_id)
        key = QUEUE_PREFIX + job_type
        if text is not None and await self._ask(self._redis.zscore(key, cast(Any, text))) is not None:
            return True  # the cache is mostly what is in the queue, and spares a walk over all of it
        return bool(await self.queued_members_of(job_type, job_id))

    async def withdraw(self, job_type: str, job_id: bytes) -> None:
        """Take it off its queue."""
        members = await self.queued_members_of(job_type, job_id)
        if members:
            await self._ask(self._redis.zrem(QUEUE_PREFIX + job_type, *members))

    async def overdue(self, now_s: int) -> list[bytes]:
        """Members of the running set whose half hour is over, the first PAGE."""
        return list(await self._ask(self._redis.zrangebyscore(RUNNING_KEY, "-inf", now_s, 0, PAGE)))

    async def alive(self, brokers: Sequence[str]) -> set[str]:
        """Which of these brokers live."""
        found = await self._ask(self._redis.mget([scripts.ALIVE_PREFIX + each for each in brokers]))
        return {broker for broker, value in zip(brokers, found, strict=True) if value is not None}

    async def lost_count(self, job_id: bytes) -> int:
        return int(await self._ask(self._redis.hget(scripts.LOST, to_text(job_id))) or 0)

    async def job_types(self) -> list[str]:
        """Every type that has a queue."""
        return sorted([key async for key in self._scan(QUEUE_PREFIX)])

    async def dead_letter_types(self) -> list[str]:
        return sorted([key async for key in self._scan(DLQ_PREFIX) if not key.endswith(":count")])

    async def queue_page(self, job_type: str, low: float, high: float, offset: int = 0) -> list[bytes]:
        """Up to PAGE members with scores above `low` and up to `high`."""
        key = QUEUE_PREFIX + job_type
        return list(await self._ask(self._redis.zrangebyscore(key, f"({low}", high, offset, PAGE)))

    async def members(self, job_type: str) -> AsyncIterator[bytes]:
        async for member, _ in self._each(self._redis.zscan, QUEUE_PREFIX + job_type):
            yield member

    async def dead_letters(self, job_type: str, start: int) -> list[bytes]:
        """PAGE entries of a dead-letter list, newest first."""
        key = DLQ_PREFIX + job_type
        return list(await self._ask(self._redis.lrange(key, start, start + PAGE - 1)))

    async def depths(self, job_types: Sequence[str]) -> list[int]:
        pipe = self._redis.pipeline(transaction=False)
        for job_type in job_types:
            pipe.zcard(QUEUE_PREFIX + job_type)
        return [int(each) for each in await self._ask(pipe.execute())]

    # ------------------------------------------------------------ keeping house

    async def rescore(self, job_type: str, scored: Sequence[tuple[float, bytes]]) -> None:
        args: list[Argument] = [part for score, member in scored for part in (repr(score), member)]
        await self._run(self._rest, RESCORE, [QUEUE_PREFIX + job_type], args)

    async def set_aside(self, key: str, member: bytes, *, reason: str, now_text: str) -> bool:
        """Move a member out of a set, into the list of what nobody can run. False: it was not there any more."""
        entry = {
            "at": now_text,
            "from": key,
            "reason": reason,
            "member": member.decode("ascii", "backslashreplace"),
        }
        keys = [key, scripts.ASIDE, scripts.LEASES]
        return bool(await self._run(self._rest, DROP, keys, [member, json.dumps(entry), _lease_key(member)]))

    async def be_sweeper(self, ms: int) -> bool:
        """Whether this broker looks after the others' leavings for the next so many milliseconds."""
        if await self._ask(self._redis.set(scripts.SWEEPER, self.broker, nx=True, px=ms)):
            return True
        return bool(await self._ask(self._redis.get(scripts.SWEEPER)) == self.broker.encode())

    async def owed(self) -> list[tuple[bytes, bytes]]:
        """What PostgreSQL is still to be told: up to some thousand of (job id, text)."""
        _, found = await self._ask(self._redis.hscan(scripts.OWED, 0, count=PAGE))
        return list(found.items())

    async def owed_of(self, job_id: bytes) -> list[tuple[bytes, bytes]]:
        """The same of one job; empty when nothing is owed."""
        key = to_text(job_id)
        text = await self._ask(self._redis.hget(scripts.OWED, key))
        return [] if text is None else [(key.encode(), cast(bytes, text))]

    async def repay(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """PostgreSQL was told; what was changed meanwhile stays."""
        ids = [key for key, _ in items]
        now = await self._ask(self._redis.hmget(scripts.OWED, ids))
        same = [key for (key, text), current in zip(items, now, strict=True) if current == text]
        if same:
            await self._ask(self._redis.hdel(scripts.OWED, *same))

    async def listen(self) -> AsyncIterator[str]:
        """What other brokers, and this one, say. Ends by raising StoreAway."""
        messages = Wire(self._make, ANSWER_S).messages(scripts.NEWS)
        try:
            while True:
                yield (await self._ask(anext(messages), is_endless=True)).decode(errors="replace")
        finally:
            await messages.aclose()

    # ------------------------------------------------------------ inside

    async def _run(self, wire: Wire, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        if not self.store.is_up:
            raise self.store.away()
        try:
            return await wire.run(script, keys, args)
        except (*AWAY, *LOADING) as error:
            raise self.store.gone(error) from error

    async def _ask(self, question: Awaitable[R], *, is_probe: bool = False, is_endless: bool = False) -> R:
        """is_endless: it is no question but an ear, and may take as long as it likes."""
        if not self.store.is_up and not is_probe:
            close = getattr(question, "close", None)
            if close is not None:
                close()
            raise self.store.away()
        try:
            async with asyncio.timeout(None if is_endless else 2 * ANSWER_S):
                return await question
        except (*AWAY, *LOADING) as error:
            raise self.store.gone(error) from error

    async def _each(self, scan: Any, key: str, **options: object) -> AsyncIterator[Any]:
        cursor = 0
        while True:
            cursor, found = await self._ask(scan(key, cursor, count=PAGE, **options))
            for each in found.items() if isinstance(found, dict) else found:
                yield each
            if not cursor:
                return

    async def _scan(self, prefix: str) -> AsyncIterator[str]:
        cursor = 0
        while True:
            cursor, found = await self._ask(self._redis.scan(cursor, match=prefix + "*", count=PAGE))
            for key in found:
                yield key.decode(errors="surrogateescape")[len(prefix) :]
            if not cursor:
                return


def cache_key(job_id: bytes) -> str:
    return CACHE_PREFIX + to_text(job_id)


def lease_of(job_id: bytes, text: bytes) -> Lease | None:
    """None for what is none: anybody can write to Redis."""
    token, _, rest = text.decode(errors="replace").partition(":")
    deadline, _, broker = rest.partition(":")
    if len(job_id) != 16 or not (token.isdecimal() and deadline.isdecimal()):
        return None
    return Lease(job_id, int(token), int(deadline), broker)


def id_of(text: bytes) -> bytes:
    """Empty when it is no UUID in its usual form."""
    try:
        return bytes.fromhex(text.decode().replace("-", ""))
    except ValueError:
        return b""


def _lease_key(member: bytes) -> bytes:
    """The job id that a member of the running set begins with; of one of a queue nothing that has a lease."""
    return member.partition(b":")[0].lower()


def member_of(job_id: bytes, queued: bytes) -> bytes:
    return running_member(job_id, "").encode() + queued
