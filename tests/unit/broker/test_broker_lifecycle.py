"""How a broker process ends."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from collections.abc import Callable
from io import StringIO

import pytest
import uvloop

from tq import logs
from tq.broker.lifecycle import (
    EXIT_CONFIGURATION,
    EXIT_DAMAGED,
    EXIT_DEFECT,
    EXIT_DISK,
    EXIT_PERMISSION,
    EXIT_UNAVAILABLE,
    CannotStart,
    Fatal,
    Signals,
    opening,
)
from tq.errors import BrokerUnavailable, StoreDamaged, Unsupported


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.EADDRINUSE, "Address already in use"), EXIT_UNAVAILABLE, "choose another port"),
        (OSError(errno.EACCES, "Permission denied"), EXIT_PERMISSION, "owner or the mode"),
        (OSError(errno.ENOSPC, "No space left on device"), EXIT_DISK, "make room"),
        (OSError(errno.EIO, "Input/output error"), EXIT_DISK, "Input/output error"),
        (StoreDamaged("000042.sst has a bad block; run `tq-admin verify DIR`"), EXIT_DAMAGED, "000042.sst"),
        (BrokerUnavailable("another broker holds the lock"), EXIT_UNAVAILABLE, "another broker"),
        (Unsupported("the journal is that of a cluster's node"), EXIT_CONFIGURATION, "a cluster's node"),
    ],
)
def test_a_failed_opening_says_what_why_and_what_to_do(error: Exception, code: int, words: str) -> None:
    with pytest.raises(CannotStart) as caught, opening("the thing"):
        raise error

    assert caught.value.exit_code == code
    assert "the thing" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("error", "code", "remedy"),
    [
        (OSError(errno.EIO, "Input/output error"), EXIT_DISK, "tq-admin verify"),
        (OSError(errno.ENOSPC, "No space left on device"), EXIT_DISK, "make room"),
        (StoreDamaged("bad block"), EXIT_DISK, "tq-admin verify"),
        (AssertionError("a leased task is in no session"), EXIT_DEFECT, "report this line"),
        (AssertionError(), EXIT_DEFECT, "report this line"),
    ],
)
def test_a_fatal_error_is_one_line_and_then_the_end(error: Exception, code: int, remedy: str) -> None:
    out, codes = StringIO(), list[int]()
    logs.configure("info", "json", out)

    Fatal(codes.append)(error)

    (line,) = [json.loads(text) for text in out.getvalue().splitlines()]
    assert codes == [code]
    assert line["event"] == "fatal"
    assert line["cause"] == type(error).__name__
    assert remedy in line["remedy"]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_error_that_escapes_a_callback_is_fatal_and_one_in_a_connection_is_not(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    logs.configure("critical", "json", StringIO())
    codes = list[int]()
    loop = new_loop()
    loop.set_exception_handler(Fatal(codes.append).on_loop_error)
    try:
        loop.call_exception_handler({"message": "protocol failed", "exception": OSError(), "protocol": None})
        loop.call_exception_handler({"message": "Task was destroyed"})
        assert codes == []
        loop.call_soon(lambda: 1 // 0)
        loop.run_until_complete(asyncio.sleep(0))
        assert codes == [EXIT_DEFECT]
    finally:
        loop.close()


def test_the_first_signal_asks_for_a_stop_and_the_second_to_hurry() -> None:
    async def scenario() -> None:
        signals = Signals()
        signals.install(asyncio.get_running_loop())

        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(signals.stop.wait(), 60)
        assert not signals.hurry.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(signals.hurry.wait(), 60)

    logs.configure("critical", "json", StringIO())
    asyncio.run(scenario())
