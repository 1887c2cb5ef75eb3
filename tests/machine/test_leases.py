"""Leases and tokens: who is handed what, and what becomes of it when a worker goes or comes back."""

from __future__ import annotations

import pytest

from tests.machine.scenes import Scene, leased, leased_to, opening, revoked, spec, task_id
from tq.broker.machine.commands import (
    CancelTask,
    ChangeCapacity,
    ClaimTasks,
    CloseSession,
    DrainSessions,
    ExtendLeases,
    SettleTasks,
    SubmitTasks,
)
from tq.broker.machine.effects import Dismiss, Revoke
from tq.broker.machine.machine import Machine
from tq.broker.tables import Table
from tq.errors import LeaseLost, WorkerNotFound
from tq.ids import to_text
from tq.task import (
    CANCELLED,
    COMPLETED,
    IN_PROGRESS,
    PENDING,
    Cause,
    Counters,
)
from tq.verbs import SETTLED_LEASE_LOST, Done, Drained, Registered, Settled, SettleItem


@pytest.fixture
def scene() -> Scene:
    return Scene()


# ---------------------------------------------------------------- leases


def test_submit_that_meets_a_free_worker_is_leased_in_the_same_entry(scene: Scene) -> None:
    scene.open()

    assert leased(scene.apply(SubmitTasks((spec(1),)))) == [1]


def test_settle_leases_the_next_task_in_the_same_entry(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.open()

    assert leased(scene.settle(1)) == [2]


def test_token_of_a_lease_is_the_index_of_its_entry_and_grows(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1))
    first = scene.token(1)
    assert first == len(scene.log)

    scene.settle(1, cause=Cause.RELEASED)

    assert scene.token(1) == len(scene.log) > first


def test_worker_is_only_given_types_and_queues_it_serves(scene: Scene) -> None:
    scene.submit(spec(1, task_type="other"), spec(2, queue="other"), spec(3))

    assert leased(scene.open(capacity=9)) == [3]


def test_capacity_bounds_what_a_worker_holds(scene: Scene) -> None:
    scene.submit(*[spec(number) for number in range(1, 6)])

    assert leased(scene.open(capacity=3)) == [1, 2, 3]
    assert leased(scene.apply(ChangeCapacity(b"w1", 4))) == [4]
    assert leased(scene.apply(ChangeCapacity(b"w1", 0))) == []
    assert leased(scene.settle(1)) == []


def test_claim_gives_so_many_beyond_the_capacity_and_no_more(scene: Scene) -> None:
    scene.submit(*[spec(number) for number in range(1, 6)])
    scene.open(capacity=1)

    assert leased(scene.apply(ClaimTasks(b"w1", 2))) == [2, 3]
    assert leased(scene.settle(2)) == []
    assert leased(scene.settle(1, 3)) == [4]


def test_claim_of_zero_takes_back_what_is_unspent(scene: Scene) -> None:
    scene.open(capacity=0)
    scene.apply(ClaimTasks(b"w1", 2))
    scene.apply(ClaimTasks(b"w1", 0))

    assert leased(scene.apply(SubmitTasks((spec(1),)))) == []


def test_commands_for_a_session_that_is_not_open_say_so(scene: Scene) -> None:
    scene.submit(spec(1))
    item = SettleItem(task_id(1), 1)

    outcome = scene.apply(
        ChangeCapacity(b"w1", 1),
        ClaimTasks(b"w1", 1),
        CloseSession(b"w1", Cause.RELEASED),
        SettleTasks(b"w1", (item,)),
        ExtendLeases(b"w1", ((task_id(1), 1, 1),)),
    )

    assert isinstance(outcome.replies[0], LeaseLost) and isinstance(outcome.replies[1], LeaseLost)
    assert outcome.replies[2:] == [
        Done(),
        Settled(bytes([SETTLED_LEASE_LOST])),
        Settled(bytes([SETTLED_LEASE_LOST])),
    ]


