"""Who goes next, and where to: priority, first in first out, sharing among sessions and groups, and at what cost."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.machine.scenes import Scene, leased, leased_to, opening, spec, task_id
from tq.broker.machine import checkout, kinds, sessions, timers
from tq.broker.machine.commands import CancelTask, ClaimTasks, CloseSession, SubmitTasks
from tq.task import EXPIRED, IN_PROGRESS, PENDING, Cause


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def big() -> Scene:
    """For scenes with many tasks: the state is looked over once, at the end, by the test."""
    scene = Scene()
    scene.node.check_each = False
    return scene


def test_higher_priority_goes_first_whatever_came_first(scene: Scene) -> None:
    scene.submit(*[spec(number, priority=number) for number in (1, 255, 100, 0, 101)])

    assert leased(scene.open(capacity=9)) == [255, 101, 100, 1, 0]


def test_inside_a_priority_first_in_is_first_out_across_types_and_queues(scene: Scene) -> None:
    scene.submit(
        spec(1, queue="a"), spec(2, queue="b"), spec(3, queue="a", task_type="pack"), spec(4, queue="b")
    )

    assert leased(scene.open(capacity=9, queues=("a", "b"), task_types=("send", "pack"))) == [1, 2, 3, 4]


def test_higher_priority_that_arrives_later_is_found_among_many_kinds(scene: Scene) -> None:
    queues = tuple(f"q{number}" for number in range(5))
    scene.submit(*[spec(number, queue=f"q{number % 5}") for number in range(20)])
    scene.open(queues=queues)

    scene.submit(spec(90, queue="q3", priority=200), spec(91, queue="q4", priority=201), spec(92, queue="q9"))
    order = []
    running = 0
    for _ in range(21):
        running = leased(scene.settle(running))[0]
        order.append(running)

    assert order == [91, 90, *range(1, 20)]


def test_kind_that_another_group_has_emptied_is_passed_over(scene: Scene) -> None:
    scene.submit(spec(1, queue="a"), spec(2, queue="a"), spec(3, queue="b"), spec(4, queue="c"))
    scene.open("both", 1, queues=("a", "b", "c"))
    scene.open("only", 1, queues=("a",))

    assert leased(scene.settle(1)) == [3]
    assert leased(scene.settle(3)) == [4]


def test_released_tasks_return_to_where_they_stood(scene: Scene) -> None:
    scene.submit(*[spec(number) for number in range(1, 7)])
    for name in ("a", "b", "c"):
        scene.open(name)

    scene.settle(2, cause=Cause.RELEASED, delay_ms=0, name="b")
    scene.close("b")
    scene.close("c")
    scene.close("a")

    assert leased(scene.open("d", capacity=9)) == [1, 2, 3, 4, 5, 6]


def test_released_task_that_is_cancelled_while_it_waits_is_passed_over(scene: Scene) -> None:
    scene.submit(*[spec(number) for number in range(1, 6)])
    scene.open(capacity=3)
    scene.close()
    scene.cancel(2)
    scene.cancel(4)
    scene.cancel(1)

    assert leased(scene.open(capacity=9)) == [3, 5]


def test_released_task_of_the_only_kind_is_seen_again(scene: Scene) -> None:
    scene.submit(spec(1))
    scene.open("a")
    scene.open("b", queues=("default", "other"))

    assert leased_to(scene.close("a")) == {"b": [1]}


def test_tasks_of_one_entry_are_spread_over_the_free_sessions(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.open(name, capacity=2)

    shares = leased_to(scene.apply(SubmitTasks(tuple(spec(number) for number in range(6)))))

    assert {name: len(numbers) for name, numbers in shares.items()} == {"a": 2, "b": 2, "c": 2}


def test_single_tasks_are_spread_over_idle_sessions_in_the_long_run(scene: Scene) -> None:
    for name in ("a", "b", "c", "d"):
        scene.open(name, capacity=2)
    shares: Counter[str] = Counter()
    for number in range(200):
        shares.update(leased_to(scene.apply(SubmitTasks((spec(number),)))).keys())
        scene.settle(number)

    assert all(35 <= share <= 65 for share in shares.values()), shares


def test_groups_that_serve_the_same_take_turns_at_going_first(scene: Scene) -> None:
    scene.open("a", queues=("default",))
    scene.open("b", queues=("default", "more"))
    shares: Counter[str] = Counter()
    for number in range(100):
        shares.update(leased_to(scene.apply(SubmitTasks((spec(number),)))).keys())
        scene.settle(number)

    assert all(35 <= share <= 65 for share in shares.values()), shares


def test_place_of_a_session_that_left_is_taken_by_the_next(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.open(name)
    scene.close("b")

    scene.open("d")
    scene.open("e")

    places = {key.decode(): one.place for key, one in scene.machine.state.sessions.items()}
    assert places == {"a": 0, "c": 2, "d": 1, "e": 3}


# ---------------------------------------------------------------- cost


def test_stale_entries_of_a_bucket_do_not_leak(big: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "STALE_MIN", 50)
    big.submit(*[spec(number) for number in range(2_000)])
    big.open(capacity=100)
    big.close()
    for number in reversed(range(10, 1_990)):
        big.cancel(number)

    kind = big.machine.state.kinds["default", "send"]

    standing = len(kind.buckets[150]) + len(kind.returned[150])
    assert standing <= 20 + 51
    assert leased(big.open(capacity=99)) == [*range(10), *range(1_990, 2_000)]
    big.machine.check()


def test_dead_waits_do_not_leak(big: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "SWEEP_MIN", 50)
    big.submit(*[spec(number, delay_ms=10_000 + number) for number in range(500)])
    big.submit(*[spec(number, expires_at_ms=big.now_ms + 99_000) for number in range(500, 1_000)])
    big.open(capacity=1_000)

    big.apply(*[CancelTask(task_id(number), False) for number in range(490)])

    assert len(big.machine.state.waits.heap) <= 62
    big.machine.check()


def test_slots_of_deadlines_that_come_and_go_do_not_leak(big: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "SECONDS_SPARE", 20)
    big.open(capacity=2)
    big.submit(spec(9_999, timeout_ms=1_000))
    for number in range(100):
        big.submit(spec(number))
        big.settle(number)

    assert len(big.machine.state.deadlines._seconds) <= 25
    assert big.machine.next_due_ms() == big.now_ms + 7_000


def test_ranks_of_kinds_that_come_and_go_do_not_leak(big: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "RANKS_SPARE", 20)
    big.open()
    for number in range(100):
        big.submit(spec(number))
        big.settle(number)

    (group,) = big.machine.state.groups.values()
    assert len(group.ranks) <= 23


def test_ten_thousand_kinds_cost_a_lease_no_search(big: Scene) -> None:
    queues = tuple(f"q{number}" for number in range(10_000))
    big.submit(*[spec(number, queue=queue) for number, queue in enumerate(queues)])
    calls = 0

    class Counting(kinds.Kind):
        __slots__ = ()

        def rank(self) -> int:
            nonlocal calls
            calls += 1
            return super().rank()

    for kind in big.machine.state.kinds.values():
        kind.__class__ = Counting
    big.open(capacity=1, queues=queues)
    calls = 0
    for number in range(1_000):
        big.settle(number)

    assert calls <= 4 * 1_000


def test_hand_backs_of_ten_thousand_tasks_cost_no_search(big: Scene) -> None:
    big.submit(*[spec(number) for number in range(10_000)])
    names = [f"w{number}" for number in range(1_000)]
    big.apply(*[opening(name, 10) for name in names])

    big.apply(*[CloseSession(name.encode(), Cause.RELEASED) for name in names])

    kind = big.machine.state.kinds["default", "send"]
    assert len(kind.returned[150]) == 10_000 and not kind.buckets[150]
    assert leased(big.open(capacity=10_000)) == list(range(10_000))


def test_ten_thousand_idle_sessions_are_not_looked_at(big: Scene) -> None:
    big.apply(*[opening(f"w{number}", 1) for number in range(10_000)])
    group = big.machine.state.sessions[b"w0"].group
    assert len(group.members) == 10_000 and group.free.bit_count() == 10_000

    leases = [leased_to(big.apply(SubmitTasks((spec(number),)))) for number in range(100)]

    assert len({name for one in leases for name in one}) == 100
    assert group.free.bit_count() == 9_900
    big.close("w0")
    big.machine.check()


def test_entry_ends_only_so_many_expired_tasks_and_the_next_one_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "TICK_TASKS_MAX", 2)
    scene.submit(*[spec(number, expires_at_ms=scene.now_ms + 10) for number in range(5)], spec(5))
    scene.now_ms += 10
    assert leased(scene.open()) == []
    assert (scene.state(1), scene.state(2)) == (EXPIRED, PENDING)

    scene.node = scene.node.restart()
    assert leased(scene.apply(ClaimTasks(b"w1", 0))) == []
    assert leased(scene.apply(ClaimTasks(b"w1", 0))) == [5]
    assert (scene.state(4), scene.state(5)) == (EXPIRED, IN_PROGRESS)
