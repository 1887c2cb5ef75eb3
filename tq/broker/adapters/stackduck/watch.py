"""Looks after the two stores: whether they are there, and what is to be done when one comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tq.broker.adapters.stackduck.intake import Intake
from tq.broker.adapters.stackduck.parts import Parts
from tq.broker.adapters.stackduck.redis_queue import Lease, id_of, member_of
from tq.broker.adapters.stackduck.settling import Settling
from tq.broker.adapters.stackduck.stores import RETRY_MS, StoreAway
from tq.broker.adapters.stackduck.sweeping import Sweeping
from tq.broker.compat.stackduck.stored import write_job
from tq.logs import get_logger

_log = get_logger("stackduck")

RESCORE_S = 0.2
DEPTH_S = 1.0
ENDED_S = 1.0
"""How late the end of a job is noticed that a StackDuck server completed."""
AWAITED_MAX = 1_000
CANCEL_S = 0.05


class Watch:
    def __init__(
        self,
        parts: Parts,
        settling: Settling,
        intake: Intake,
        sweeping: Sweeping,
        *,
        look_for_ended: Callable[[list[bytes]], Awaitable[None]],
        end_overdue: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._settling = settling
        self._intake = intake
        self._sweeping = sweeping
        self._look_for_ended = look_for_ended
        self._end_overdue = end_overdue
        self._chores: list[asyncio.Task[None]] = []
        self._is_over = False
        self._was_up = False
        self.depth = 0
        """Jobs in all queues, as of the last look."""

    def begin(self) -> None:
        """Everything that runs for as long as the broker does."""
        parts = self._parts
        chores: tuple[tuple[float, Callable[[], Awaitable[None]]], ...] = (
            (RETRY_MS / 1000, self._look_at_redis),
            (RETRY_MS / 1000, self._look_at_postgres),
            (parts.pace.sweep_ms / 1000, self._sweeping.sweep),
            (RESCORE_S, self._sweeping.rescore),
            (DEPTH_S, self._measure),
            (ENDED_S, self._look_at_awaited),
            (RETRY_MS / 1000, self._listen),
        )
        self._chores = [parts.spawn(self._repeat(seconds, chore)) for seconds, chore in chores]

    async def stop(self) -> None:
        """Returns when nothing of it runs any more."""
        self._is_over = True
        left: set[asyncio.Task[None]] = set(self._chores)
        while left:
            # Again and again: a cancellation that comes while redis-py connects is swallowed.
            for chore in left:
                chore.cancel()
            _, left = await asyncio.wait(left, timeout=CANCEL_S)

    async def look(self) -> None:
        """Once, at the start: with either store away the broker starts all the same."""
        for look in (self._look_at_postgres, self._look_at_redis):
            try:
                await look()
            except StoreAway:
                continue

    async def _repeat(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        while not self._is_over:
            try:
                await chore()
            except StoreAway:
                pass  # it was logged, and the next round sees whether it is back
            except Exception as error:  # noqa: BLE001  a chore that fails must not end the others
                _log.error(
                    "chore_failed", f"{type(error).__name__}: {str(error)[:200]}", chore=chore.__name__
                )
            await asyncio.sleep(seconds)

    # ------------------------------------------------------------ stores

    async def _look_at_redis(self) -> None:
        parts, clock = self._parts, self._parts.clock
        redis = parts.redis
        if (
            redis.store.is_up
            and self._was_up
            and clock.monotonic_ms() - self._settling.shown_ms < parts.pace.show_ms
        ):
            return
        was_away = not redis.store.is_up or not self._was_up
        self._was_up = False
        await redis.look()
        self._settling.shown_ms = clock.monotonic_ms()
        if was_away:
            await self._restore()
        self._was_up = True

    async def _restore(self) -> None:
        """Redis is back: tell it what happened meanwhile, in this order. Raises StoreAway."""
        parts = self._parts
        waited = len(parts.backlog)
        await self._settling.catch_up()
        await self._hold_again()
        await self._intake.put_back()
        if waited:
            _log.info("memory_emptied", f"{waited} jobs went from memory into Redis", count=waited)
        parts.wake.set()

    async def _hold_again(self) -> None:
        """The leases of all that workers of this broker hold: Redis may have lost them, or never known."""
        parts = self._parts
        found = []
        for held in parts.sessions.held.values():
            if held.settling:
                continue
            if not held.member:
                held.member = member_of(held.job.job_id, write_job(held.job).encode())
                lease = Lease(held.job.job_id, held.token, held.deadline_ms, parts.redis.broker)
                found.append((lease, held.member))
        if found:
            await parts.redis.hold(found)

    async def _look_at_postgres(self) -> None:
        if not self._parts.rows.store.is_up:
            await self._parts.rows.look()
        await self._intake.settle_doubts()
        await self._repay()

    async def _repay(self) -> None:
        redis = self._parts.redis
        while redis.store.is_up and (owed := await redis.owed()):
            await self._settling.write_down(owed)

    # ------------------------------------------------------------ the rest

    async def _measure(self) -> None:
        self._end_overdue()
        redis = self._parts.redis
        if redis.store.is_up:
            self.depth = sum(await redis.depths(self._sweeping.job_types))

    async def _look_at_awaited(self) -> None:
        awaited = self._parts.waiters.awaited(AWAITED_MAX)
        ids = list(dict.fromkeys([*awaited, *self._parts.feed.watched]))[:AWAITED_MAX]
        if ids:
            await self._look_for_ended(ids)

    async def _listen(self) -> None:
        async for said in self._parts.redis.listen():
            word, _, rest = said.partition(" ")
            if word == "ready":
                self._parts.wake.set()
            elif word == "ended":
                ids = [id_of(text.encode()) for text in rest.split()]
                waiters = self._parts.waiters
                wanted = [
                    each for each in ids if waiters.is_awaited(each) or each in self._parts.feed.watched
                ]
                if wanted:
                    await self._look_for_ended(wanted)
