"""Submitting: idempotence, all or none, unique keys, schedules, expiry."""

from __future__ import annotations

import pytest

from tests.machine.scenes import Scene, leased, spec, task_id
from tq.broker.machine import submit
from tq.broker.machine.commands import CancelTask, ForgetTasks, RetryTask, SubmitTasks
from tq.errors import BadRequest, InvalidStatus
from tq.ids import to_text
from tq.task import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD_LETTER,
    EXPIRED,
    IN_PROGRESS,
    PENDING,
    SCHEDULED,
    Cause,
)
from tq.verbs import Existing, Submitted


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_submitted_task_waits_and_its_payload_is_kept(scene: Scene) -> None:
    outcome = scene.apply(SubmitTasks((spec(1),)))

    assert outcome.replies == [Submitted(scene.now_ms, bytes([PENDING]))]
    assert outcome.payloads == {scene.head(1).seq: b"payload"}
    assert scene.state(1) == PENDING


def test_same_id_again_returns_the_task_that_exists(scene: Scene) -> None:
    created_ms = scene.now_ms
    scene.submit(spec(1, priority=7))
    scene.now_ms += 50

    reply = scene.submit(spec(1, priority=200), spec(2))

    assert reply == Submitted(scene.now_ms, bytes([PENDING, PENDING]), (Existing(0, task_id(1), created_ms),))
    assert scene.head(1).terms.priority == 7


def test_id_of_an_ended_task_returns_the_ended_task(scene: Scene) -> None:
    created_ms = scene.now_ms
    scene.submit(spec(1))
    scene.cancel(1)

    reply = scene.submit(spec(1))

    assert reply == Submitted(scene.now_ms, bytes([CANCELLED]), (Existing(0, task_id(1), created_ms),))


def test_same_id_twice_in_a_batch_is_one_task(scene: Scene) -> None:
    reply = scene.submit(spec(1), spec(1))

    assert isinstance(reply, Submitted) and [one.position for one in reply.existing] == [1]
    assert scene.machine.state.totals[PENDING] == 1


def test_unknown_dependency_refuses_the_whole_batch(scene: Scene) -> None:
    reply = scene.submit(spec(1), spec(2, dependencies=[9]))

    assert isinstance(reply, BadRequest) and "tasks[1].dependencies" in reply.text
    assert not scene.machine.state.heads


def test_dependency_that_comes_later_in_the_batch_is_refused(scene: Scene) -> None:
    assert isinstance(scene.submit(spec(1, dependencies=[2]), spec(2)), BadRequest)
    assert isinstance(scene.submit(spec(1, dependencies=[1])), BadRequest)


def test_task_sent_again_is_not_refused_for_a_dependency_purged_since(scene: Scene) -> None:
    scene.submit(spec(1), spec(2, dependencies=[1]))
    scene.open(capacity=1)
    scene.settle(1)
    scene.forget(1)

    reply = scene.submit(spec(2, dependencies=[1]))

    assert isinstance(reply, Submitted) and len(reply.existing) == 1


def test_more_kinds_than_the_limit_are_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "KINDS_MAX", 2)

    assert isinstance(scene.submit(spec(1, queue="a"), spec(2, queue="a"), spec(3, queue="b")), Submitted)
    assert isinstance(scene.submit(spec(4, queue="a"), spec(5, queue="b")), Submitted)
    reply = scene.submit(spec(6, queue="a"), spec(7, queue="c"))

    assert isinstance(reply, BadRequest) and "2 are the limit" in reply.text
    assert len(scene.machine.state.kinds) == 2


# ---------------------------------------------------------------- unique keys


def test_unique_key_gives_the_task_that_lives_with_it(scene: Scene) -> None:
    scene.submit(spec(1, unique_key="k"))

    reply = scene.submit(spec(2, unique_key="k"))

    assert isinstance(reply, Submitted) and reply.existing[0].task_id == task_id(1)
    assert task_id(2) not in scene.machine.state.heads


def test_unique_key_without_ttl_is_free_when_its_task_has_ended(scene: Scene) -> None:
    scene.submit(spec(1, unique_key="k"))
    scene.cancel(1)

    scene.submit(spec(2, unique_key="k"))

    assert scene.state(2) == PENDING


