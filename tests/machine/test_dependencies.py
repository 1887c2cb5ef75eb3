"""Dependencies: blocked until the last one completes, dead letter when one does not."""

from __future__ import annotations

import pytest

from tests.machine.scenes import Scene, leased, spec, task_id
from tq.task import (
    BLOCKED,
    DEAD_LETTER,
    IN_PROGRESS,
    PENDING,
    SCHEDULED,
    Cause,
)
from tq.verbs import Submitted


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_blocked_task_wakes_when_the_last_dependency_completes(scene: Scene) -> None:
    scene.submit(spec(1), spec(2), spec(3, dependencies=[1, 2, 1]))
    scene.open(capacity=2)
    scene.settle(1)
    assert scene.state(3) == BLOCKED

    outcome = scene.settle(2)

    assert leased(outcome) == [3]


def test_dependency_that_has_completed_already_does_not_block(scene: Scene) -> None:
    scene.submit(spec(1))
    scene.open()
    scene.settle(1)

    scene.submit(spec(2, dependencies=[1]))

    assert scene.state(2) == IN_PROGRESS


def test_blocked_and_scheduled_task_waits_for_both(scene: Scene) -> None:
    scene.submit(spec(1), spec(2, dependencies=[1], delay_ms=1_000))
    scene.open()
    scene.settle(1)
    assert scene.state(2) == SCHEDULED

    assert leased(scene.wait(1_000)) == [2]


@pytest.mark.parametrize("cause", [Cause.FATAL, Cause.CANCELLED])
def test_dependency_that_does_not_complete_moves_dependents_to_dead_letter_with_the_reason(
    scene: Scene, cause: Cause
) -> None:
    scene.submit(spec(1), spec(2, dependencies=[1]), spec(3, dependencies=[2]))
    scene.open()

    scene.settle(1, cause=cause)

    word = "dead_letter" if cause == Cause.FATAL else "cancelled"
    assert scene.record(2).reason == f"its dependency 00000000-0000-0000-0000-000000000001 ended as {word}"
    assert (
        scene.record(3).reason == "its dependency 00000000-0000-0000-0000-000000000002 ended as dead_letter"
    )
    assert scene.machine.state.dependents == {}


def test_dependency_that_had_failed_before_sends_the_task_to_dead_letter_at_once(scene: Scene) -> None:
    scene.submit(spec(1), spec(2))
    scene.cancel(1)

    reply = scene.submit(spec(3, dependencies=[2, 1]))

    assert isinstance(reply, Submitted) and reply.states == bytes([DEAD_LETTER])
    assert "ended as cancelled" in scene.record(3).reason
    assert scene.machine.state.dependents == {}


def test_chain_of_ten_thousand_dependents_falls_without_recursion() -> None:
    scene = Scene()
    scene.node.check_each = False
    chain = [spec(1)] + [spec(number, dependencies=[number - 1]) for number in range(2, 10_001)]
    scene.submit(*chain)

    scene.cancel(1)

    assert scene.machine.state.totals[DEAD_LETTER] == 9_999
    assert scene.machine.state.heads == {} and scene.machine.state.dependents == {}


def test_diamond_of_dependents_falls_once(scene: Scene) -> None:
    scene.submit(
        spec(1), spec(2, dependencies=[1]), spec(3, dependencies=[1]), spec(4, dependencies=[3, 2, 1])
    )

    outcome = scene.cancel(1)

    assert len(outcome.ended) == 4
    assert scene.machine.state.totals[DEAD_LETTER] == 3


def test_dependents_wake_in_the_order_they_were_submitted(scene: Scene) -> None:
    scene.submit(spec(1), spec(2, dependencies=[1]), spec(3, dependencies=[1]))
    scene.cancel(2)
    scene.retry(2)
    scene.open()
    scene.open("w2", capacity=0)

    scene.settle(1)

    assert (scene.state(2), scene.state(3)) == (IN_PROGRESS, PENDING)


def test_cancelled_dependent_is_not_kept_by_what_it_waited_for(scene: Scene) -> None:
    scene.submit(spec(1), spec(2), spec(3, dependencies=[1, 2]), spec(4, dependencies=[1]))

    scene.cancel(3)

    assert {key: list(one) for key, one in scene.machine.state.dependents.items()} == {
        task_id(1): [task_id(4)]
    }


def test_new_task_under_the_id_of_a_purged_dependency_is_not_waited_for(scene: Scene) -> None:
    scene.submit(spec(1), spec(2), spec(3, dependencies=[1, 2]))
    scene.open()
    scene.settle(1)
    scene.forget(1)
    scene.submit(spec(1, delay_ms=99_000))

    scene.node = scene.node.restart()
    outcome = scene.settle(2)

    assert leased(outcome) == [3]


def test_failure_of_a_new_task_under_the_id_of_a_purged_dependency_does_not_keep_one_from_coming_back(
    scene: Scene,
) -> None:
    scene.submit(spec(1), spec(2, dependencies=[1]))
    scene.cancel(1)
    scene.forget(1)
    scene.submit(spec(1))
    scene.cancel(1)

    scene.retry(2)

    assert scene.state(2) == PENDING
