"""Reads of the store, gathered: while one batch of them runs on the disk thread, the next one fills.

The disk thread runs jobs in order, so a read sees every write batch given before it, and one batch at a time keeps
a flood of questions from standing in front of the next commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tq.broker.storage.disk import DiskThread
from tq.errors import BrokerUnavailable

READS_MAX = 200
"""Reads in one batch: bounds how long a commit may wait behind them."""

Result = TypeVar("Result")


class Reads:
    def __init__(self, disk: DiskThread, before: Callable[[], None]) -> None:
        """before: called before a batch of reads: gives the disk thread what they must see."""
        self._disk = disk
        self._before = before
        self._waiting: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self._is_reading = False
        self._is_closed = False

    def close(self) -> None:
        """Answer every further read with BrokerUnavailable; those under way still get theirs."""
        self._is_closed = True

    def call(self, job: Callable[[], Result], done: Callable[[Result | Exception], None]) -> None:
        """Run job on the disk thread and done, with its result or what it raised, on the loop."""
        if self._is_closed:
            done(BrokerUnavailable("the broker is stopping; ask again"))
            return
        self._waiting.append((job, done))
        if not self._is_reading:
            self._begin()

    def _begin(self) -> None:
        batch, self._waiting = self._waiting[:READS_MAX], self._waiting[READS_MAX:]
        self._is_reading = True

        def finished(results: list[Any] | Exception) -> None:
            assert isinstance(results, list), "each read catches its own error"
            self._is_reading = False
            if self._waiting:
                self._begin()
            for (_, done), result in zip(batch, results, strict=True):
                done(result)

        self._before()
        self._disk.call(lambda: [_attempt(job) for job, _ in batch], finished)


def _attempt(job: Callable[[], Any]) -> Any:
    try:
        return job()
    except Exception as error:  # noqa: BLE001  handed to the one who asked
        return error
