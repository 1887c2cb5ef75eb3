"""Short words for scenes: a broker, its workers, what they are handed and what they say."""

from __future__ import annotations

from typing import Any

from tests.machine.harness import Broker
from tq.broker.machine.commands import (
    CancelTask,
    CloseSession,
    ForgetTasks,
    ImportTasks,
    OpenSession,
    RetryTask,
    SettleTasks,
    SubmitTasks,
    Tick,
)
from tq.broker.machine.effects import Lease, Outcome, Revoke
from tq.broker.machine.heads import EndedRecord, Head
from tq.task import DEAD_LETTER, Cause, EndedTask, TaskSpec
from tq.verbs import Reply, Settled, SettleItem


def task_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def spec(number: int, **fields: Any) -> TaskSpec:
    """fields: those of TaskSpec; dependencies as numbers."""
    fields["dependencies"] = tuple(task_id(one) for one in fields.get("dependencies", ()))
    return TaskSpec(task_id(number), fields.pop("task_type", "send"), b"payload", **fields)


def past(number: int, **fields: Any) -> EndedTask:
    """A task that ended elsewhere, as a dead letter unless said otherwise; fields: those of EndedTask."""
    return EndedTask(
        task_id(number), fields.pop("task_type", "send"), fields.pop("state", DEAD_LETTER), **fields
    )


class Scene(Broker):
    """A broker, and numbers for its tasks, names for its sessions."""

    def submit(self, *specs: TaskSpec) -> Reply | Exception:
        return self.apply(SubmitTasks(specs)).replies[0]

    def open(
        self,
        name: str = "w1",
        capacity: int = 1,
        *,
        queues: tuple[str, ...] = ("default",),
        task_types: tuple[str, ...] = ("send",),
        holds: tuple[tuple[bytes, int], ...] = (),
    ) -> Outcome:
        return self.apply(opening(name, capacity, queues=queues, task_types=task_types, holds=holds))

    def close(self, name: str = "w1", cause: int = Cause.LEASE_LOST) -> Outcome:
        return self.apply(CloseSession(name.encode(), cause))

    def settle(self, *numbers: int, name: str = "", cause: int = Cause.DONE, **fields: Any) -> Outcome:
        """Settle running tasks with the tokens they run under, by whoever runs them unless a name is given."""
        heads = [self.head(number) for number in numbers]
        holds = [head.hold for head in heads if head.hold]
        assert len(holds) == len(heads), "all of them run"
        items = tuple(
            SettleItem(head.task_id, hold.token, int(cause), **fields)
            for head, hold in zip(heads, holds, strict=True)
        )
        return self.apply(SettleTasks(name.encode() or holds[0].session_id, items))

    def settle_late(self, number: int, token: int, name: str = "w1", cause: int = Cause.DONE) -> Outcome:
        return self.apply(SettleTasks(name.encode(), (SettleItem(task_id(number), token, int(cause)),)))

    def cancel(self, number: int, *, force: bool = False) -> Outcome:
        return self.apply(CancelTask(task_id(number), force))

    def retry(self, number: int, max_retries: int = -1) -> Outcome:
        return self.apply(RetryTask(task_id(number), max_retries))

    def forget(self, *numbers: int) -> Outcome:
        return self.apply(ForgetTasks(tuple(task_id(number) for number in numbers)))

    def take_in(self, *tasks: EndedTask) -> Reply | Exception:
        return self.apply(ImportTasks(tasks)).replies[0]

    def wait(self, ms: int) -> Outcome:
        """Let time pass and a tick come."""
        self.now_ms += ms
        return self.apply(Tick())

    # ------------------------------------------------------------ looking

    def head(self, number: int) -> Head:
        return self.machine.state.heads[task_id(number)]

    def record(self, number: int) -> EndedRecord:
        record = self.node.rows.get(task_id(number))
        assert record is not None, f"task {number} has ended"
        return record

    def state(self, number: int) -> int:
        head = self.machine.state.heads.get(task_id(number))
        return self.record(number).state if head is None else head.state

    def token(self, number: int) -> int:
        hold = self.head(number).hold
        assert hold is not None, f"task {number} runs"
        return hold.token

    def why(self, number: int) -> str:
        return self.machine.why_waiting(self.head(number))


def opening(
    name: str = "w1",
    capacity: int = 1,
    *,
    queues: tuple[str, ...] = ("default",),
    task_types: tuple[str, ...] = ("send",),
    holds: tuple[tuple[bytes, int], ...] = (),
) -> OpenSession:
    return OpenSession(name.encode(), name, queues, task_types, capacity, holds, "host", 1, "1.0")


def leased(outcome: Outcome) -> list[int]:
    """Numbers of the tasks an entry handed out, in order."""
    return [
        int.from_bytes(head.task_id, "big")
        for effect in outcome.effects
        if isinstance(effect, Lease)
        for head in effect.heads
    ]


def leased_to(outcome: Outcome) -> dict[str, list[int]]:
    return {
        effect.session_id.decode(): [int.from_bytes(head.task_id, "big") for head in effect.heads]
        for effect in outcome.effects
        if isinstance(effect, Lease)
    }


def revoked(outcome: Outcome) -> list[Revoke]:
    return [effect for effect in outcome.effects if isinstance(effect, Revoke)]


def codes(outcome: Outcome) -> list[int]:
    """What a settle or an extension, the only command of its entry, was answered item by item."""
    (reply,) = outcome.replies
    assert isinstance(reply, Settled)
    return list(reply.codes)
