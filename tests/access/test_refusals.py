"""Refusals that come too often are told later, so that trying keys takes nothing from anybody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.access.keyring import Verdicts, key
from tests.access.test_keys import deciding
from tq.broker.keys import DELAYED_MAX, REFUSAL_DELAY_MS, REFUSALS_AT_ONCE
from tq.clock import ManualClock
from tq.errors import AuthenticationFailed


class Delays:
    """What is put off, until the test lets it happen."""

    def __init__(self) -> None:
        self.put_off: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, what: Callable[[], None]) -> None:
        self.put_off.append((seconds, what))


@pytest.mark.parametrize("token", ["", "no key", "wrong"], ids=["no key", "no possible key", "a wrong key"])
def test_whoever_is_refused_again_and_again_is_told_later(token: str) -> None:
    clock, delays = ManualClock(), Delays()
    access, checks = deciding(key("ops", "right"), clock=clock, later=delays)
    told: Verdicts = []
    for _ in range(REFUSALS_AT_ONCE + 2):
        access.authenticate(token, told.append, "10.0.0.7")
        checks.decide()

    assert len(told) == REFUSALS_AT_ONCE
    first, second = (seconds * 1000 for seconds, _ in delays.put_off)
    assert REFUSAL_DELAY_MS <= first < second < 2 * REFUSAL_DELAY_MS, "they do not all come again at once"
    for _, what in delays.put_off:
        what()
    assert len(told) == REFUSALS_AT_ONCE + 2
    assert {type(each) for each in told} == {AuthenticationFailed}
    # Others, and the same host with the right key, wait for none of it; nor does the host once it has calmed down.
    others: Verdicts = []
    access.authenticate(token, others.append, "10.0.0.8")
    access.authenticate("right", others.append, "10.0.0.7")
    checks.decide()
    clock.advance(2_000)
    access.authenticate(token, others.append, "10.0.0.7")
    assert len(others) == 3 and len(delays.put_off) == 2


def test_refusals_that_wait_are_bounded() -> None:
    delays = Delays()
    access, _ = deciding(key("ops", "right"), later=delays)
    told: Verdicts = []
    for _ in range(REFUSALS_AT_ONCE + DELAYED_MAX + 1):
        access.authenticate("", told.append)

    assert len(delays.put_off) == DELAYED_MAX
    assert len(told) == REFUSALS_AT_ONCE + 1
