"""The limit of an address, and what a door is told about keys, at every door."""

from __future__ import annotations

import pytest

from tests.access.doors import DOORS, Recorder, behind
from tests.access.keyring import key, keyring
from tests.doors.serving import run
from tq.broker.access import OpenAccess, Permission
from tq.broker.rates import Rates
from tq.clock import ManualClock
from tq.verbs import GetStats


@pytest.mark.parametrize("name", DOORS)
def test_without_keys_an_address_is_limited_over_all_its_connections(name: str) -> None:
    async def scenario() -> None:
        clock, recorder = ManualClock(), Recorder()
        rates = Rates(clock.monotonic_ms, per_address=2)
        async with DOORS[name].open(behind(OpenAccess(), recorder, rates=rates)) as opened:
            codes = [await opened.send(GetStats, None) for _ in range(3)]
            assert codes == ["UNSUPPORTED", "UNSUPPORTED", "RATE_LIMIT_EXCEEDED"]
            assert recorder.seen == [GetStats] * 2
            clock.advance(500)
            assert await opened.send(GetStats, None) == "UNSUPPORTED"

    run(scenario())


@pytest.mark.parametrize("name", DOORS)
def test_a_key_that_was_withdrawn_is_refused_from_then_on(name: str) -> None:
    async def scenario() -> None:
        access = keyring(key("ops", "token"))
        async with DOORS[name].open(behind(access, Recorder())) as opened:
            assert await opened.send(GetStats, "token") == "UNSUPPORTED"
            access.replace([key("ops", "another", [Permission.READ_TASKS])])
            assert await opened.send(GetStats, "token") == "AUTHENTICATION_FAILED"
            assert await opened.send(GetStats, "another") == "UNSUPPORTED"

    run(scenario())
