"""The backend on StackDuck's stores: the table from verb to what is done about it, and what it cannot do.

PostgreSQL is the record, Redis the fast path, memory what stands in for Redis. Every broker of a deployment keeps its
own workers; jobs are everybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from tq.broker.adapters.stackduck.attendance import Attendance
from tq.broker.adapters.stackduck.backlog import Backlog
from tq.broker.adapters.stackduck.by_name import ByName
from tq.broker.adapters.stackduck.intake import Intake
from tq.broker.adapters.stackduck.operating import Operating
from tq.broker.adapters.stackduck.pace import Pace
from tq.broker.adapters.stackduck.parts import Parts, Tally
from tq.broker.adapters.stackduck.postgres_rows import PostgresRows
from tq.broker.adapters.stackduck.reading import Reading
from tq.broker.adapters.stackduck.redis_queue import RedisQueue
from tq.broker.adapters.stackduck.sessions import Sessions
from tq.broker.adapters.stackduck.settling import Settling
from tq.broker.adapters.stackduck.stores import Store
from tq.broker.adapters.stackduck.sweeping import Sweeping
from tq.broker.adapters.stackduck.taking import Taking
from tq.broker.adapters.stackduck.watch import Watch
from tq.broker.backend import Answer, Capabilities, Peer
from tq.broker.compat.stackduck.names import QUEUE
from tq.broker.engine.roster import Roster
from tq.broker.engine.waiters import Waiters
from tq.broker.feed import Feed
from tq.broker.measures import DISK_BOUNDS_NS, Histogram, LogMeasures, Measures, StoreMeasures
from tq.clock import Clock
from tq.errors import Unsupported
from tq.ids import to_text
from tq.task import STATUS_OF_STATE, TaskSpec
from tq.verbs import (
    AddNode,
    Backup,
    Cancel,
    CancelMany,
    Claim,
    Cluster,
    Deregister,
    Done,
    DrainWorker,
    Extend,
    ForgetMany,
    GetCluster,
    GetHealth,
    GetSeries,
    GetStats,
    GetTask,
    GroupDeadLetters,
    Health,
    Heartbeat,
    Import,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    Member,
    PauseQueue,
    Ping,
    Purge,
    Register,
    RemoveNode,
    Request,
    ResumeQueue,
    Retry,
    RetryMany,
    SetCapacity,
    Settle,
    Submit,
    TransferLeadership,
)
from tq.verbs import (
    Watch as WatchTasks,
)
from tq.version import VERSION

SWEEP_SECONDS = 0.5
CAPABILITIES = Capabilities(
    dependencies=False,
    unique_keys=False,
    pause=False,
    backup=False,
    expiry=False,
    ends_by_id=True,
    priorities=False,
    jitter=False,
)
_NO_CLUSTER = "no cluster: any number of brokers share them as they come and go"
_CANNOT: dict[type[Request], str] = {
    PauseQueue: "no place to say that a queue is paused",
    ResumeQueue: "no place to say that a queue is paused",
    Backup: "stores of their own: back up PostgreSQL and Redis with their own tools",
    GetSeries: "no minute by minute counts",
    AddNode: _NO_CLUSTER,
    RemoveNode: _NO_CLUSTER,
    TransferLeadership: _NO_CLUSTER,
    Import: "no way in for tasks that ended elsewhere; write their rows with PostgreSQL's own tools",
    GroupDeadLetters: "no groups of dead letters; list them with status dead_letter",
}


class Settings(NamedTuple):
    """grace_ms: how long a disconnected worker keeps what it holds."""

    redis_url: str
    database_url: str
    node_id: str = "node1"
    grace_ms: int = 5_000
    pace: Pace = Pace()


class NoLog:
    """There is none, and that is what is measured of it."""

    def measures(self) -> LogMeasures:
        return LogMeasures(0, True, 0, {}, Histogram(DISK_BOUNDS_NS))


class StackDuckBackend:
    """A `Backend`."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        feed: Feed,
        on_fatal: Callable[[BaseException], None],
        *,
        new_id: Callable[[], bytes],
    ) -> None:
        """new_id: names this broker among those that share the deployment."""
        self.log = NoLog()
        self._redis_store, self._row_store = Store("Redis", clock), Store("PostgreSQL", clock)
        roster = Roster(clock, grace_ms=settings.grace_ms)
        self._parts = parts = Parts(
            clock=clock,
            redis=RedisQueue(
                settings.redis_url,
                self._redis_store,
                broker=to_text(new_id()),
                alive_ms=settings.pace.alive_ms,
            ),
            rows=PostgresRows(settings.database_url, self._row_store, on_fatal, clock),
            roster=roster,
            sessions=Sessions(roster),
            waiters=Waiters(),
            feed=feed,
            backlog=Backlog(),
            on_fatal=on_fatal,
            pace=settings.pace,
        )
        self._settling = Settling(parts)
        self._intake = Intake(parts)
        self._by_name = ByName(parts, self._settling, self._intake)
        self._attendance = Attendance(parts, self._settling, self._by_name, grace_ms=settings.grace_ms)
        self._taking = Taking(parts, self._settling)
        self._reading = Reading(parts, self._by_name)
        self._operating = Operating(parts, self._by_name)
        self._sweeping = Sweeping(parts, self._settling, self._intake)
        self._watch = Watch(
            *(parts, self._settling, self._intake, self._sweeping),
            look_for_ended=self._reading.look_for_ended,
            end_overdue=self._attendance.end_overdue,
        )
        self._node_id = settings.node_id
        self._handlers = self._table()
        self._taker: asyncio.Task[None] | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._is_stopped = False

    def _table(self) -> dict[type[Request], Callable[[Peer, Any, Answer], None]]:
        """From verb to what is done about it; total."""
        attendance, reading, operating, by_name = (
            self._attendance, self._reading, self._operating, self._by_name,
        )  # fmt: skip
        answer_with, change_with = reading.answer, partial(reading.answer, changes=True)
        return {
            Submit: self._intake.submit,
            Settle: attendance.settle,
            GetTask: reading.get,
            WatchTasks: reading.watch,
            Cancel: lambda _, ask, answer: change_with(by_name.cancel(ask.task_id, ask.force), answer),
            Retry: lambda _, ask, answer: change_with(by_name.retry(ask.task_id, ask.max_retries), answer),
            ListTasks: reading.page,
            Purge: lambda _, ask, answer: change_with(operating.purge(ask), answer),
            GetCluster: lambda _, ask, answer: answer(self._cluster()),
            GetHealth: lambda _, ask, answer: answer(self._health()),
            Register: attendance.register,
            Heartbeat: attendance.heartbeat,
            SetCapacity: attendance.set_capacity,
            Claim: attendance.claim,
            Extend: attendance.extend,
            Deregister: attendance.deregister,
            DrainWorker: attendance.drain,
            Ping: lambda _, ask, answer: answer(Done()),
            GetStats: lambda _, ask, answer: answer_with(operating.stats(), answer),
            ListWorkers: lambda _, ask, answer: answer(operating.workers()),
            ListQueues: lambda _, ask, answer: answer_with(operating.queues(), answer),
            ListFailures: lambda _, ask, answer: answer_with(operating.failures(ask), answer),
            CancelMany: lambda _, ask, answer: change_with(operating.cancel_many(ask), answer),
            RetryMany: lambda _, ask, answer: change_with(operating.retry_many(ask), answer),
            ForgetMany: lambda _, ask, answer: change_with(operating.forget_many(ask), answer),
            **dict.fromkeys(_CANNOT, _refuse),
        }

    # ------------------------------------------------------------ the port

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def depth(self) -> int:
        return self._watch.depth + len(self._parts.backlog) + self._intake.under_way

    def new_among(self, tasks: Sequence[TaskSpec]) -> int:
        """All of them: whether one is there already is known to PostgreSQL, and asking takes longer than may be waited
        here."""
        return len(tasks)

    async def start(self) -> None:
        """See which store is there, and begin with what is."""
        await self._watch.look()
        self._watch.begin()
        self._taker = self._parts.spawn(self._taking.run())
        self._sweep()

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        self._handlers[type(request)](peer, request, answer)

    def disconnected(self, peer: Peer) -> None:
        self._attendance.disconnected(peer)
        self._parts.waiters.release(peer)

    async def stop(self) -> None:
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._taking.stop()
        self._reading.end_waits()
        self._attendance.end_claims()
        if self._taker is not None:
            await self._taker
        self._attendance.stop()
        await self._watch.stop()
        await self._intake.stop()
        # What is settled goes through PostgreSQL first, then into Redis.
        await self._parts.rows.close()
        await self._settling.stop()
        while tasks := tuple(self._parts.tasks):
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._parts.redis.close()

    # ------------------------------------------------------------ what is shown

    def _health(self) -> Health:
        problems = []
        if not self._row_store.is_up:
            problems.append(f"{self._row_store.problem}; new tasks are refused, ends are kept in Redis")
        if not self._redis_store.is_up:
            problems.append(
                f"{self._redis_store.problem}; new tasks wait in memory ({len(self._parts.backlog)}) and in PostgreSQL"
            )
        stats = self._operating.latest
        return Health(
            status="degraded" if problems or self._is_stopped else "healthy",
            is_leader=True,
            leader=self._node_id,
            connected_workers=self._parts.roster.connected_count(),
            pending_tasks=self.depth if stats is None else stats.pending_count,
            durability="strict",
            problems=tuple(problems),
        )

    def _cluster(self) -> Cluster:
        me = Member(self._node_id, "", "standalone", 0, 0, 0, is_self=True, version=VERSION)
        return Cluster((me,), self._node_id)

    def measures(self) -> Measures:
        """What was counted in the stores last, and here since the start."""
        tally, stats = self._parts.tally, self._operating.latest
        stored = dict.fromkeys(dict.fromkeys(STATUS_OF_STATE.values()), 0)
        depths, oldest = {"high": 0, "normal": 0, "low": 0}, {QUEUE: 0}
        if stats is not None:
            stored |= {
                "pending": stats.pending_count,
                "in_progress": stats.in_progress_count,
                "scheduled": stats.scheduled_count,
                "failed": stats.retrying_count,
                "completed": stats.completed_count,
                "dead_letter": stats.dead_letter_count,
                "cancelled": stats.cancelled_count,
            }
            depths = {"high": stats.depth_high, "normal": stats.depth_normal, "low": stats.depth_low}
            oldest = {QUEUE: stats.oldest_pending_age_ms}
        return Measures(
            came=tally.came,
            stored=stored,
            depths=depths,
            pending={QUEUE: stored["pending"]},
            oldest_pending_ms=oldest,
            workers=self._parts.roster.connected_count(),
            runs=tally.runs,
            waits={QUEUE: tally.waits},
            commits=self._parts.rows.commits,
        )

    def store_measures(self) -> StoreMeasures:
        parts = self._parts
        return StoreMeasures(
            up={"redis": self._redis_store.is_up, "postgres": self._row_store.is_up},
            outages={"redis": self._redis_store.outages, "postgres": self._row_store.outages},
            in_memory=len(parts.backlog),
            untold=self._settling.late_count,
            events=_events(parts.tally),
        )

    # ------------------------------------------------------------ inside

    def _sweep(self) -> None:
        for session_id in self._parts.roster.lost():
            self._attendance.close_lost(session_id)
        self._sweep_timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)


def _events(tally: Tally) -> dict[str, int]:
    return {
        "set_aside": tally.set_aside,
        "swept": tally.swept,
        "requeued": tally.requeued,
        "rounded": tally.rounded,
    }


def _refuse(peer: Peer, request: Request, answer: Answer) -> None:
    answer(Unsupported(f"StackDuck's stores have {_CANNOT[type(request)]}"))
