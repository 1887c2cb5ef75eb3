"""What was proposed here and has not ended yet. Every proposal ends: applied, not applied, or unknown.

- *applied*: the entry with its index and term was committed and told.
- *not applied*: another entry was committed at its index. Cutting it off the log is not enough to know: a third node
  may hold it and win the next election.
- *unknown*: its time is over, the state was replaced by a snapshot that reaches past it, or the node stops.
"""

from __future__ import annotations

from typing import NamedTuple

from tq.broker.replication.ports import Answered
from tq.errors import BrokerUnavailable, OutcomeUnknown

PROPOSALS_MAX = 64
"""The engine has one under way; configuration changes and tests come on top."""


class _Proposal(NamedTuple):
    term: int
    data: bytes
    deadline: float
    done: Answered


class Proposals:
    def __init__(self) -> None:
        self._waiting: dict[int, _Proposal] = {}

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= PROPOSALS_MAX

    def add(self, index: int, term: int, data: bytes, deadline: float, done: Answered) -> None:
        """An entry of this node was added to its log at `index`."""
        self._end(
            index, OutcomeUnknown(f"entry {index} gave way to one of a later term, and may still come back")
        )
        self._waiting[index] = _Proposal(term, data, deadline, done)

    def data(self, index: int, term: int) -> bytes | None:
        """The object that was proposed, if it is this entry."""
        found = self._waiting.get(index)
        return found.data if found is not None and found.term == term else None

    def applied(self, index: int, term: int) -> None:
        """Entry `index`, of this term, was committed and told."""
        found = self._waiting.pop(index, None)
        if found is None:
            return
        if found.term == term:
            found.done(index)
        else:
            found.done(BrokerUnavailable("the leader changed, and its entry took the place of this one"))

    def skipped(self, upto: int) -> None:
        """A snapshot brought the state to entry `upto`; what it holds of ours cannot be told."""
        for index in [index for index in self._waiting if index <= upto]:
            self._end(index, OutcomeUnknown("the leader changed while the entry was on its way"))

    def hurry(self, deadline: float) -> None:
        """This node leads no more: wait no longer than this for the next leader to settle what was under way."""
        for index, waiting in self._waiting.items():
            self._waiting[index] = waiting._replace(deadline=min(waiting.deadline, deadline))

    def expire(self, now: float) -> None:
        for index in [index for index, waiting in self._waiting.items() if waiting.deadline <= now]:
            self._end(index, OutcomeUnknown("no majority of the nodes has answered in time"))

    def next_due(self) -> float:
        if not self._waiting:
            return float("inf")
        return min(waiting.deadline for waiting in self._waiting.values())

    def close(self) -> None:
        for index in list(self._waiting):
            self._end(index, OutcomeUnknown("the broker stopped while the entry was on its way"))

    def _end(self, index: int, error: OutcomeUnknown) -> None:
        found = self._waiting.pop(index, None)
        if found is not None:
            found.done(error)