def test_expired_task_is_not_leased_though_no_tick_has_come(scene: Scene) -> None:
    scene.submit(spec(1, expires_at_ms=scene.now_ms + 10), spec(2))
    scene.now_ms += 10

    outcome = scene.open()

    assert leased(outcome) == [2]
    assert [head.task_id for head in outcome.ended] == [task_id(1)]


# ---------------------------------------------------------------- workers coming and going


def test_tasks_of_a_lost_worker_go_back_in_order_and_are_counted_as_lost(scene: Scene) -> None:
    scene.submit(*[spec(number) for number in range(1, 6)])
    scene.open(capacity=3)
    scene.close(cause=Cause.LEASE_LOST)

    assert leased(scene.open("w2", capacity=5)) == [1, 2, 3, 4, 5]
    assert scene.head(1).counters == Counters(leases_lost=1)


def test_tasks_of_a_worker_that_says_goodbye_go_back_at_no_cost(scene: Scene) -> None:
    scene.submit(spec(1))
    scene.open()

    scene.close(cause=Cause.RELEASED)

    assert scene.head(1).counters == Counters(releases=1)
    assert scene.node.rows.tables[Table.SESSION] == {}


def test_worker_that_comes_back_keeps_its_leases(scene: Scene) -> None:
    scene.submit(spec(1))
    scene.open()
    token = scene.token(1)

    outcome = scene.open(holds=((task_id(1), token),))

    assert outcome.replies == [Registered((), 0)] and outcome.effects == []
    assert scene.token(1) == token


