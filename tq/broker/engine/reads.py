"""Reads of the store, gathered: while one batch of them runs on the disk thread, the next one fills.

The disk thread runs jobs in order, so a read sees every write batch given before it, and one batch at a time keeps
questions from standing in front of the next commit. Whoever asks waits for his own questions: each batch takes one of
every asker in turn, and ends when its time is up, so that a peer that sends ten thousand at once delays himself only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from tq.broker.storage.disk import DiskThread
from tq.errors import BrokerUnavailable

READS_MAX = 200
"""Reads in one batch."""
BATCH_NS_MAX = 4_000_000
"""A batch begins no further read after so long: what a commit waits behind it, but for one read."""

Result = TypeVar("Result")


class _Read(NamedTuple):
    asker: object
    job: Callable[[], Any]
    done: Callable[[Any], None]


class Reads:
    def __init__(self, disk: DiskThread, before: Callable[[], None], elapsed_ns: Callable[[], int]) -> None:
        """before: called before a batch of reads: gives the disk thread what they must see. elapsed_ns: a clock that
        never goes back."""
        self._disk = disk
        self._before = before
        self._elapsed_ns = elapsed_ns
        # Askers in the order of their turns.
        self._waiting: dict[object, deque[_Read]] = {}
        self._is_reading = False
        self._is_closed = False

    def close(self) -> None:
        """Answer every further read with BrokerUnavailable; those under way still get theirs."""
        self._is_closed = True

    def call(
        self, job: Callable[[], Result], done: Callable[[Result | Exception], None], asker: object = None
    ) -> None:
        """Run job on the disk thread and done, with its result or what it raised, on the loop.

        asker: whose question it is; None is the broker itself.
        """
        if self._is_closed:
            done(BrokerUnavailable("the broker is stopping; ask again"))
            return
        read = _Read(asker, job, done)
        waiting = self._waiting.get(asker)
        if waiting is None:
            self._waiting[asker] = deque((read,))
        else:
            waiting.append(read)
        if not self._is_reading:
            self._begin()

    def drop(self, asker: object) -> None:
        """The asker is gone: what it waits for is not read; done gets BrokerUnavailable."""
        for read in self._waiting.pop(asker, ()):
            read.done(BrokerUnavailable("the connection that asked is gone"))

    def _begin(self) -> None:
        batch = self._take()
        self._is_reading = True
        self._before()
        self._disk.call(partial(self._run, batch), partial(self._finished, batch))

    def _take(self) -> list[_Read]:
        """Up to READS_MAX, one of each asker in turn."""
        batch: list[_Read] = []
        while self._waiting and len(batch) < READS_MAX:
            asker = next(iter(self._waiting))
            waiting = self._waiting.pop(asker)
            batch.append(waiting.popleft())
            if waiting:
                self._waiting[asker] = waiting
        return batch

    def _run(self, batch: list[_Read]) -> list[Any]:
        """On the disk thread: the results of those that there was time for, at least one."""
        end_ns = self._elapsed_ns() + BATCH_NS_MAX
        results: list[Any] = []
        for read in batch:
            results.append(_attempt(read.job))
            if self._elapsed_ns() >= end_ns:
                break
        return results

    def _finished(self, batch: list[_Read], results: list[Any] | Exception) -> None:
        assert isinstance(results, list), "each read catches its own error"
        self._is_reading = False
        self._put_back(batch[len(results) :])
        if self._waiting:
            self._begin()
        for read, result in zip(batch, results, strict=False):
            read.done(result)

    def _put_back(self, reads: list[_Read]) -> None:
        """They are the next of their askers, and their askers are the next."""
        later, self._waiting = self._waiting, {}
        for read in reads:
            self._waiting.setdefault(read.asker, deque()).append(read)
        for asker, waiting in later.items():
            self._waiting.setdefault(asker, deque()).extend(waiting)


def _attempt(job: Callable[[], Any]) -> Any:
    try:
        return job()
    except Exception as error:  # noqa: BLE001  handed to the one who asked
        return error
