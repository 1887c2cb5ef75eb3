"""Reads that see everything acknowledged before they were asked (ReadIndex, thesis 6.4), without an entry of their own.

A read remembers the commit index, waits until a majority has answered a message sent after it was asked, so that
nobody else led when it was, and then until the state has reached that index. Only a leader that has committed an
entry of its own term may begin one: before that it does not know what is committed.
"""

from __future__ import annotations

from typing import NamedTuple

from tq.broker.replication.ports import Answered
from tq.errors import BrokerUnavailable, TqError

READS_MAX = 10_000
"""Waiting at once. They all end with the next round of heartbeats."""


class _Read(NamedTuple):
    """seq: a majority must have answered a message numbered above it."""

    commit_index: int
    seq: int
    deadline: float
    done: Answered


class Reads:
    def __init__(self) -> None:
        self._waiting: list[_Read] = []

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= READS_MAX

    def add(self, index: int, seq: int, deadline: float, done: Answered) -> None:
        self._waiting.append(_Read(index, seq, deadline, done))

    def confirm(self, majority_seq: int, applied: int) -> None:
        """A majority has answered message majority_seq or a later one; the owner was told of entries up to applied."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        ready: list[_Read] = []
        for read in waiting:
            is_ready = read.seq < majority_seq and read.commit_index <= applied
            (ready if is_ready else self._waiting).append(read)
        for read in ready:
            read.done(read.commit_index)

    def refuse(self, error: TqError) -> None:
        """This node leads no more."""
        waiting, self._waiting = self._waiting, []
        for read in waiting:
            read.done(error)

    def expire(self, now: float) -> None:
        overdue = [read for read in self._waiting if read.deadline <= now]
        if overdue:
            self._waiting = [read for read in self._waiting if read.deadline > now]
            for read in overdue:
                read.done(BrokerUnavailable("no majority of the nodes has answered in time"))

    def next_due(self) -> float:
        return min(read.deadline for read in self._waiting) if self._waiting else float("inf")