def test_unique_key_with_ttl_outlives_its_task_until_the_ttl_has_passed(scene: Scene) -> None:
    scene.submit(spec(1, unique_key="k", unique_ttl_ms=1_000))
    scene.cancel(1)
    scene.wait(999)
    reply = scene.submit(spec(2, unique_key="k"))
    assert isinstance(reply, Submitted) and reply.states == bytes([CANCELLED])

    scene.wait(1)

    assert not scene.machine.state.unique
    scene.submit(spec(2, unique_key="k"))
    assert scene.state(2) == PENDING


def test_unique_key_past_its_ttl_is_free_before_a_tick_says_so(scene: Scene) -> None:
    scene.submit(spec(1, unique_key="k", unique_ttl_ms=1_000))
    scene.cancel(1)
    scene.now_ms += 1_000

    scene.submit(spec(2, unique_key="k"))

    assert scene.state(2) == PENDING
    scene.wait(1)
    assert scene.machine.state.unique["k"].task_id == task_id(2)


def test_dependency_on_a_task_that_a_unique_key_replaced_is_on_the_task_that_exists(scene: Scene) -> None:
    scene.submit(spec(1, unique_key="k"))

    scene.submit(spec(2, unique_key="k"), spec(3, dependencies=[2]), spec(2), spec(4, dependencies=[2]))

    assert scene.head(3).extras.dependencies == (task_id(1),)  # type: ignore[union-attr]
    assert scene.head(4).extras.dependencies == (task_id(2),)  # type: ignore[union-attr]
    assert scene.state(3) == BLOCKED


def test_task_brought_back_holds_its_unique_key_again(scene: Scene) -> None:
    scene.submit(spec(1, unique_key="k"))
    scene.cancel(1)
    scene.retry(1)

    reply = scene.submit(spec(2, unique_key="k"))

    assert isinstance(reply, Submitted) and reply.existing[0].task_id == task_id(1)


def test_task_brought_back_within_its_ttl_keeps_the_key_until_it_has_ended_and_the_ttl_passed(
    scene: Scene,
) -> None:
    scene.submit(spec(1, unique_key="k", unique_ttl_ms=1_000))
    scene.cancel(1)
    scene.retry(1)
    scene.wait(2_000)
    assert "k" in scene.machine.state.unique

    scene.cancel(1)

    assert not scene.machine.state.unique


def test_task_whose_key_another_has_taken_is_not_brought_back_before_that_one_has_ended(scene: Scene) -> None:
    scene.submit(spec(1, unique_key="k"))
    scene.cancel(1)
    scene.submit(spec(2, unique_key="k"))

    [refused] = scene.retry(1).replies

    assert isinstance(refused, InvalidStatus)
    assert "'k'" in refused.text and to_text(task_id(2)) in refused.text and "is pending" in refused.text
    assert scene.state(1) == CANCELLED
    scene.cancel(2)
    assert scene.retry(1).replies == [(task_id(1), PENDING)]
    assert scene.machine.state.unique["k"].task_id == task_id(1)


def test_task_whose_key_another_holds_by_its_ttl_is_not_brought_back_before_that_has_passed(
    scene: Scene,
) -> None:
    scene.submit(spec(1, unique_key="k"))
    scene.cancel(1)
    scene.submit(spec(2, unique_key="k", unique_ttl_ms=1_000))
    scene.cancel(2)

    [refused] = scene.retry(1).replies

    assert isinstance(refused, InvalidStatus) and "time-to-live" in refused.text
    scene.wait(1_000)
    assert scene.retry(1).replies == [(task_id(1), PENDING)]


def test_key_of_a_forgotten_task_is_free(scene: Scene) -> None:
    scene.submit(spec(1, unique_key="k", unique_ttl_ms=60_000))
    scene.cancel(1)
    scene.forget(1)
    scene.submit(spec(1))

    scene.submit(spec(2, unique_key="k"))

    assert scene.state(2) == PENDING
    assert scene.machine.state.unique["k"].task_id == task_id(2)


