"""Stamps follow the wall clock without ever jumping under a running task."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tq.broker.engine.entry_clock import EntryClock
from tq.clock import ManualClock


def test_stamps_follow_the_clock() -> None:
    clock = ManualClock(1_000_000)
    stamps = EntryClock(clock)
    clock.advance(5)
    assert stamps.now_ms(may_jump=False) == 1_000_005
    clock.advance(500)
    assert stamps.now_ms(may_jump=False) == 1_000_505


def test_a_wall_clock_set_forward_moves_stamps_at_once_when_nothing_runs() -> None:
    clock = ManualClock(1_000_000)
    stamps = EntryClock(clock)
    clock.step_wall(3_600_000)
    clock.advance(100)
    assert stamps.now_ms(may_jump=True) == 4_600_100


def test_a_wall_clock_set_forward_is_caught_up_with_by_a_tenth_while_a_task_runs() -> None:
    clock = ManualClock(1_000_000)
    stamps = EntryClock(clock)
    clock.step_wall(3_600_000)
    clock.advance(100)
    assert stamps.now_ms(may_jump=False) == 1_000_110


def test_a_wall_clock_set_back_slows_stamps_down_and_never_turns_them() -> None:
    clock = ManualClock(1_000_000)
    stamps = EntryClock(clock)
    clock.step_wall(-3_600_000)
    clock.advance(100)
    assert stamps.now_ms(may_jump=True) == 1_000_090


def test_stamps_begin_above_the_last_one_in_the_log() -> None:
    assert EntryClock(ManualClock(1_000), floor_ms=5_000).now_ms(may_jump=True) == 5_000


steps = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(-7_200_000, 7_200_000), st.booleans()), max_size=50
)


@given(steps)
def test_stamps_never_go_back_and_keep_the_pace_while_tasks_run(moves: list[tuple[int, int, bool]]) -> None:
    clock = ManualClock()
    stamps = EntryClock(clock)
    before = stamps.now_ms(may_jump=False)
    for passed, step, may_jump in moves:
        clock.step_wall(step)
        clock.advance(passed)
        now = stamps.now_ms(may_jump=may_jump)
        assert now >= before
        if not may_jump:
            assert now - before <= passed + passed // 10 + 10
        before = now
