"""Ends of runs: PostgreSQL is written first, then Redis, then it is answered.

Rules of the file:
- The lease is what makes a settle this worker's. It is checked in Redis first when another broker may have taken it:
  its deadline is near, or this broker was silent for so long that the others may believe it dead.
- With PostgreSQL away what it is to be told is kept in Redis, in the same step that ends the lease, and counts as settled.
  With Redis away PostgreSQL has it, and Redis is told later. With both away it did not happen.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from tq.broker.adapters.stackduck.endings import Ending, conclude
from tq.broker.adapters.stackduck.lane import Lane
from tq.broker.adapters.stackduck.parts import Parts
from tq.broker.adapters.stackduck.postgres_rows import Change
from tq.broker.adapters.stackduck.redis_queue import PAGE, Finish, id_of
from tq.broker.adapters.stackduck.sessions import Held
from tq.broker.adapters.stackduck.stores import StoreAway, StoreCut
from tq.broker.compat.stackduck.stored import BadJob, read_job
from tq.errors import TqError
from tq.ids import to_text
from tq.logs import get_logger
from tq.task import CANCELLED, COMPLETED, DEAD_LETTER, STATUS_OF_STATE, Cause
from tq.verbs import SettleItem

_log = get_logger("stackduck")

Done: TypeAlias = Callable[[bool | TqError], None]
"""True: it is done. False: the lease is somebody else's. An error: it is not done."""

REMEMBERED_MAX = 20_000
"""Settles that are known to be done, for workers that ask again after an answer they did not get."""
LATE_MAX = 200_000
"""Ends of runs that Redis is still to be told. Beyond that the sweep finds out from PostgreSQL."""


class Settling:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._finishes: Lane[Finish, bool] = Lane(self._finish_batch, parts.on_fatal)
        self._late: list[Finish] = []
        self._settled: OrderedDict[tuple[bytes, int], None] = OrderedDict()
        self.shown_ms = parts.clock.monotonic_ms()
        """When the other brokers last saw that this one lives; kept up by the watch."""

    @property
    def late_count(self) -> int:
        return len(self._late)

    def was_settled(self, job_id: bytes, token: int) -> bool:
        return (job_id, token) in self._settled

    def needs_check(self, held: Held) -> bool:
        """Whether somebody else may have the job by now."""
        clock, pace = self._parts.clock, self._parts.pace
        return bool(held.member) and (
            held.deadline_ms - clock.now_ms() < pace.alive_ms
            or clock.monotonic_ms() - self.shown_ms > pace.sure_ms
        )

    def settle(self, held: Held, item: SettleItem, done: Done) -> None:
        """End this run. To be called once for each, with its lease known to be held."""
        held.settling = True
        now_us = self._parts.now_us
        ending = conclude(
            held.job,
            cause=item.cause,
            now_us=now_us,
            error=item.error,
            delay_ms=item.delay_ms,
            lost=held.lost,
        )

        def finished(result: bool | TqError) -> None:
            if held.over is not None:
                held.over.set()
            if isinstance(result, TqError):
                held.settling = False
            else:
                self._parts.sessions.drop(held)
                self._parts.wake.set()
            if result is True:
                self._remember(held)
                self._count(held, ending, item)
            done(result)

        finish = Finish(ending.job, held.token, held.member, ending.requeues, ending.letter, ending.lost)
        self.end(Change(ending.job, result=item.result), finish, finished)

    async def over(self, held: Held) -> None:
        """Return when it is known what became of this run, which is being settled."""
        if held.over is None or held.over.is_set():
            held.over = asyncio.Event()
        await held.over.wait()

    def end(self, change: Change, finish: Finish, done: Done) -> None:
        """Write an end down, in both stores. Those who wait for the job are told."""

        def changed(result: bool | TqError) -> None:
            if isinstance(result, StoreAway):
                self._finishes.add(finish._replace(is_owed=True), partial(owed, result))
            elif isinstance(result, TqError):
                done(result)
            else:
                finish_off(result)

        def owed(before: StoreAway, result: bool | TqError) -> None:
            if isinstance(result, TqError):
                # Neither has it; but PostgreSQL may have done it before it went.
                done(before if isinstance(before, StoreCut) else result)
            else:
                finished(result, result)

        def finish_off(is_first: bool) -> None:
            # Ended before, by somebody else: Redis is only to forget that it runs.
            told = finish if is_first else finish._replace(requeues=False, letter="")
            self._finishes.add(told, lambda result: finished(is_first, result))

        def finished(is_first: bool, result: bool | TqError) -> None:
            if is_first:
                self._tell(change)
            done(is_first if isinstance(result, bool) else result)

        self._parts.rows.changes.add(change, changed)

    def finish_later(self, finish: Finish) -> None:
        """Redis alone is to be told, now or when it is back."""
        self._finishes.add(finish, lambda _: None)

    async def catch_up(self) -> None:
        """Redis is back: tell it what it missed. Raises StoreAway."""
        while self._late:
            batch = self._late[:PAGE]
            await self._parts.redis.finish(batch, now_us=self._parts.now_us)
            del self._late[: len(batch)]

    async def write_down(self, owed: Sequence[tuple[bytes, bytes]]) -> None:
        """Tell PostgreSQL of these ends, which it missed: (job id, text) as Redis has them. Raises StoreAway."""
        jobs = []
        for key, text in owed:
            try:
                jobs.append(read_job(text.decode()))
            except (BadJob, UnicodeDecodeError):
                task_id = to_text(id_of(key))
                _log.error("owed_unreadable", "what PostgreSQL was owed is no job", task_id=task_id)
        if owed:
            for job_id, refusal in (await self._parts.rows.write_down(jobs)).items():
                _log.error(
                    "owed_refused", f"an end is not written down: {refusal.text}", task_id=to_text(job_id)
                )
            await self._parts.redis.repay(owed)
            _log.info("postgres_told", f"{len(owed)} ends were written down late", count=len(owed))

    async def stop(self) -> None:
        await self._finishes.stop()

    # ------------------------------------------------------------ batches

    async def _finish_batch(self, items: Sequence[Finish]) -> list[bool | TqError]:
        parts = self._parts
        try:
            done = await parts.redis.finish(items, now_us=parts.now_us)
            if any(item.requeues for item in items):
                parts.wake.set()
            return list(done)
        except StoreAway as error:
            late = [item for item in items if not item.is_owed]
            self._late += late[: max(LATE_MAX - len(self._late), 0)]
            return [error if item.is_owed else True for item in items]

    # ------------------------------------------------------------ afterwards

    def _tell(self, change: Change) -> None:
        parts, job = self._parts, change.job
        parts.announce((job,))
        if job.has_ended:
            parts.tell_ended(job, change.result if job.status == "completed" else None)

    def _remember(self, held: Held) -> None:
        self._settled[held.job.job_id, held.token] = None
        if len(self._settled) > REMEMBERED_MAX:
            self._settled.popitem(last=False)

    def _count(self, held: Held, ending: Ending, item: SettleItem) -> None:
        tally, job = self._parts.tally, ending.job
        tally.run(job.job_type, self._parts.clock.now_ms() - held.started_ms)
        state = _STATE_OF_CAUSE.get(item.cause)
        if ending.letter:
            state = DEAD_LETTER
        if state is not None:
            tally.count(STATUS_OF_STATE[state], job.job_type)
        elif item.cause in (Cause.ERROR, Cause.TIMEOUT):
            tally.count("failed", job.job_type)


_STATE_OF_CAUSE: dict[int, int] = {Cause.DONE: COMPLETED, Cause.CANCELLED: CANCELLED}
