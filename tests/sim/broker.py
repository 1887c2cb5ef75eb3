"""The broker of a simulated node: the production parts above the log, put together as the backend does.

Proposer, applier, machine, roster, deliveries, attendance, succession and timekeeper are the real ones. What is missing between
this and `NativeBackend` are the questions (lists, statistics), which decide nothing.
"""

from __future__ import annotations

from asyncio import Task
from collections import Counter
from collections.abc import Callable

from tests.sim.consensus import Consensus, Surroundings
from tq.broker.backend import Answer, Peer
from tq.broker.engine.applier import Applier
from tq.broker.engine.attendance import Attendance
from tq.broker.engine.deliveries import Deliveries
from tq.broker.engine.entry_clock import EntryClock
from tq.broker.engine.proposer import Proposer
from tq.broker.engine.roster import Roster
from tq.broker.engine.succession import begin_to_lead, lead_no_more
from tq.broker.engine.timekeeper import Timekeeper
from tq.broker.engine.waiters import Waiters
from tq.broker.machine.commands import ClaimTasks, Command, SubmitTasks, Tick
from tq.broker.machine.effects import Outcome
from tq.broker.machine.heads import EndedRecord
from tq.broker.machine.machine import Machine
from tq.broker.storage.store import Store
from tq.errors import BrokerUnavailable, NotLeader
from tq.task import TaskSpec
from tq.verbs import Heartbeat, Register, Settle

GRACE_MS = 2_000
CHORE_SECONDS = 0.25
CHECK_ENTRIES = 400
"""The machine's own invariants are looked at so often: a walk over the whole state."""


class Silence:
    """An announcer nobody listens to."""

    def worker(self, session_id: bytes, change: str) -> None:
        """Said to nobody."""


