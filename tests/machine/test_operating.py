"""What operators and clients ask: cancel, retry, forget, pause; and what they are told of a waiting task."""

from __future__ import annotations

import pytest

from tests.machine.scenes import Scene, leased, past, spec, task_id
from tq.broker.engine.entries import unpack_attempt, unpack_metadata
from tq.broker.machine.commands import ChangeCapacity, SetPause
from tq.broker.storage.keys import attempt_key, seq_key
from tq.broker.tables import Table
from tq.errors import BadRequest, InvalidStatus, TaskNotFound
from tq.retry import FIXED, RetryPolicy
from tq.task import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD_LETTER,
    IN_PROGRESS,
    PENDING,
    Cause,
    Counters,
)
from tq.verbs import Changed, Done, Purged, TaskRef


@pytest.fixture
def scene() -> Scene:
    return Scene()


# ---------------------------------------------------------------- cancel


def test_waiting_task_is_cancelled_in_every_state_of_waiting(scene: Scene) -> None:
    scene.submit(spec(1), spec(2, delay_ms=99), spec(3, dependencies=[1]), spec(4))
    scene.cancel(1)
    scene.open()
    scene.settle(4, cause=Cause.ERROR)

    replies = [scene.cancel(number).replies[0] for number in (2, 4)]

    assert replies == [TaskRef(task_id(2), CANCELLED), TaskRef(task_id(4), CANCELLED)]
    assert scene.state(3) == DEAD_LETTER
    assert scene.record(1).reason == "cancelled while it waited"


def test_running_task_is_cancelled_only_with_force(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1))

    assert isinstance(scene.cancel(1).replies[0], InvalidStatus)
    assert scene.state(1) == IN_PROGRESS
    assert scene.cancel(1, force=True).replies == [TaskRef(task_id(1), CANCELLED)]


def test_ended_or_unknown_task_is_not_cancelled(scene: Scene) -> None:
    scene.submit(spec(1))
    scene.cancel(1)

    again, unknown = scene.cancel(1).replies[0], scene.cancel(2).replies[0]

    assert isinstance(again, InvalidStatus) and "ended as cancelled and cannot be cancelled" in again.text
    assert isinstance(unknown, TaskNotFound)


# ---------------------------------------------------------------- retry


def test_dead_letter_comes_back_with_its_counters_at_zero_and_its_history_kept(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, max_retries=0, retry=RetryPolicy(FIXED, 7)))
    scene.settle(1, cause=Cause.ERROR, error="boom")

    reply = scene.retry(1).replies[0]

    assert reply == TaskRef(task_id(1), PENDING)
    head = scene.head(1)
    assert (head.state, head.attempts, head.counters) == (IN_PROGRESS, 2, Counters())
    assert len(scene.node.rows.tables[Table.ATTEMPT]) == 1


def test_retry_may_raise_max_retries(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, max_retries=0))
    scene.settle(1, cause=Cause.ERROR)

    scene.retry(1, 5)

    assert scene.head(1).terms.max_retries == 5


def test_only_dead_letters_and_cancelled_tasks_can_be_retried(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.open()
    scene.settle(1)

    assert isinstance(scene.retry(1).replies[0], InvalidStatus)
    assert isinstance(scene.retry(2).replies[0], InvalidStatus)
    assert isinstance(scene.retry(3).replies[0], TaskNotFound)
    assert scene.state(1) == COMPLETED


def test_task_whose_dependency_failed_comes_back_only_after_that_one(scene: Scene) -> None:
    scene.submit(spec(1), spec(2, dependencies=[1]))
    scene.cancel(1)
    reply = scene.retry(2).replies[0]
    assert isinstance(reply, InvalidStatus) and "retry that one first" in reply.text

    scene.retry(1)
    assert scene.retry(2).replies == [TaskRef(task_id(2), BLOCKED)]

    scene.open()
    assert leased(scene.settle(1)) == [2]


def test_task_that_comes_back_stands_behind_those_that_wait(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.cancel(1)
    scene.retry(1)

    assert leased(scene.open(capacity=2)) == [2, 1]


def test_task_that_comes_back_forgets_its_schedule_and_its_expiry(scene: Scene) -> None:
    scene.submit(spec(1, delay_ms=5_000, expires_at_ms=scene.now_ms + 9_000))
    scene.cancel(1)

    scene.retry(1)
    scene.wait(10_000)

    assert scene.state(1) == PENDING


def test_task_cancelled_and_retried_while_its_old_timer_stands_keeps_one_meaning(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1))
    for _ in range(2):
        scene.settle(1, cause=Cause.ERROR, delay_ms=100)
        scene.cancel(1)
        scene.retry(1)
    scene.settle(1, cause=Cause.ERROR, delay_ms=100)

    assert leased(scene.wait(100)) == [1]


# ---------------------------------------------------------------- forget


def test_forgotten_task_leaves_nothing_behind(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, metadata={"a": "b"}, max_retries=1))
    scene.settle(1, cause=Cause.ERROR, delay_ms=0)
    scene.wait(0)
    scene.settle(1, result=b"42")

    outcome = scene.forget(1)

    assert outcome.replies == [Purged(1, False)]
    tables = scene.node.rows.tables
    for table in (
        Table.ENDED,
        Table.PAYLOAD,
        Table.EXTRA,
        Table.RESULT,
        Table.ATTEMPT,
        Table.INDEX,
        Table.LIVE,
    ):
        assert tables[table] == {}
    assert scene.machine.state.totals == [0] * 10


