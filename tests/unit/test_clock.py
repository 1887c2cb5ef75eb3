"""The clocks: the system's, and the one that moves only when told to."""

from __future__ import annotations

import time

from tq.clock import ManualClock, SystemClock


def test_system_clock_reads_wall_time_in_milliseconds() -> None:
    before_ms = time.time_ns() // 1_000_000

    assert before_ms <= SystemClock().now_ms() <= time.time_ns() // 1_000_000


def test_monotonic_time_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic_ms() for _ in range(1_000)]

    assert readings == sorted(readings)


def test_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(1_000)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_000, 0)

    clock.advance(250)

    assert (clock.now_ms(), clock.monotonic_ms()) == (1_250, 250)


def test_step_of_the_wall_clock_leaves_the_monotonic_one_alone() -> None:
    clock = ManualClock(1_000)

    clock.step_wall(-600)

    assert (clock.now_ms(), clock.monotonic_ms()) == (400, 0)
