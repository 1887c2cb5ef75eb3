"""The native backend: verbs in, commands through the log and the machine, answers out.

One owner per piece of state: the machine belongs to `applier`, connections and beats to `roster`, open claims to
`deliveries`, waits to `waiters`. This file is the table from verb to what is done about it.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, TimerHandle
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from tq.broker.backend import Answer, Capabilities, Peer
from tq.broker.engine.announcer import Announcer
from tq.broker.engine.applier import Applier
from tq.broker.engine.attendance import Attendance
from tq.broker.engine.chronicle import Chronicle
from tq.broker.engine.deliveries import Deliveries
from tq.broker.engine.entry_clock import EntryClock
from tq.broker.engine.operating import Operating
from tq.broker.engine.proposer import Proposer, ignore
from tq.broker.engine.purges import Purges
from tq.broker.engine.reader import Reader
from tq.broker.engine.reads import Reads
from tq.broker.engine.roster import Roster
from tq.broker.engine.standing import Standing
from tq.broker.engine.succession import begin_to_lead, lead_no_more
from tq.broker.engine.tallies import Tallies
from tq.broker.engine.timekeeper import Timekeeper
from tq.broker.engine.waiters import Waiters
from tq.broker.feed import Feed
from tq.broker.machine.commands import (
    CancelTask,
    ClaimTasks,
    RetryTask,
    SubmitTasks,
    Tick,
)
from tq.broker.machine.effects import Outcome
from tq.broker.measures import Measures
from tq.broker.replication.log import ReplicatedLog
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.store import Store
from tq.clock import Clock
from tq.task import IN_PROGRESS, PENDING, TaskSpec
from tq.verbs import (
    AddNode,
    Backup,
    Cancel,
    Claim,
    Deregister,
    Done,
    DrainWorker,
    Extend,
    GetCluster,
    GetHealth,
    GetTask,
    Health,
    Heartbeat,
    ListTasks,
    Ping,
    Purge,
    Register,
    RemoveNode,
    Request,
    Retry,
    SetCapacity,
    Settle,
    Submit,
    TransferLeadership,
    Watch,
)

SWEEP_SECONDS = 0.25
RETIRE_SECONDS = 60.0
STATS_SECONDS = 1.0
"""How often listeners of the feed get the numbers of the whole."""
SYNC_SECONDS = 5.0
"""The store is synced at least so often while anything is applied."""


class EngineSettings(NamedTuple):
    """grace_ms: how long a disconnected worker keeps its leases. Retentions: 0 = for ever.

    wal_sync_interval_ms: the longest an entry waits for company. durability: `strict` or `relaxed`, to be shown.
    recovers_gently: see `Applier.recover`.
    """

    grace_ms: int = 5_000
    retention_ms: int = 7 * 24 * 3600 * 1000
    dead_letter_retention_ms: int = 30 * 24 * 3600 * 1000
    wal_sync_interval_ms: int = 0
    durability: str = "strict"
    node_id: str = "node1"
    recovers_gently: bool = False


class NativeBackend:
    """A `Backend` on the broker's own machine, store and log."""

    def __init__(
        self,
        store: Store,
        log: ReplicatedLog,
        disk: DiskThread,
        clock: Clock,
        loop: AbstractEventLoop,
        settings: EngineSettings,
        on_fatal: Callable[[BaseException], None],
        feed: Feed,
    ) -> None:
        """on_fatal: told of what the process must not survive: a failed write, a broken invariant, damage.

        feed: gets what happens to tasks and workers, while somebody listens.
        """
        self._store = store
        self._log = log
        self._disk = disk
        self._loop = loop
        self._settings = settings
        self._clock = clock
        self._applier = Applier(store, disk, loop, on_synced=log.release, on_fatal=on_fatal)
        self._state = self._applier.machine.state
        self._entry_clock = EntryClock(clock)
        self._proposer = Proposer(
            loop,
            log,
            stamp=self._now_ms,
            apply=self._applier.apply,
            proposed=self._applier.proposed,
            act=self._act,
            on_fatal=on_fatal,
            wait_ms=settings.wal_sync_interval_ms,
            elapsed_ns=clock.monotonic_ns,
        )
        self._tallies = Tallies(self._state)
        self._roster = Roster(clock, grace_ms=settings.grace_ms)
        self._deliveries = Deliveries(loop, self._applier.written, self._roster, withdraw=self._withdraw)
        self._chronicle = Chronicle(clock)
        self._announcer = Announcer(feed, self._state, self._roster, log_worker=self._chronicle.worker)
        self._waiters = Waiters()
        self._attendance = Attendance(
            loop,
            self._proposer,
            self._roster,
            self._deliveries,
            self._announcer,
            self._waiters,
            self._state,
            leads=lambda: self._leads,
            grace_ms=settings.grace_ms,
        )
        self._reads = reads = Reads(disk, self._applier.hand_over, clock.monotonic_ns)
        self._operating = Operating(
            *(store, reads, self._state, self._roster, self._proposer, clock, loop),
            tallies=self._tallies,
            now_ms=self._now_ms,
            durability=settings.durability,
        )
        dead_letters = self._operating.dead_letters
        self._reader = Reader(
            loop, store, reads, self._applier.machine, self._waiters, self._roster, dead_letters
        )
        self._timekeeper = Timekeeper(
            loop, next_due_ms=self._next_due_ms, now_ms=self._now_ms, tick=self._tick
        )
        self._purges = Purges(
            store,
            reads,
            self._state,
            self._proposer,
            now_ms=self._now_ms,
            retention_ms=settings.retention_ms,
            dead_letter_retention_ms=settings.dead_letter_retention_ms,
        )
        self._chores: list[TimerHandle] = []
        self._is_stopped = self._is_started = self._leads = False
        self.standing = Standing(settings.node_id, log, self._state, self._health)
        self.checkpoint = self._applier.checkpoint
        self._handlers = self._table()

    def _table(self) -> dict[type[Request], Callable[[Peer, Any, Answer], None]]:
        """From verb to what is done about it; total."""
        attendance = self._attendance
        return {
            Submit: self._submit,
            Settle: attendance.settle,
            GetTask: self._reader.get,
            Watch: self._reader.watch,
            Cancel: self._cancel,
            Retry: self._retry,
            ListTasks: self._reader.page,
            Purge: self._purge,
            GetCluster: self.standing.cluster,
            GetHealth: self.standing.health,
            AddNode: self.standing.change_cluster,
            RemoveNode: self.standing.change_cluster,
            TransferLeadership: self.standing.change_cluster,
            Backup: self._backup,
            Register: attendance.register,
            Heartbeat: attendance.heartbeat,
            SetCapacity: attendance.set_capacity,
            Claim: attendance.claim,
            Extend: attendance.extend,
            Deregister: attendance.deregister,
            DrainWorker: attendance.drain,
            Ping: self._ping,
            **self._operating.handlers(),
        }

    # ------------------------------------------------------------ the port

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

    @property
    def depth(self) -> int:
        return self._state.waiting + self._proposer.new_under_way

    def measures(self) -> Measures:
        """What there is to measure, for the exporter; costs a walk over the pairs of queue and task type."""
        return self._tallies.measures(
            now_ms=self._now_ms(),
            workers=self._roster.connected_count(),
            commits=self._proposer.commits,
        )

    def new_among(self, tasks: Sequence[TaskSpec]) -> int:
        return self._applier.new_among(tasks)

    async def start(self) -> None:
        """Recover: rebuild from the store, replay what the log holds beyond it, expect the workers back.

        Raises StoreDamaged when store and log do not fit together.
        """
        applied = self._applier.recover(gently=self._settings.recovers_gently)
        await self._log.start(applied, self._proposer.committed)
        self._applier.go_live()
        self._tallies.go_live()
        self._operating.go_live()
        self._is_started = True
        self.lead(self._log.is_leader)
        self._every(SWEEP_SECONDS, self._sweep)
        self._every(RETIRE_SECONDS, self._retire)
        self._every(SYNC_SECONDS, self._applier.sync)
        self._every(STATS_SECONDS, self._operating.turn)
        self._every(STATS_SECONDS, self._tell_stats)
        self._every(STATS_SECONDS, self._chronicle.turn)

    def lead(self, leads: bool) -> None:
        """Told by a cluster's log. A new leader gives every session the grace to come; an old one forgets them."""
        if not self._is_started or self._is_stopped or leads == self._leads:
            return
        self._leads = leads
        if not leads:
            lead_no_more(self._roster, self._deliveries, self._waiters)
            return
        self._entry_clock = EntryClock(self._clock, self._state.clock_ms)
        begin_to_lead(self._state, self._roster, self._attendance, self._proposer, now_ms=self._now_ms())
        self._timekeeper.look()

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        self._handlers[type(request)](peer, request, answer)

    async def catch_up(self) -> None:
        """Return once everything that is due by the clock has been done. For clocks that move only when told to."""
        due_ms = self._applier.machine.next_due_ms()
        while due_ms is not None and due_ms <= self._now_ms():
            done: Future[None] = self._loop.create_future()
            self._tick(partial(done.set_result, None))
            await done
            due_ms = self._applier.machine.next_due_ms()
        self._purges.retire()

    def disconnected(self, peer: Peer) -> None:
        self._attendance.disconnected(peer)
        self._waiters.release(peer)
        self._reads.drop(peer)

    async def stop(self) -> None:
        if self._is_stopped:
            return
        self._is_stopped = True
        self._timekeeper.stop()
        for chore in self._chores:
            chore.cancel()
        self._deliveries.end_claims()
        self._reader.end_waits()
        await self._proposer.drain()
        self._reads.close()
        self._applier.stop()
        await self._log.close()

    # ------------------------------------------------------------ tasks

    def _submit(self, peer: Peer, request: Submit, answer: Answer) -> None:
        tasks, count = request.tasks, len(request.tasks)
        size = 0
        for spec in tasks:
            size += len(spec[2])
        self._proposer.add(SubmitTasks(tasks), answer, tasks=count, size=size, new=count)

    def _cancel(self, peer: Peer, request: Cancel, answer: Answer) -> None:
        self._proposer.add(CancelTask(request.task_id, request.force), answer)

    def _retry(self, peer: Peer, request: Retry, answer: Answer) -> None:
        self._proposer.add(RetryTask(request.task_id, request.max_retries), answer)

    def _purge(self, peer: Peer, request: Purge, answer: Answer) -> None:
        self._purges.purge(request, answer)

    # ------------------------------------------------------------ questions

    def _backup(self, peer: Peer, request: Backup, answer: Answer) -> None:
        self._reader.backup(request.directory, answer)

    def _ping(self, peer: Peer, request: Ping, answer: Answer) -> None:
        answer(Done())

    # ------------------------------------------------------------ inside

    def _health(self) -> Health:
        return Health(
            status="healthy" if not self._is_stopped else "degraded",
            is_leader=self._log.is_leader,
            leader="",
            # A follower knows them by their sessions, those included that are away for a moment.
            connected_workers=self._roster.connected_count() if self._leads else len(self._state.sessions),
            pending_tasks=self._state.totals[PENDING],
            durability=self._settings.durability,
        )

    def _tell_stats(self) -> None:
        # A follower knows no workers; its node asks the leader.
        if self._leads and self._announcer.wants_stats:
            self._announcer.stats(self._now_ms(), self._operating.stats(), self._operating.latest())

    def _act(self, outcome: Outcome) -> None:
        if outcome.effects:
            self._deliveries.act(outcome)
        if outcome.ended and self._waiters.any():
            self._reader.tell(outcome)
        notable = self._tallies.entry(outcome)
        self._operating.entry(outcome, notable)
        if (notable or outcome.attempts) and self._log.is_leader:
            self._chronicle.entry(outcome, notable)
        self._announcer.entry(outcome)
        self._timekeeper.look()

    def _retire(self) -> None:
        if self._leads:
            self._purges.retire()

    def _next_due_ms(self) -> int | None:
        """Followers wait for the leader's ticks."""
        return self._applier.machine.next_due_ms() if self._leads else None

    def _sweep(self) -> None:
        for session_id in self._roster.lost():
            self._attendance.close_lost(session_id)

    def _withdraw(self, session_id: bytes) -> None:
        self._proposer.add(ClaimTasks(session_id, 0), ignore)

    def _now_ms(self) -> int:
        return self._entry_clock.now_ms(may_jump=not self._state.totals[IN_PROGRESS])

    def _tick(self, done: Callable[[], None]) -> None:
        self._proposer.add(Tick(), lambda _: done())

    def _every(self, seconds: float, chore: Callable[[], None]) -> None:
        slot = len(self._chores)

        def run() -> None:
            self._chores[slot] = self._loop.call_later(seconds, run)
            chore()

        self._chores.append(self._loop.call_later(seconds, run))
