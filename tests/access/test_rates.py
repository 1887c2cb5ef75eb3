"""How often: the buckets, what costs what, and who shares one."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tq.broker.access import PERMISSION_OF, Permission
from tq.broker.rates import BUCKETS_MAX, UNMETERED, Bucket, Quota, Rates
from tq.clock import ManualClock
from tq.errors import RateLimited
from tq.ids import new_id
from tq.task import TaskSpec
from tq.verbs import GetStats, GetTask, Heartbeat, ListTasks, Request, Settle, Submit


def submit(count: int) -> Submit:
    return Submit(tuple(TaskSpec(new_id(), "t") for _ in range(count)))


def of_key(rates: Rates, request: Request, rate: float | None = 10, name: str = "ci") -> RateLimited | None:
    return rates.refuse(request, name=name, rate_per_s=rate, address="10.0.0.1")


def of_address(rates: Rates, address: str, request: Request | None = None) -> RateLimited | None:
    return rates.refuse(request or GetStats(), name="anonymous", rate_per_s=None, address=address)


def test_one_seconds_worth_passes_at_once_and_the_next_is_told_when() -> None:
    clock = ManualClock()
    rates = Rates(clock.monotonic_ms)
    assert [of_key(rates, GetStats()) for _ in range(10)] == [None] * 10

    refusal = of_key(rates, GetStats())

    assert isinstance(refusal, RateLimited)
    assert refusal.retry_after_ms == 100
    assert "'ci'" in refusal.text
    clock.advance(99)
    assert of_key(rates, GetStats()) is not None
    clock.advance(1)
    assert of_key(rates, GetStats()) is None
    assert of_key(rates, GetStats()) is not None


def test_a_batch_costs_what_it_holds() -> None:
    rates = Rates(ManualClock().monotonic_ms)

    assert of_key(rates, submit(8)) is None
    assert of_key(rates, submit(3)) is not None
    assert of_key(rates, submit(2)) is None
    assert of_key(rates, submit(1)) is not None


def test_a_batch_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_off_before_the_next() -> None:
    clock = ManualClock()
    rates = Rates(clock.monotonic_ms)
    assert of_key(rates, GetStats()) is None
    early = of_key(rates, submit(1000))
    assert early is not None
    assert early.retry_after_ms == 100

    clock.advance(early.retry_after_ms)
    assert of_key(rates, submit(1000)) is None

    refusal = of_key(rates, GetStats())
    assert refusal is not None
    assert refusal.retry_after_ms == (1000 - 10 + 1) * 100
    clock.advance(refusal.retry_after_ms)
    assert of_key(rates, GetStats()) is None


def test_a_limit_below_one_a_second_lets_one_pass() -> None:
    clock = ManualClock()
    rates = Rates(clock.monotonic_ms)

    assert of_key(rates, GetStats(), 0.1) is None
    refusal = of_key(rates, GetStats(), 0.1)
    assert refusal is not None
    assert refusal.retry_after_ms == 10_000


@given(
    rate=st.floats(0.5, 500),
    steps=st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 50)), min_size=1, max_size=60),
)
def test_over_any_time_no_more_passes_than_the_rate_the_burst_and_one_batch(
    rate: float, steps: list[tuple[int, int]]
) -> None:
    clock = ManualClock()
    bucket = Bucket(rate, clock.monotonic_ms())
    passed = 0
    for pause_ms, cost in steps:
        clock.advance(pause_ms)
        wait_ms = bucket.take(cost, clock.monotonic_ms())
        passed += cost if not wait_ms else 0
        assert passed <= rate * clock.monotonic_ms() / 1000 + max(1, rate) + 50 + 1e-6
        if wait_ms:
            clock.advance(wait_ms)
            assert bucket.take(cost, clock.monotonic_ms()) == 0, "who waits as told gets through"
            passed += cost


def test_what_a_worker_needs_to_keep_its_leases_costs_nothing() -> None:
    worker_verbs = {verb for verb in get_args(Request) if PERMISSION_OF[verb] is Permission.WORK_TASKS}
    free = {verb for verb in get_args(Request) if PERMISSION_OF[verb] is None}
    rates = Rates(ManualClock().monotonic_ms)

    assert worker_verbs | free == UNMETERED
    while of_key(rates, GetStats()) is None:
        pass
    assert of_key(rates, Heartbeat()) is None
    assert of_key(rates, Settle(())) is None


def test_each_key_has_its_own_bucket_wherever_it_comes_from() -> None:
    rates = Rates(ManualClock().monotonic_ms)
    while of_key(rates, GetTask(new_id())) is None:
        pass

    assert of_key(rates, GetTask(new_id()), name="other") is None
    refusal = rates.refuse(ListTasks(), name="ci", rate_per_s=10, address="10.9.9.9")
    assert refusal is not None


def test_a_key_without_a_limit_is_not_limited() -> None:
    rates = Rates(ManualClock().monotonic_ms)

    assert all(of_key(rates, submit(10), None) is None for _ in range(1_000))
    assert rates.quota(name="ci", rate_per_s=None, address="10.0.0.1") is None


def test_a_limit_that_a_reload_changed_counts_at_once() -> None:
    rates = Rates(ManualClock().monotonic_ms)
    while of_key(rates, GetStats(), 2) is None:
        pass

    assert [of_key(rates, GetStats(), 5) for _ in range(6)].count(None) == 5


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("not:an:address", "not:an:address", True),
    ],
)
def test_addresses_of_one_holder_share_a_bucket(one: str, other: str, shared: bool) -> None:
    rates = Rates(ManualClock().monotonic_ms, per_address=1)
    assert of_address(rates, one) is None

    assert (of_address(rates, other) is not None) == shared


def test_a_caller_whose_address_is_not_known_is_not_limited_by_it() -> None:
    rates = Rates(ManualClock().monotonic_ms, per_address=1)

    assert [of_address(rates, "") for _ in range(5)] == [None] * 5


def test_a_refusal_by_address_names_it() -> None:
    rates = Rates(ManualClock().monotonic_ms, per_address=1)
    of_address(rates, "10.0.0.1")

    refusal = of_address(rates, "10.0.0.1")

    assert refusal is not None
    assert "10.0.0.1" in refusal.text


def test_a_quota_tells_what_would_pass_now_and_when_all_would() -> None:
    clock = ManualClock()
    rates = Rates(clock.monotonic_ms)
    assert rates.quota(name="ci", rate_per_s=10, address="") == Quota(10, 10, 0)

    of_key(rates, submit(4))
    assert rates.quota(name="ci", rate_per_s=10, address="") == Quota(10, 6, 400)

    clock.advance(150)
    assert rates.quota(name="ci", rate_per_s=10, address="") == Quota(10, 7, 250)
    of_key(rates, submit(7))
    clock.advance(250)
    of_key(rates, submit(100))
    assert rates.quota(name="ci", rate_per_s=10, address="") == Quota(10, 3, 700)


def test_addresses_remembered_are_bounded_and_one_in_use_is_not_forgotten() -> None:
    rates = Rates(ManualClock().monotonic_ms, per_address=2)
    assert of_address(rates, "10.0.0.1") is None
    for number in range(BUCKETS_MAX - 1):
        of_address(rates, f"host{number}")
    assert of_address(rates, "10.0.0.1") is None

    of_address(rates, "one more")
    assert of_address(rates, "10.0.0.1") is not None
    assert len(rates._buckets) == BUCKETS_MAX
