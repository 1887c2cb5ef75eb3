"""Attempts: how they end, what they cost, and what becomes of those past their deadline."""

from __future__ import annotations

import pytest

from tests.machine.scenes import Scene, codes, leased, revoked, spec, task_id
from tq.broker.engine.entries import unpack_attempt
from tq.broker.machine.checkout import LEASE_SLACK_MS
from tq.broker.machine.commands import (
    ChangeCapacity,
    ExtendLeases,
    SettleTasks,
)
from tq.broker.machine.effects import Revoke
from tq.broker.tables import Table
from tq.retry import CUSTOM, FIXED, LINEAR, RetryPolicy
from tq.task import (
    ATTEMPTS_SHOWN_MAX,
    CANCELLED,
    COMPLETED,
    CRASH_LIMIT,
    DEAD_LETTER,
    IN_PROGRESS,
    PENDING,
    RETRYING,
    SCHEDULED,
    Attempt,
    Cause,
    Counters,
)
from tq.verbs import SETTLED_LEASE_LOST, SETTLED_OK, SettleItem

AT_ONCE = RetryPolicy(FIXED, 0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


# ---------------------------------------------------------------- settling


def test_done_completes_and_keeps_the_result(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1))
    token = scene.token(1)
    scene.now_ms += 40

    outcome = scene.settle(1, result=b"42")

    assert codes(outcome) == [SETTLED_OK]
    record = scene.record(1)
    assert (record.state, record.worker_id, record.token, record.attempts) == (COMPLETED, "w1", token, 1)
    assert record.ended_ms - record.started_ms == 40
    assert list(scene.node.rows.tables[Table.RESULT].values()) == [b"42"]


def test_late_settle_after_the_lease_moved_changes_nothing_and_says_lease_lost(scene: Scene) -> None:
    scene.open("w1")
    scene.submit(spec(1))
    token = scene.token(1)
    scene.close("w1")
    scene.open("w2")
    scene.open("w1")

    outcome = scene.settle_late(1, token)

    assert codes(outcome) == [SETTLED_LEASE_LOST]
    assert scene.state(1) == IN_PROGRESS and scene.machine.state.sessions[b"w2"].held == {
        task_id(1): scene.token(1)
    }


def test_settling_twice_in_one_frame_counts_once(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1))
    item = SettleItem(task_id(1), scene.token(1))

    outcome = scene.apply(SettleTasks(b"w1", (item, item)))

    assert codes(outcome) == [SETTLED_OK, SETTLED_LEASE_LOST]
    assert scene.machine.state.totals[COMPLETED] == 1


def test_executions_by_error_are_max_retries_plus_one(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, max_retries=2, retry=AT_ONCE))
    for _ in range(2):
        scene.settle(1, cause=Cause.ERROR, error="Traceback\nValueError: no")
        assert scene.state(1) == RETRYING
        scene.wait(0)

    scene.settle(1, cause=Cause.TIMEOUT)

    record = scene.record(1)
    assert (record.state, record.attempts, record.counters) == (
        DEAD_LETTER,
        3,
        Counters(errors=2, timeouts=1),
    )
    assert record.reason == "failed 3 of 3 times; the last time: no text"


def test_failed_attempt_waits_as_the_policy_says(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, retry=RetryPolicy(CUSTOM, jitter_permille=0, delays_ms=(700, 900))))
    scene.settle(1, cause=Cause.ERROR)
    assert scene.head(1).due_ms == scene.now_ms + 700

    assert leased(scene.wait(699)) == []
    assert leased(scene.wait(1)) == [1]
    scene.settle(1, cause=Cause.ERROR)
    assert scene.head(1).due_ms == scene.now_ms + 900


def test_handler_may_choose_the_delay_of_its_retry(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1))

    scene.settle(1, cause=Cause.ERROR, delay_ms=123)

    assert (scene.state(1), scene.head(1).due_ms) == (RETRYING, scene.now_ms + 123)


def test_fatal_goes_to_dead_letter_at_once(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, max_retries=9))

    scene.settle(1, cause=Cause.FATAL, error="no such account")

    assert (scene.state(1), scene.record(1).reason) == (DEAD_LETTER, "fatal: no such account")


def test_snooze_costs_nothing(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, max_retries=0))

    for _ in range(5):
        scene.settle(1, cause=Cause.SNOOZED, delay_ms=10)
        assert scene.state(1) == SCHEDULED
        assert leased(scene.wait(10)) == [1]

    assert scene.head(1).counters == Counters(snoozes=5)


def test_snooze_without_a_delay_waits_as_the_policy_says(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, retry=RetryPolicy(LINEAR, 300, jitter_permille=0)))

    scene.settle(1, cause=Cause.SNOOZED)

    assert scene.head(1).due_ms == scene.now_ms + 300


def test_drain_hands_back_at_no_cost_to_where_the_task_stood(scene: Scene) -> None:
    scene.submit(spec(1, max_retries=0), spec(2))
    scene.open()
    scene.apply(ChangeCapacity(b"w1", 0))
    scene.settle(1, cause=Cause.RELEASED)
    assert scene.state(1) == PENDING

    assert leased(scene.open("w2")) == [1]
    assert scene.head(1).counters == Counters(releases=1)


