"""The production code without one of its mitigations: a simulator that does not notice proves nothing.

Each takes one thing away, in the code as it runs; `test_ablations` names the seeds of which one must fail then. The
letters are those of `replication/DESIGN.md`. Mitigations that overlap are not noticed one by one: what they do is
shown in `reproductions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.sim.consensus import Make
from tests.sim.hardened import HARDENED
from tests.sim.schedule import Options
from tq.broker.replication.guard import Guard
from tq.broker.replication.log_view import LogView
from tq.broker.replication.outbox import Outbox
from tq.broker.replication.proposals import Proposals
from tq.broker.replication.reads import Reads
from tq.errors import BrokerUnavailable

_ON_APPEND = Guard._on_append


class Ablation(NamedTuple):
    """changes: (class, attribute, what takes its place)."""

    name: str
    changes: tuple[tuple[type[Any], str, Any], ...]

    def make(self) -> Make:
        @contextmanager
        def during(options: Options) -> Iterator[None]:
            with HARDENED.during(options), self._in_force():
                yield

        return HARDENED._replace(name=self.name, during=during)

    @contextmanager
    def _in_force(self) -> Iterator[None]:
        before = [(owner, name, vars(owner)[name]) for owner, name, _ in self.changes]
        for owner, name, other in self.changes:
            setattr(owner, name, other)
        try:
            yield
        finally:
            for owner, name, original in before:
                setattr(owner, name, original)


def _commit_at_once(self: Outbox, index: int, tell: Callable[[], None]) -> None:
    tell()


def _keep_nothing(self: Guard, append: Any) -> int:
    """As the library does: whatever stands behind the entry a message names is cut off."""
    if append.prev_index < self._journal.last.index:
        self._truncate_from(max(append.prev_index, self._journal.base.index) + 1)
    for term, data in append.entries:
        self._append(term, data)
    return self._journal.last.index


def _believe_commit(self: Guard, peer: str, append: Any) -> None:
    """As the library does: the leader's commit index is taken before anything is compared."""
    if self._is_heard(peer, append.term):
        self._follow(peer, append.term, min(append.commit, self._journal.last.index))
        _ON_APPEND(self, peer, append)


def _expire_as_refused(self: Proposals, now: float) -> None:
    for index in [index for index, waiting in self._waiting.items() if waiting.deadline <= now]:
        self._waiting.pop(index).done(BrokerUnavailable("nobody answered in time"))


def _confirm_alone(self: Reads, majority_seq: int, applied: int) -> None:
    waiting, self._waiting = self._waiting, []
    for read in waiting:
        read.done(read.commit_index)


def _forget_vote(self: LogView, term: int, voted_for: str | None) -> None:
    if term > self._journal.term:
        self.is_dirty = True
        self._journal.set_term(term, "")


ABLATIONS: dict[str, Ablation] = {
    ablation.name: ablation
    for ablation in (
        Ablation("answers wait for the sync (D1)", ((Outbox, "hold", Outbox.send),)),
        Ablation("commits wait for the sync (C2)", ((Outbox, "commit", _commit_at_once),)),
        Ablation("what agrees is kept (M4.7)", ((Guard, "_keep", _keep_nothing),)),
        Ablation(
            "commit never passes what is proven equal (M4.10)", ((Guard, "_on_append", _believe_commit),)
        ),
        Ablation("the vote is on the disk (J1)", ((LogView, "setCurrentTerm", _forget_vote),)),
        Ablation("what may come back is unknown (D6)", ((Proposals, "expire", _expire_as_refused),)),
        Ablation("a read is confirmed by a majority (D7)", ((Reads, "confirm", _confirm_alone),)),
    )
}
"""By the mitigation that is missing."""