class Broker:
    """One incarnation. ended: task id -> how often it reached an end, on this node, since it was applied from."""

    def __init__(self, around: Surroundings, raft: Consensus) -> None:
        self._around = around
        self._raft = raft
        self._loop = around.loop
        self._task: Task[None] | None = None
        self._entry_clock = EntryClock(around.clock)
        self._leads = False
        self.is_live = False
        self.ended: Counter[bytes] = Counter()
        self._begin_on(raft.store)

    def _begin_on(self, store: Store) -> None:
        around = self._around
        self.store = store
        self._applier = Applier(
            store,
            around.disk_thread,  # type: ignore[arg-type]
            self._loop,
            on_synced=self._raft.log.release,
            on_fatal=around.on_fatal,
        )
        self._applied = self._applier.recover()
        self._proposer = Proposer(
            self._loop,
            self._raft.log,
            stamp=self._stamp,
            apply=self._apply,
            proposed=self._applier.hand_over,
            act=self._act,
            on_fatal=around.on_fatal,
            wait_ms=0,
        )
        self._roster = Roster(around.clock, grace_ms=GRACE_MS)
        self._deliveries = Deliveries(
            self._loop, self._applier.written, self._roster, withdraw=self._withdraw
        )
        self._waiters = Waiters()
        self._attendance = Attendance(
            self._loop,
            self._proposer,
            self._roster,
            self._deliveries,
            Silence(),  # type: ignore[arg-type]
            self._waiters,
            self._applier.machine.state,
            leads=lambda: self._leads,
            grace_ms=GRACE_MS,
        )
        self._timekeeper = Timekeeper(
            self._loop, next_due_ms=self._next_due_ms, now_ms=self._stamp, tick=self._tick
        )

    # ------------------------------------------------------------ life

    @property
    def machine(self) -> Machine:
        return self._applier.machine

    @property
    def applied_index(self) -> int:
        return self._applied

    def start(self) -> None:
        self._task = self._loop.create_task(self._start())
        self._task.add_done_callback(self._started)

    def _started(self, task: Task[None]) -> None:
        error = task.exception()
        if error is not None:
            self._around.on_fatal(error)

    async def _start(self) -> None:
        await self._raft.log.start(self._applied, self.committed)
        self._applier.go_live()
        self.is_live = True
        self.lead(self._raft.is_leader)
        self._chores()

    def lead(self, leads: bool) -> None:
        """See `NativeBackend.lead`."""
        if not self.is_live or leads == self._leads:
            return
        self._leads = leads
        if not leads:
            lead_no_more(self._roster, self._deliveries, self._waiters)
            return
        state = self.machine.state
        self._entry_clock = EntryClock(self._around.clock, state.clock_ms)
        begin_to_lead(state, self._roster, self._attendance, self._proposer, now_ms=self._stamp())
        self._timekeeper.look()

    def committed(self, index: int, data: bytes) -> None:
        """The log's on_commit."""
        self._proposer.committed(index, data)

    def hand_over(self) -> None:
        """Give what was applied to the disk thread."""
        self._applier.hand_over()

    def replaced(self, store: Store) -> None:
        """A snapshot took the place of the state: begin again on it. What waited gets no answer, as after a crash."""
        self.lead(False)
        self._timekeeper.stop()
        self._begin_on(store)
        if self.is_live:
            self._applier.go_live()

    # ------------------------------------------------------------ what clients and workers ask

    def submit(self, tasks: tuple[TaskSpec, ...], answer: Answer) -> None:
        if not self._may_take(answer):
            return
        size = sum(len(spec.payload) for spec in tasks)
        self._proposer.add(SubmitTasks(tasks), answer, tasks=len(tasks), size=size)

    def register(self, peer: Peer, request: Register, answer: Answer) -> None:
        if self._may_attend(answer):
            self._attendance.register(peer, request, answer)

    def settle(self, peer: Peer, request: Settle, answer: Answer) -> None:
        if self._may_attend(answer):
            self._attendance.settle(peer, request, answer)

    def heartbeat(self, peer: Peer, answer: Answer) -> None:
        if self._may_attend(answer):
            self._attendance.heartbeat(peer, Heartbeat(), answer)

    def gone(self, peer: Peer) -> None:
        self._attendance.disconnected(peer)

    def find(self, task_id: bytes) -> int | EndedRecord | None:
        """The state of a live task, the record of an ended one, or None."""
        head = self.machine.state.heads.get(task_id)
        return head.state if head is not None else self._applier.written.get(task_id)

    def _may_attend(self, answer: Answer) -> bool:
        """As `clustering.gate` has it; submits go on to the log, which has to refuse them as well."""
        if self.is_live and not self._raft.is_leader:
            answer(NotLeader())
            return False
        return self._may_take(answer)

    def _may_take(self, answer: Answer) -> bool:
        if self.is_live:
            return True
        answer(BrokerUnavailable("the broker is starting"))
        return False

    # ------------------------------------------------------------ inside

    def _apply(self, index: int, now_ms: int, commands: list[Command]) -> Outcome:
        outcome = self._applier.apply(index, now_ms, commands)
        self._applied = index
        for head in outcome.ended:
            self.ended[head.task_id] += 1
        if index % CHECK_ENTRIES == 0:
            self.machine.check()
        return outcome

    def _act(self, outcome: Outcome) -> None:
        if outcome.effects:
            self._deliveries.act(outcome)
        self._timekeeper.look()

    def _chores(self) -> None:
        """What is done now and then."""
        self._loop.call_later(CHORE_SECONDS, self._chores)
        for session_id in self._roster.lost():
            self._attendance.close_lost(session_id)
        self._applier.sync()

    def _next_due_ms(self) -> int | None:
        """Followers wait for the leader's ticks."""
        return self.machine.next_due_ms() if self._leads else None

    def _stamp(self) -> int:
        return self._entry_clock.now_ms(may_jump=False)

    def _tick(self, done: Callable[[], None]) -> None:
        self._proposer.add(Tick(), lambda _: done())

    def _withdraw(self, session_id: bytes) -> None:
        self._proposer.add(ClaimTasks(session_id, 0), lambda _: None)