def test_task_that_takes_workers_down_is_quarantined_at_the_crash_limit(scene: Scene) -> None:
    scene.submit(spec(1, max_retries=99))
    scene.open()
    for _ in range(CRASH_LIMIT - 1):
        outcome = scene.settle(1, cause=Cause.CRASH)
        assert leased(outcome) == [1]

    scene.settle(1, cause=Cause.CRASH, error="killed by signal 9")

    assert scene.state(1) == DEAD_LETTER
    assert (
        scene.record(1).reason == "it crashed or lost its worker 3 times; the last time: killed by signal 9"
    )


def test_crashes_do_not_spend_retries(scene: Scene) -> None:
    scene.submit(spec(1, max_retries=0))
    scene.open()
    scene.settle(1, cause=Cause.CRASH)
    scene.settle(1, cause=Cause.CRASH)

    scene.settle(1)

    assert (scene.state(1), scene.record(1).counters) == (COMPLETED, Counters(crashes=2))


def test_attempt_that_says_cancelled_ends_the_task_as_cancelled(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1))

    scene.settle(1, cause=Cause.CANCELLED)

    assert (scene.state(1), scene.record(1).reason) == (CANCELLED, "cancelled by its handler")


def test_attempts_are_kept_with_their_worker_cause_and_error(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, retry=AT_ONCE))
    started_ms, token = scene.now_ms, scene.token(1)
    scene.now_ms += 5
    scene.settle(1, cause=Cause.ERROR, error="boom")

    rows = [unpack_attempt(row) for row in scene.node.rows.tables[Table.ATTEMPT].values()]

    assert rows == [Attempt(1, "w1", token, started_ms, started_ms + 5, Cause.ERROR, "boom")]


def test_only_the_latest_attempts_of_an_endless_task_are_kept(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1))

    for _ in range(ATTEMPTS_SHOWN_MAX + 20):
        scene.settle(1, cause=Cause.RELEASED)

    assert len(scene.node.rows.tables[Table.ATTEMPT]) == ATTEMPTS_SHOWN_MAX
    scene.settle(1)
    scene.forget(1)
    assert not scene.node.rows.tables[Table.ATTEMPT]


# ---------------------------------------------------------------- deadlines


def test_expired_lease_returns_task_to_its_queue_and_tells_the_worker(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, timeout_ms=1_000, retry=AT_ONCE))
    token = scene.token(1)
    assert scene.machine.next_due_ms() == scene.now_ms + 1_000 + LEASE_SLACK_MS + 1_000
    scene.wait(1_000 + LEASE_SLACK_MS)
    assert scene.state(1) == IN_PROGRESS

    outcome = scene.wait(1_000)

    assert revoked(outcome) == [Revoke(b"w1", task_id(1), token, "timeout")]
    assert scene.state(1) == PENDING
    assert scene.head(1).counters == Counters(timeouts=1)


def test_slot_of_an_expired_lease_is_free_only_when_its_worker_settles(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, timeout_ms=1_000), spec(2))
    token = scene.token(1)
    assert leased(scene.wait(60_000)) == []

    outcome = scene.settle_late(1, token)

    assert codes(outcome) == [SETTLED_LEASE_LOST]
    assert leased(outcome) == [2]


def test_extended_lease_lives_until_its_new_deadline(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, timeout_ms=1_000))
    lease = (task_id(1), scene.token(1))

    outcome = scene.apply(ExtendLeases(b"w1", ((*lease, 60_000), (task_id(9), 1, 1), (*lease, 60_000))))

    assert codes(outcome) == [SETTLED_OK, SETTLED_LEASE_LOST, SETTLED_OK]
    scene.wait(60_000)
    assert scene.state(1) == IN_PROGRESS
    scene.wait(1_000)
    assert scene.state(1) == RETRYING


def test_lease_of_another_session_cannot_be_extended(scene: Scene) -> None:
    scene.open()
    scene.open("w2", capacity=0)
    scene.submit(spec(1))

    outcome = scene.apply(ExtendLeases(b"w2", ((task_id(1), scene.token(1), 1),)))

    assert codes(outcome) == [SETTLED_LEASE_LOST]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            "ran longer than its time limit of 1 s\n\nasyncio.exceptions.CancelledError\n\nTraceback ...",
            "ran longer than its",
        ),
        ("Traceback (most recent call last):\n  File x\nValueError: bad", "ValueError: bad"),
        ("  \n", "no text"),
    ],
    ids=["headline first", "bare traceback", "nothing"],
)
def test_reason_of_a_failed_task_is_the_line_that_says_what_happened(
    scene: Scene, error: str, said: str
) -> None:
    scene.open()
    scene.submit(spec(1, max_retries=0))
    scene.settle(1, cause=Cause.TIMEOUT, error=error)
    assert f"the last time: {said}" in scene.record(1).reason