def test_lease_that_never_arrived_is_delivered_again_with_its_token(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.open(capacity=2)
    token = scene.token(2)

    outcome = scene.open(capacity=2, holds=((task_id(1), token),))

    assert leased(outcome) == [2]
    assert scene.token(2) == token and scene.head(2).attempts == 1


def test_lease_is_delivered_again_to_a_worker_that_lists_an_older_one_of_the_same_task(scene: Scene) -> None:
    scene.submit(spec(1))
    scene.open()
    older = (task_id(1), scene.token(1))
    scene.settle(1, cause=Cause.RELEASED)

    outcome = scene.open(holds=(older,))

    assert outcome.replies == [Registered((older,), 0)]
    assert leased(outcome) == [1]


def test_lease_that_never_arrived_and_is_cancelled_in_the_same_entry_is_not_delivered(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.open(capacity=2)

    outcome = scene.apply(opening(capacity=2), CancelTask(task_id(1), True))
    assert leased(outcome) == [2]

    outcome = scene.apply(opening(capacity=2), CloseSession(b"w1", Cause.RELEASED))
    assert leased(outcome) == []


def test_holds_that_are_lost_are_told_when_the_worker_registers(scene: Scene) -> None:
    scene.submit(spec(1))
    scene.open()
    hold = (task_id(1), scene.token(1))
    scene.close()

    outcome = scene.open(capacity=0, holds=(hold, (task_id(8), 3)))

    assert outcome.replies == [Registered((hold, (task_id(8), 3)), 0)]


def test_registering_again_frees_the_slots_of_attempts_that_were_taken_away(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.open()
    hold = (task_id(1), scene.token(1))
    assert leased(scene.cancel(1, force=True)) == []

    outcome = scene.open(holds=(hold,))

    assert outcome.replies == [Registered((hold,), 0)]
    assert leased(outcome) == [2]


def test_session_may_come_back_to_serve_something_else(scene: Scene) -> None:
    scene.submit(spec(1, queue="a"), spec(2, queue="b"))
    scene.open(queues=("a",))
    scene.close()
    scene.open(queues=("b",))

    scene.open(queues=("a",), capacity=2)

    assert scene.state(1) == scene.state(2) == IN_PROGRESS
    assert len(scene.machine.state.groups) == 1


def test_cancelled_running_task_frees_its_slot_only_when_its_worker_settles(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.open()
    token = scene.token(1)

    outcome = scene.cancel(1, force=True)

    assert scene.state(1) == CANCELLED
    assert revoked(outcome) == [Revoke(b"w1", task_id(1), token, "cancelled")] and leased(outcome) == []
    assert leased(scene.settle_late(1, token, cause=Cause.CANCELLED)) == [2]


def test_slot_stays_taken_when_the_cancelled_task_runs_again_on_the_same_worker(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.open(capacity=2)
    scene.settle(2)
    first = scene.token(1)
    scene.cancel(1, force=True)
    scene.retry(1)
    scene.submit(spec(3))
    assert (scene.state(1), scene.state(3)) == (IN_PROGRESS, PENDING)

    assert leased(scene.settle_late(1, first)) == [3]


def test_taken_slots_outlive_a_restart_of_the_broker(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.open()
    token = scene.token(1)
    scene.cancel(1, force=True)
    scene.node = scene.node.restart()
    scene.submit(spec(3))
    assert scene.state(3) == PENDING

    assert leased_to(scene.settle_late(1, token)) == {"w1": [2]}


# ---------------------------------------------------------------- draining


def dismissed(scene: Scene, worker: str) -> list[bytes]:
    outcome = scene.apply(DrainSessions(worker))
    return [effect.session_id for effect in outcome.effects if isinstance(effect, Dismiss)]


def test_drained_worker_is_told_and_handed_nothing_more_whatever_it_asks_for(scene: Scene) -> None:
    scene.submit(*[spec(number) for number in range(1, 5)])
    scene.open(capacity=1)

    assert dismissed(scene, "w1") == [b"w1"]

    assert leased(scene.settle(1)) == []
    assert leased(scene.apply(ChangeCapacity(b"w1", 5))) == []
    assert leased(scene.apply(ClaimTasks(b"w1", 2))) == []
    assert scene.state(2) == PENDING


def test_drained_worker_keeps_what_it_runs_until_it_settles(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1))

    scene.apply(DrainSessions("w1"))

    assert scene.state(1) == IN_PROGRESS
    scene.settle(1)
    assert scene.state(1) == COMPLETED


def test_draining_is_for_every_session_of_the_worker_and_for_no_other(scene: Scene) -> None:
    first, second = opening("s1"), opening("s2")
    scene.apply(first._replace(worker_id="twice"), second._replace(worker_id="twice"))
    scene.open("s3")

    assert scene.apply(DrainSessions("twice")).replies == [Drained((b"s1", b"s2"))]

    assert leased_to(scene.apply(SubmitTasks((spec(1), spec(2))))) == {"s3": [1]}


def test_session_is_drained_by_its_own_id_too(scene: Scene) -> None:
    session_id = bytes(range(16))
    scene.apply(opening()._replace(session_id=session_id))

    assert dismissed(scene, to_text(session_id)) == [session_id]


def test_nobody_is_drained_under_an_id_that_no_worker_has(scene: Scene) -> None:
    scene.open()

    (reply,) = scene.apply(DrainSessions("w2")).replies

    assert isinstance(reply, WorkerNotFound)
    assert leased(scene.apply(SubmitTasks((spec(1),)))) == [1]


def test_drained_worker_that_comes_back_is_told_again_and_one_that_starts_anew_works(scene: Scene) -> None:
    scene.open()
    scene.apply(DrainSessions("w1"))

    back = scene.open()
    assert Dismiss(b"w1") in back.effects
    assert leased(scene.apply(SubmitTasks((spec(1),)))) == []

    assert leased(scene.apply(opening("new")._replace(worker_id="w1"))) == [1]


def test_waiting_task_says_that_every_worker_for_it_is_draining(scene: Scene) -> None:
    scene.open(capacity=3)
    scene.apply(DrainSessions("w1"), SubmitTasks((spec(1),)))

    assert scene.why(1) == "every worker that serves type 'send' is draining"


def test_draining_outlives_a_restart_and_a_row_that_knows_nothing_of_it_is_read(scene: Scene) -> None:
    scene.open()
    scene.apply(DrainSessions("w1"))
    scene.node = scene.node.restart()
    assert leased(scene.apply(SubmitTasks((spec(1),)))) == []

    session = scene.machine.state.sessions[b"w1"]
    older = Machine(scene.node.rows)
    older.restore(Table.SESSION, b"w1", session.record()[:10])

    assert not older.state.sessions[b"w1"].is_draining