def test_live_and_unknown_tasks_are_passed_over(scene: Scene) -> None:
    scene.submit(spec(1))

    assert scene.forget(1, 2).replies == [Purged(0, False)]
    assert scene.state(1) == PENDING


# ---------------------------------------------------------------- pause


def test_paused_queue_hands_out_nothing_until_it_is_resumed(scene: Scene) -> None:
    scene.submit(spec(1, queue="a"), spec(2, queue="b"))
    scene.apply(SetPause("a", True, "deploy"))
    assert leased(scene.open(capacity=9, queues=("a", "b"))) == [2]
    scene.submit(spec(3, queue="a", task_type="other"), spec(4, queue="a", priority=255))

    outcome = scene.apply(SetPause("a", False, ""))

    assert outcome.replies == [Done()]
    assert leased(outcome) == [4, 1]


def test_queue_may_be_paused_before_it_has_tasks_and_running_ones_go_on(scene: Scene) -> None:
    scene.open(capacity=9)
    scene.submit(spec(1))
    scene.apply(SetPause("default", True, ""))

    scene.submit(spec(2, queue="default"))
    scene.settle(1)

    assert (scene.state(1), scene.state(2)) == (COMPLETED, PENDING)
    scene.node = scene.node.restart()
    assert scene.why(2) == "queue 'default' is paused"


def test_resuming_what_is_not_paused_does_nothing(scene: Scene) -> None:
    scene.submit(spec(1))

    assert scene.apply(SetPause("default", False, "")).replies == [Done()]
    assert leased(scene.open()) == [1]


# ---------------------------------------------------------------- why a task is not running


def test_pending_task_says_why_it_is_not_running(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    assert scene.why(1) == "no connected worker serves type 'send' on queue 'default'"
    scene.open(capacity=0)
    assert scene.why(1) == "every worker that serves type 'send' is draining"
    scene.apply(ChangeCapacity(b"w1", 1))
    assert scene.why(2) == (
        "waiting for a free slot; in use: 1 slot of 1 worker that can run it; pending: 1 task of this type"
    )
    scene.apply(SetPause("default", True, "deploy"))
    assert scene.why(2) == "queue 'default' is paused: deploy"


def test_running_task_says_where_it_runs(scene: Scene) -> None:
    scene.submit(spec(1))
    scene.open()

    assert scene.why(1) == "running on worker w1, attempt 1"


def test_scheduled_and_retrying_tasks_say_when(scene: Scene) -> None:
    scene.submit(spec(1), spec(2, delay_ms=2_500))
    scene.open()
    scene.settle(1, cause=Cause.ERROR, delay_ms=500)

    assert scene.why(1) == "failed 1 of 4 times; next attempt in 0.5 s"
    assert scene.why(2) == "scheduled: due in 2.5 s"


def test_blocked_task_names_what_it_waits_for(scene: Scene) -> None:
    scene.submit(*[spec(number) for number in range(1, 6)], spec(6, dependencies=[1, 2, 3, 4, 5]))
    scene.open()
    named = ", ".join(f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2, 3))
    assert scene.why(6) == f"waiting for {named} and 2 more to complete"

    scene.settle(1)
    scene.settle(2)

    named = ", ".join(f"00000000-0000-0000-0000-00000000000{number}" for number in (3, 4, 5))
    assert scene.why(6) == f"waiting for {named} to complete"


