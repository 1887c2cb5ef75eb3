"""For tests of programs that use tq: the real broker's machine in memory, on a clock that you move. A pytest plugin.

    def test_receipt_goes_out_after_an_hour(tq_app):
        send_receipt.options(delay="1h").send(order_id=1)
        tq_app.drain()                               # nothing is ready yet
        tq_app.advance("1h")
        tq_app.drain()                               # runs it here, as a worker would
        tq_app.assert_done(send_receipt, order_id=1)

The fixtures are there once tq is installed. Nothing is mocked below the connection: submits are validated, arguments
travel as bytes, retries, schedules, dependencies and unique keys do what they do in production.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tq.testing.app_under_test import AppUnderTest
    from tq.testing.memory_broker import MemoryBroker


@pytest.fixture
def tq_broker() -> Iterator[MemoryBroker]:
    """A broker in memory that listens on `tq_broker.address`; its time moves by `tq_broker.advance`."""
    from tq.testing.memory_broker import (
        MemoryBroker,
    )  # a test run without tq's fixtures need not load a broker

    with MemoryBroker() as broker:
        yield broker


@pytest.fixture
def tq_app(tq_broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppUnderTest]:
    """Every App talks to a broker in memory while the test runs, whatever address it was made with."""
    from tq.testing.app_under_test import AppUnderTest
    from tq.worker.app import App

    under_test = AppUnderTest(tq_broker)
    monkeypatch.setattr(App, "client", property(under_test.client_of))
    monkeypatch.setattr(App, "async_client", property(under_test.async_client_of))
    # The setter takes what an App made within the test brings along.
    monkeypatch.setattr(
        App, "clock", property(lambda _: tq_broker.clock, lambda _, clock: None), raising=False
    )
    yield under_test
    under_test.close()
