"""Ticks: bounded, complete, and in an order every node agrees on."""

from __future__ import annotations

import pytest

from tests.machine.scenes import Scene, leased, spec
from tq.broker.machine import tick
from tq.broker.machine.commands import TICK_TASKS_MAX, Tick
from tq.broker.machine.ending import MINUTE_MS
from tq.broker.machine.state import METER_MINUTES
from tq.broker.tables import Table
from tq.task import COMPLETED, IN_PROGRESS, PENDING, RETRYING, SCHEDULED, Cause


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_tick_does_only_so_much_and_the_next_one_does_the_rest() -> None:
    scene = Scene()
    scene.node.check_each = False
    scene.submit(*[spec(number, delay_ms=1_000) for number in range(TICK_TASKS_MAX + 500)])

    scene.wait(1_000)
    totals = scene.machine.state.totals
    assert (totals[PENDING], totals[SCHEDULED]) == (TICK_TASKS_MAX, 500)
    assert scene.machine.next_due_ms() == scene.now_ms
    scene.wait(0)

    assert (totals[PENDING], totals[SCHEDULED]) == (TICK_TASKS_MAX + 500, 0)
    assert scene.machine.next_due_ms() is None


def test_bounded_tick_stops_at_the_same_task_after_a_restart(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick, "TICK_TASKS_MAX", 4)
    scene.submit(*[spec(number, timeout_ms=1_000, priority=number) for number in range(1, 4)])
    scene.submit(
        spec(20, unique_key="a", unique_ttl_ms=50_000), spec(21, unique_key="b", unique_ttl_ms=50_000)
    )
    scene.cancel(20)
    scene.cancel(21)
    scene.open(capacity=3)
    scene.submit(*[spec(number, delay_ms=50_000) for number in range(10, 14)])
    second = scene.node.restart()
    second.check_each = False

    for _ in range(4):
        scene.wait(60_000)
        second.apply(len(scene.log), scene.now_ms, [Tick()])
        assert second.machine.digest() == scene.machine.digest()

    assert scene.machine.state.totals[SCHEDULED] == 0


def test_timer_of_a_unique_key_that_is_held_again_does_not_count_as_something_done(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick, "TICK_TASKS_MAX", 1)
    scene.submit(spec(1, unique_key="k", unique_ttl_ms=1_000), spec(2, delay_ms=1_000))
    scene.cancel(1)
    scene.retry(1)

    scene.wait(1_000)

    assert scene.state(2) == PENDING


def test_bounded_tick_leaves_leases_that_are_past_their_deadline_to_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick, "TICK_TASKS_MAX", 2)
    scene.open(capacity=9)
    scene.submit(*[spec(number, timeout_ms=1_000) for number in range(1, 4)])
    scene.now_ms += 1_000
    scene.submit(spec(4, timeout_ms=1_000), spec(5, delay_ms=1))

    scene.wait(60_000)
    assert [scene.state(number) for number in (1, 2, 3, 4, 5)] == [
        RETRYING,
        RETRYING,
        *[IN_PROGRESS] * 2,
        SCHEDULED,
    ]
    assert leased(scene.wait(0)) == []
    assert scene.state(4) == RETRYING

    assert leased(scene.wait(0)) == [5]


def test_due_tasks_become_ready_in_the_order_they_fell_due(scene: Scene) -> None:
    scene.submit(spec(1, delay_ms=300), spec(2, delay_ms=100), spec(3, delay_ms=200), spec(4, delay_ms=100))
    scene.wait(1_000)

    assert leased(scene.open(capacity=9)) == [2, 4, 3, 1]


def test_next_due_is_the_earliest_of_waits_and_leases(scene: Scene) -> None:
    assert scene.machine.next_due_ms() is None
    scene.open(capacity=2)
    scene.submit(spec(1, timeout_ms=1_000))
    lease_ms = scene.machine.next_due_ms()
    assert lease_ms is not None and lease_ms > scene.now_ms

    scene.submit(spec(2, delay_ms=10))
    assert scene.machine.next_due_ms() == scene.now_ms + 10
    scene.cancel(2)
    assert scene.machine.next_due_ms() == lease_ms
    scene.settle(1)
    assert scene.machine.next_due_ms() is None


def test_meter_counts_what_ended_minute_by_minute_and_keeps_an_hour(scene: Scene) -> None:
    scene.open()
    for number in range(METER_MINUTES + 5):
        scene.submit(spec(number, max_retries=0))
        scene.now_ms += 250
        scene.settle(number, cause=Cause.DONE if number % 2 else Cause.ERROR)
        scene.now_ms += MINUTE_MS - 250

    meter = scene.machine.state.meter
    assert len(meter) == METER_MINUTES == len(scene.node.rows.tables[Table.METER])
    assert {tuple(one) for one in meter.values()} == {(1, 0, 250), (0, 1, 0)}


def test_timer_of_a_head_that_was_replaced_never_acts_on_the_new_one(scene: Scene) -> None:
    scene.submit(spec(1, delay_ms=100))
    scene.cancel(1)
    scene.retry(1)
    scene.open()

    scene.wait(100)

    assert scene.state(1) == IN_PROGRESS
    scene.settle(1)
    assert scene.state(1) == COMPLETED