# ---------------------------------------------------------------- counts


def test_waiting_counts_everything_that_neither_runs_nor_has_ended(scene: Scene) -> None:
    scene.submit(spec(1), spec(2, delay_ms=99), spec(3, dependencies=[2]), spec(4), spec(5))
    scene.open()
    scene.settle(1, cause=Cause.ERROR)
    scene.cancel(5)

    assert scene.state(4) == IN_PROGRESS
    assert scene.machine.state.waiting == 3


def test_tiers_count_pending_tasks_by_priority(scene: Scene) -> None:
    scene.submit(*[spec(number, priority=number) for number in (0, 99, 100, 199, 200, 255)])
    assert scene.machine.state.tiers == [2, 2, 2]

    scene.open(capacity=3)

    assert scene.machine.state.tiers == [2, 1, 0]


# ---------------------------------------------------------------- import


def test_imported_task_has_ended_as_it_did_elsewhere_with_its_times_and_failures(scene: Scene) -> None:
    ended_ms = scene.now_ms - 5_000
    times = {"created_ms": ended_ms - 900, "started_ms": ended_ms - 30, "ended_ms": ended_ms}

    reply = scene.take_in(
        past(1, state=COMPLETED, payload=b"in", result=b"out", failures=1, worker_id="duck", **times),
        past(2, failures=3, max_retries=2, error="it broke\nbadly", metadata={"a": "b"}, **times),
        past(3, state=CANCELLED),
    )

    assert reply == Changed(3, 0, 0)
    done, dead, cancelled = (scene.record(number) for number in (1, 2, 3))
    assert (done.created_ms, done.started_ms, done.ended_ms) == tuple(times.values())
    assert (done.state, done.attempts, done.counters, done.worker_id) == (COMPLETED, 2, Counters(1), "duck")
    assert (dead.state, dead.attempts, dead.reason) == (DEAD_LETTER, 3, "it broke")
    assert (cancelled.state, cancelled.attempts, cancelled.ended_ms) == (CANCELLED, 0, scene.now_ms)
    tables = scene.node.rows.tables
    assert tables[Table.RESULT] == {seq_key(done.seq): b"out"}
    assert tables[Table.PAYLOAD][seq_key(done.seq)] == b"in"
    assert unpack_metadata(tables[Table.EXTRA][seq_key(dead.seq)]) == {"a": "b"}
    attempts = {key: unpack_attempt(row).error for key, row in tables[Table.ATTEMPT].items()}
    assert attempts == {attempt_key(dead.seq, 3): "it broke\nbadly"}


def test_task_that_exists_is_not_imported_whatever_it_is(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.cancel(2)
    scene.take_in(past(3))

    assert scene.take_in(past(1), past(2), past(3), past(4), past(4)) == Changed(1, 4, 0)
    assert [scene.state(number) for number in (1, 2, 3)] == [PENDING, CANCELLED, DEAD_LETTER]


def test_imported_times_of_the_future_are_those_of_its_arrival(scene: Scene) -> None:
    late = scene.now_ms + 60_000

    scene.take_in(past(1, failures=1, created_ms=late, started_ms=late, ended_ms=late))

    record = scene.record(1)
    assert (record.created_ms, record.started_ms, record.ended_ms) == (scene.now_ms,) * 3


def test_imported_dead_letter_is_retried_like_one_of_its_own(scene: Scene) -> None:
    scene.take_in(past(1, failures=4, queue="mail"))

    assert scene.retry(1).replies == [TaskRef(task_id(1), PENDING)]
    assert leased(scene.open(queues=("mail",))) == [1]
    scene.settle(1)
    assert scene.state(1) == COMPLETED


def test_forgotten_import_leaves_nothing_behind(scene: Scene) -> None:
    scene.take_in(past(1, failures=4, error="no", metadata={"a": "b"}), past(2, state=COMPLETED, result=b"r"))

    assert scene.forget(1, 2).replies == [Purged(2, False)]
    tables = scene.node.rows.tables
    for table in (Table.PAYLOAD, Table.RESULT, Table.EXTRA, Table.ATTEMPT, Table.ENDED, Table.INDEX):
        assert not tables[table], table


def test_import_that_would_make_too_many_kinds_is_refused_whole(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tq.broker.machine.submit.KINDS_MAX", 1)

    assert isinstance(scene.take_in(past(1), past(2, task_type="other")), BadRequest)
    assert scene.machine.state.totals[DEAD_LETTER] == 0
