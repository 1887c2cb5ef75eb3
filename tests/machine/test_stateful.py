"""The machine against the model: random commands, one or many an entry, with a second node restored on the way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.machine.harness import Broker, Node, said
from tests.machine.model import Model
from tq.broker.machine.commands import (
    CancelTask,
    ChangeCapacity,
    ClaimTasks,
    CloseSession,
    Command,
    DrainSessions,
    ExtendLeases,
    ForgetTasks,
    ImportTasks,
    OpenSession,
    RetryTask,
    SetPause,
    SettleTasks,
    SubmitTasks,
    Tick,
)
from tq.broker.machine.effects import Lease, Outcome
from tq.errors import InvalidStatus, LeaseLost, TaskNotFound, WorkerNotFound
from tq.ids import to_text
from tq.retry import CUSTOM, EXPONENTIAL, FIXED, LINEAR, RetryPolicy
from tq.task import COMPLETED, ENDED_STATES, EXPIRED, PENDING, Cause, EndedTask, TaskSpec
from tq.verbs import Changed, Done, Drained, Purged, Registered, Settled, SettleItem, Submitted, TaskRef

IDS = [bytes([number]) * 16 for number in range(1, 17)]
SESSIONS = [bytes([number]) * 16 for number in range(201, 205)]
QUEUES, TYPES, KEYS = ("mail", "bulk"), ("send", "pack"), ("k1", "k2")
MOMENTS = (0, 1, 1_500, 60_000)
FEATURES = ("schedule", "delay", "expiry", "policy", "unique", "depends", "depends")
POLICIES = (
    None,
    RetryPolicy(FIXED, 0),
    RetryPolicy(LINEAR, 700, jitter_permille=0),
    RetryPolicy(EXPONENTIAL, 500, 3000, 4000),
    RetryPolicy(CUSTOM, delays_ms=(1, 2_000)),
)
STEPS = (
    *("submit",) * 8,
    *("submit_plain",) * 3,
    *("settle",) * 8,
    *("pass_time",) * 5,
    *("cancel", "retry", "forget", "take_in", "reopen", "extend") * 2,
    *("close", "resize", "claim", "pause", "drain", "restart", "take_over"),
)
"""What a step does, as often as it stands here."""
ids = st.sampled_from(IDS)
sessions = st.sampled_from(SESSIONS)
subsets = st.sampled_from([QUEUES, QUEUES, QUEUES[:1], QUEUES[1:]])
type_subsets = st.sampled_from([TYPES, TYPES, TYPES[:1], TYPES[1:]])


class Comparison(RuleBasedStateMachine):
    """`told` and `expected` stand for one entry: commands gather until a rule ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker()
        self.model = Model()
        self.second: Node | None = None
        self.commands: list[Command] = []
        self.expected: list[Any] = []
        self.again: dict[bytes, list[tuple[bytes, int]]] = {}
        self.leases: list[tuple[bytes, bytes, int]] = []
        """(session, task, token) of every lease ever"""

    def do(self, command: Command, expect: Callable[[], Any], ends: bool) -> None:
        """Tell both; `ends`: the entry is complete with this."""
        self.model.clock_ms = max(self.model.clock_ms, self.broker.now_ms)
        self.commands.append(command)
        self.expected.append(expect())
        if ends:
            self.end_entry()

    def end_entry(self) -> None:
        if not self.commands:
            return
        outcome = self.broker.apply(*self.commands)
        if self.second is not None:
            index = len(self.broker.log)
            again = said(self.second.apply(index, self.broker.now_ms, self.commands))
            assert again == said(outcome), "a restored node says the same"
            assert self.second.machine.digest() == self.broker.machine.digest()
        for reply, expected, command in zip(outcome.replies, self.expected, self.commands, strict=True):
            assert _in_short(reply, command) == expected
        self.commands, self.expected = [], []
        self.compare(outcome)

    def compare(self, outcome: Outcome) -> None:
        model, state = self.model, self.broker.machine.state
        for head in outcome.ended:
            task = model.tasks.get(head.task_id)
            if task is not None and head.state == EXPIRED and task.state == PENDING and head.seq:
                assert model.overdue(task), "expired before it could be leased"
                model.end(task, EXPIRED)
        self.compare_leases(outcome)
        assert {
            task_id for task_id, task in model.tasks.items() if task.state < COMPLETED
        } == state.heads.keys()
        for task_id, task in model.tasks.items():
            head_or_record = state.heads.get(task_id) or self.broker.node.rows.get(task_id)
            assert head_or_record is not None and head_or_record.state == task.state
            assert list(head_or_record.counters or [0] * 6) == task.counts
            assert head_or_record.attempts == task.attempts
        for head in state.heads.values():
            assert head.due_ms == (
                0 if model.tasks[head.task_id].state not in (1, 5) else model.tasks[head.task_id].due_ms
            )
            assert self.broker.machine.why_waiting(head)
        assert set(state.unique) == set(model.keys)
        for session_id, worker in model.workers.items():
            session = state.sessions[session_id]
            assert sorted(worker.slots) == sorted([*session.held.items(), *session.zombies])
            assert session.credit == worker.credit

    def compare_leases(self, outcome: Outcome) -> None:
        model, token = self.model, len(self.broker.log)
        got: dict[bytes, list[bytes]] = {}
        again: dict[bytes, list[tuple[bytes, int]]] = {}
        for effect in outcome.effects:
            if not isinstance(effect, Lease):
                continue
            for head in effect.heads:
                assert head.hold is not None and head.hold.session_id == effect.session_id
                if head.hold.token == token:
                    model.lease(effect.session_id, head.task_id, token)
                    got.setdefault(effect.session_id, []).append(head.task_id)
                    self.leases.append((effect.session_id, head.task_id, token))
                else:
                    again.setdefault(effect.session_id, []).append((head.task_id, head.hold.token))
        for session_id, task_ids in got.items():
            ranks = [model.tasks[task_id].rank for task_id in task_ids]
            assert ranks == sorted(ranks), "best first"
            left = [task.rank for task in model.can_take(session_id)]
            assert not left or min(left) > max(ranks), "nothing better is left behind"
        for session_id in model.workers:
            assert not (model.room(session_id) and model.can_take(session_id)), (
                "no idle slot beside a ready task"
            )
        due = {
            session_id: sorted(one for one in missed if model.holds(session_id, *one))
            for session_id, missed in self.again.items()
        }
        assert {session_id: sorted(one) for session_id, one in again.items()} == {
            k: v for k, v in due.items() if v
        }
        self.again = {}

    # ------------------------------------------------------------ rules

    @initialize(capacities=st.lists(st.integers(1, 3), min_size=1, max_size=2))
    def workers(self, capacities: list[int]) -> None:
        for session_id, capacity in zip(SESSIONS, capacities, strict=False):
            self.open_session(session_id, QUEUES, TYPES, capacity, (), True)

    @rule(data=st.data(), name=st.sampled_from(STEPS), ends=st.sampled_from((True, True, False)))
    def step(self, data: st.DataObject, name: str, ends: bool) -> None:
        """One rule for all commands, so that what matters most is drawn most. ends: the entry is complete with it."""
        getattr(self, name)(data, ends)

    def submit(self, data: st.DataObject, ends: bool) -> None:
        specs = tuple(self.draw_spec(data) for _ in range(data.draw(st.integers(1, 3))))
        self.do(SubmitTasks(specs), lambda: self.model.submit(specs), ends)

    def submit_plain(self, data: st.DataObject, ends: bool) -> None:
        specs = tuple(TaskSpec(data.draw(ids), TYPES[0], queue=QUEUES[0]) for _ in range(2))
        self.do(SubmitTasks(specs), lambda: self.model.submit(specs), ends)

    def draw_spec(self, data: st.DataObject) -> TaskSpec:
        """A task that is special in two ways at most: each draw costs more than the machine does."""
        spec = TaskSpec(
            data.draw(ids),
            data.draw(st.sampled_from(TYPES)),
            queue=data.draw(st.sampled_from(QUEUES)),
            priority=data.draw(st.sampled_from((0, 150, 150, 255))),
            max_retries=data.draw(st.integers(0, 1)),
        )
        for feature in data.draw(st.lists(st.sampled_from(FEATURES), max_size=2)):
            ms = data.draw(st.sampled_from(MOMENTS))
            match feature:
                case "schedule":
                    spec = spec._replace(schedule_at_ms=self.broker.now_ms - 500 + ms)
                case "delay":
                    spec = spec._replace(delay_ms=ms)
                case "expiry":
                    spec = spec._replace(expires_at_ms=self.broker.now_ms - 500 + ms)
                case "policy":
                    policy = data.draw(st.sampled_from(POLICIES))
                    spec = spec._replace(retry=policy, timeout_ms=1_000, metadata={"a": "b"})
                case "unique":
                    spec = spec._replace(unique_key=data.draw(st.sampled_from(KEYS)), unique_ttl_ms=ms)
                case _:
                    spec = spec._replace(dependencies=tuple(data.draw(st.lists(ids, max_size=2))))
        return spec

    def reopen(self, data: st.DataObject, ends: bool) -> None:
        known = [(task_id, token) for _, task_id, token in self.leases[-12:]]
        holds = data.draw(st.lists(st.sampled_from(known), max_size=4, unique=True)) if known else []
        served = data.draw(subsets), data.draw(type_subsets)
        self.open_session(data.draw(sessions), *served, data.draw(st.integers(0, 3)), tuple(holds), ends)

    def open_session(
        self,
        session_id: bytes,
        queues: tuple[str, ...],
        types: tuple[str, ...],
        capacity: int,
        holds: tuple[tuple[bytes, int], ...],
        ends: bool,
    ) -> None:
        def expect() -> object:
            lost, self.again[session_id] = self.model.open(session_id, queues, types, capacity, list(holds))
            return lost

        self.do(OpenSession(session_id, "w", queues, types, capacity, holds, "host", 1, "1.0"), expect, ends)

    def close(self, data: st.DataObject, ends: bool) -> None:
        session_id = data.draw(sessions)
        cause = int(data.draw(st.sampled_from((Cause.RELEASED, Cause.LEASE_LOST, Cause.CRASH))))
        self.do(CloseSession(session_id, cause), lambda: self.model.close(session_id, cause), ends)

    def resize(self, data: st.DataObject, ends: bool) -> None:
        session_id, capacity = data.draw(sessions), data.draw(st.integers(0, 4))
        expect = partial(self.set_on_worker, session_id, "capacity", capacity)
        self.do(ChangeCapacity(session_id, capacity), expect, ends)

    def drain(self, data: st.DataObject, ends: bool) -> None:
        session_id = data.draw(sessions)
        self.do(
            DrainSessions(to_text(session_id)),
            partial(self.set_on_worker, session_id, "draining", True),
            ends,
        )

    def claim(self, data: st.DataObject, ends: bool) -> None:
        session_id, credit = data.draw(sessions), data.draw(st.integers(0, 2))
        self.do(
            ClaimTasks(session_id, credit), partial(self.set_on_worker, session_id, "credit", credit), ends
        )

    def set_on_worker(self, session_id: bytes, name: str, value: int) -> bool:
        if session_id in self.model.workers:
            setattr(self.model.workers[session_id], name, value)
        return session_id in self.model.workers

    def settle(self, data: st.DataObject, ends: bool) -> None:
        """Mostly what is held, at times what is not any more, at times twice."""
        held = [one for one in self.leases if self.model.holds(*one)]
        is_fresh = data.draw(st.integers(0, 4)) > 0
        among = held if held and is_fresh else self.leases[-8:]
        if not among:
            return
        chosen = data.draw(st.lists(st.sampled_from(among), min_size=1, max_size=3))
        delay = data.draw(st.sampled_from((-1, -1, 0, 800)))
        causes = st.sampled_from((0, 0, 0, *map(int, Cause)))
        session_id = chosen[0][0]
        items = [(task_id, token, data.draw(causes), delay) for _, task_id, token in chosen]
        command = SettleTasks(
            session_id, tuple(SettleItem(one[0], one[1], one[2], b"r", "it broke", one[3]) for one in items)
        )
        self.do(command, lambda: self.model.settle(session_id, items), ends)

    def extend(self, data: st.DataObject, ends: bool) -> None:
        if self.leases:
            session_id, task_id, token = data.draw(st.sampled_from(self.leases[-4:]))
            items = [(task_id, token, data.draw(st.sampled_from((0, 2_000, 50_000))))]
            self.do(
                ExtendLeases(session_id, tuple(items)), lambda: self.model.extend(session_id, items), ends
            )

    def cancel(self, data: st.DataObject, ends: bool) -> None:
        task_id, force = data.draw(ids), data.draw(st.booleans())
        self.do(CancelTask(task_id, force), lambda: self.model.cancel(task_id, force), ends)

    def retry(self, data: st.DataObject, ends: bool) -> None:
        task_id, max_retries = data.draw(ids), data.draw(st.integers(-1, 1))
        self.do(RetryTask(task_id, max_retries), lambda: self.model.retry(task_id, max_retries), ends)

    def forget(self, data: st.DataObject, ends: bool) -> None:
        task_ids = tuple(data.draw(st.lists(ids, min_size=1, max_size=6)))
        self.do(ForgetTasks(task_ids), lambda: self.model.forget(task_ids), ends)

    def take_in(self, data: st.DataObject, ends: bool) -> None:
        """Tasks that ended elsewhere."""
        tasks = tuple(
            EndedTask(
                data.draw(ids),
                TYPES[0],
                data.draw(st.sampled_from(ENDED_STATES)),
                queue=QUEUES[0],
                failures=data.draw(st.integers(0, 2)),
                error="no",
            )
            for _ in range(2)
        )
        self.do(ImportTasks(tasks), lambda: self.model.take_in(tasks), ends)

    def pause(self, data: st.DataObject, ends: bool) -> None:
        queue, paused = data.draw(st.sampled_from(QUEUES)), data.draw(st.integers(0, 2)) == 0
        self.do(SetPause(queue, paused, "why"), lambda: self.model.pause(queue, paused), ends)

    def pass_time(self, data: st.DataObject, ends: bool) -> None:
        """The wall clock moves, at times back; a tick may come at once or later."""
        self.end_entry()
        self.broker.now_ms += data.draw(st.sampled_from((1, 400, 2_000, 7_000, 100_000, -3_000)))
        if ends:
            self.do(Tick(), self.model.tick, True)
            due_ms = self.broker.machine.next_due_ms()
            assert due_ms is None or due_ms > self.model.clock_ms, "a tick leaves nothing behind"

    def restart(self, data: st.DataObject, ends: bool) -> None:
        """A second node starts from the rows of the first and follows the log from here on."""
        self.end_entry()
        self.second = self.broker.node.restart()

    def take_over(self, data: st.DataObject, ends: bool) -> None:
        """The restored node is the one that goes on."""
        self.end_entry()
        if self.second is not None:
            self.broker.node, self.second = self.second, None

    def teardown(self) -> None:
        if len(self.commands) != len(self.expected):
            return  # a rule has failed half-way, and is reported as it is
        self.end_entry()
        replayed = self.broker.replay()
        assert replayed.machine.digest() == self.broker.machine.digest()
        assert replayed.rows.tables == self.broker.node.rows.tables
        self.broker.node.restart()


def _in_short(reply: Any, command: Command) -> Any:
    """A reply as the model gives it."""
    match reply:
        case Submitted():
            assert isinstance(command, SubmitTasks)
            names = {one.position: one.task_id for one in reply.existing}
            return [
                (names.get(position, spec.task_id), reply.states[position])
                for position, spec in enumerate(command.tasks)
            ]
        case Registered():
            return list(reply.lost)
        case Settled():
            return list(reply.codes)
        case Purged():
            return reply.purged
        case Changed():
            return reply.done
        case TaskRef():
            return "done"
        case TaskNotFound():
            return "unknown"
        case InvalidStatus():
            return "not now"
        case Done():
            return True if isinstance(command, ChangeCapacity | ClaimTasks) else None
        case Drained():
            return True
        case LeaseLost() | WorkerNotFound():
            return False
        case _:
            return None


TestComparison = pytest.mark.timeout(600)(Comparison.TestCase)
TestComparison.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
