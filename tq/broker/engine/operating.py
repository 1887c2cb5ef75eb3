"""What operators look at beside single tasks, and what they do to queues and to many tasks: from verb to answer."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

from tq.broker.backend import Answer, Peer
from tq.broker.engine.dead_letters import DeadLetterReader
from tq.broker.engine.failures import RecentFailures
from tq.broker.engine.many import Many
from tq.broker.engine.proposer import Proposer
from tq.broker.engine.reads import Reads
from tq.broker.engine.roster import Roster
from tq.broker.engine.statistics import queues_of, stats_of, workers_of
from tq.broker.engine.tallies import Tallies
from tq.broker.engine.trends import Trends
from tq.broker.machine.commands import ImportTasks, SetPause
from tq.broker.machine.effects import Outcome
from tq.broker.machine.heads import Head
from tq.broker.machine.state import State
from tq.broker.storage.store import Store
from tq.clock import Clock
from tq.verbs import (
    CancelMany,
    ForgetMany,
    GetSeries,
    GetStats,
    GroupDeadLetters,
    Import,
    ListFailures,
    ListQueues,
    ListWorkers,
    PauseQueue,
    Request,
    ResumeQueue,
    RetryMany,
    Series,
    Stats,
)

Handler = Callable[[Peer, Any, Answer], None]


class Operating:
    def __init__(
        self,
        store: Store,
        reads: Reads,
        state: State,
        roster: Roster,
        proposer: Proposer,
        clock: Clock,
        loop: AbstractEventLoop,
        *,
        tallies: Tallies,
        now_ms: Callable[[], int],
        durability: str,
    ) -> None:
        """now_ms: by the entries' clock."""
        self._store = store
        self._state = state
        self._roster = roster
        self._proposer = proposer
        self._now_ms = now_ms
        self._durability = durability
        self.dead_letters = DeadLetterReader(store, reads, state, clock.monotonic_ms, loop.call_later)
        self._many = Many(store, reads, state, proposer, self.dead_letters)
        self._trends = Trends(state, tallies, now_ms)
        self._failures = RecentFailures()
        self.turn = self._trends.turn
        """To be called about once a second."""

    def handlers(self) -> dict[type[Request], Handler]:
        return {
            GetStats: lambda peer, request, answer: answer(self.stats()),
            ListWorkers: lambda peer, request, answer: answer(workers_of(self._state, self._roster)),
            ListQueues: lambda peer, request, answer: answer(queues_of(self._state, self.stats())),
            GetSeries: lambda peer, request, answer: answer(self._trends.series()),
            ListFailures: lambda peer, request, answer: answer(self._failures.latest(request.limit)),
            GroupDeadLetters: self.dead_letters.groups,
            CancelMany: self._many.cancel,
            RetryMany: self._many.retry,
            ForgetMany: self._many.forget,
            Import: self._import,
            PauseQueue: self._pause,
            ResumeQueue: self._resume,
        }

    def go_live(self) -> None:
        """The log is replayed, and the tallies count from here on."""
        self._failures.begin(self._store, self._state)
        self._trends.go_live()

    def entry(self, outcome: Outcome, notable: list[Head]) -> None:
        """An entry was applied. notable: ended heads, the dead letters among them."""
        if notable or outcome.attempts:
            self._failures.entry(outcome, notable, self._state.clock_ms)

    def stats(self) -> Stats:
        return stats_of(
            self._state,
            now_ms=self._now_ms(),
            worker_count=self._roster.connected_count(),
            durability=self._durability,
            rates=self._trends.rates(),
        )

    def latest(self) -> Series:
        """The minute that runs now, alone."""
        return self._trends.series(1)

    def _import(self, peer: Peer, request: Import, answer: Answer) -> None:
        tasks = request.tasks
        size = sum(len(task.payload) + len(task.result) for task in tasks)
        self._proposer.add(ImportTasks(tasks), answer, tasks=len(tasks), size=size)

    def _pause(self, peer: Peer, request: PauseQueue, answer: Answer) -> None:
        self._proposer.add(SetPause(request.queue, True, request.reason), answer)

    def _resume(self, peer: Peer, request: ResumeQueue, answer: Answer) -> None:
        self._proposer.add(SetPause(request.queue, False, ""), answer)
