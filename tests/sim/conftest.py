"""What every test of the simulator leaves behind as it found it."""

from __future__ import annotations

from asyncio.events import _set_running_loop
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_virtual_loop_is_left() -> Iterator[None]:
    """A virtual loop says that it is the running one and does not take it back between two events (`loop`): whoever
    calls asyncio.run next in this process would be refused."""
    yield
    _set_running_loop(None)