# ---------------------------------------------------------------- schedules and expiry


def test_scheduled_task_is_handed_out_at_its_time_and_not_before(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, schedule_at_ms=scene.now_ms + 1_000))
    assert scene.machine.next_due_ms() == scene.now_ms + 1_000

    assert leased(scene.wait(999)) == []
    assert leased(scene.wait(1)) == [1]


def test_delay_counts_from_the_brokers_clock(scene: Scene) -> None:
    scene.submit(spec(1, delay_ms=500))

    assert scene.head(1).due_ms == scene.now_ms + 500
    assert scene.state(1) == SCHEDULED


def test_schedule_in_the_past_is_at_once(scene: Scene) -> None:
    scene.submit(spec(1, schedule_at_ms=1))

    assert scene.state(1) == PENDING


def test_wall_clock_that_steps_back_does_not_turn_the_machine_back(scene: Scene) -> None:
    scene.submit(spec(1, delay_ms=1_000))
    scene.wait(1_000)
    clock_ms = scene.machine.state.clock_ms
    scene.now_ms -= 60_000

    scene.submit(spec(2, delay_ms=1_000))

    assert scene.machine.state.clock_ms == clock_ms
    assert scene.head(2).due_ms == clock_ms + 1_000


def test_task_that_has_not_started_when_it_expires_ends_as_expired(scene: Scene) -> None:
    expires_ms = scene.now_ms + 1_000
    scene.submit(
        spec(1, expires_at_ms=expires_ms),
        spec(2, expires_at_ms=expires_ms, delay_ms=9_000),
        spec(3, expires_at_ms=expires_ms, dependencies=[1]),
    )

    scene.wait(1_000)

    assert [scene.state(number) for number in (1, 2)] == [EXPIRED, EXPIRED]
    assert scene.state(3) == DEAD_LETTER
    assert scene.record(1).reason == "it had not started when it expired"


def test_task_that_has_expired_already_is_taken_and_ends_as_expired(scene: Scene) -> None:
    reply = scene.submit(spec(1, expires_at_ms=scene.now_ms))

    assert isinstance(reply, Submitted) and reply.states == bytes([EXPIRED])


def test_task_that_has_started_does_not_expire(scene: Scene) -> None:
    scene.open()
    scene.submit(spec(1, expires_at_ms=scene.now_ms + 1_000))

    scene.wait(2_000)
    assert scene.state(1) == IN_PROGRESS
    scene.settle(1, cause=Cause.RELEASED)
    assert scene.state(1) == IN_PROGRESS


# ---------------------------------------------------------------- several commands about one task in one entry


def test_task_submitted_cancelled_brought_back_and_cancelled_in_one_entry_is_cancelled(scene: Scene) -> None:
    cancel, retry = CancelTask(task_id(1), False), RetryTask(task_id(1), -1)

    outcome = scene.apply(SubmitTasks((spec(1),)), cancel, retry, cancel)

    assert not any(isinstance(reply, InvalidStatus) for reply in outcome.replies)
    assert scene.state(1) == CANCELLED


def test_task_submitted_cancelled_forgotten_and_submitted_in_one_entry_is_a_new_task(scene: Scene) -> None:
    submit_it = SubmitTasks((spec(1, metadata={"a": "b"}),))
    scene.apply(submit_it, CancelTask(task_id(1), False), ForgetTasks((task_id(1), task_id(1))), submit_it)

    assert scene.state(1) == PENDING
    assert scene.machine.state.totals[CANCELLED] == 0
    scene.open()
    scene.settle(1)
    assert scene.state(1) == COMPLETED


@pytest.mark.parametrize("again", [False, True])
def test_waiting_task_cancelled_and_brought_back_in_one_entry_leaves_no_old_row(
    scene: Scene, again: bool
) -> None:
    scene.submit(spec(1, delay_ms=9_000))
    cancel, retry = CancelTask(task_id(1), False), RetryTask(task_id(1), -1)

    scene.apply(cancel, retry, *([cancel] if again else []))

    assert scene.state(1) == (CANCELLED if again else PENDING)
