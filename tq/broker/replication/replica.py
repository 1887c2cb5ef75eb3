"""This node's copy: its log, the configuration that follows from it, and how far it is durable and told."""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.replication.log_view import LogView
from tq.broker.replication.membership import (
    Configuration,
    Membership,
    pack_configuration,
    unpack_configuration,
)
from tq.broker.replication.ports import RaftJournal
from tq.broker.replication.records import Link
from tq.errors import StoreDamaged, Unsupported


class Replica:
    """view: the log, as what changes it sees it. applied: the entry the listener was told of last.

    durable_index: entries up to it survive a crash of this node.
    """

    def __init__(
        self,
        journal: RaftJournal,
        configuration: Configuration,
        *,
        applied: int,
        installed: Link | None,
        installed_members: bytes,
        on_members: Callable[[], None],
    ) -> None:
        """configuration: where the journal knows none. on_members: the configuration in force may be another now.

        Raises StoreDamaged when state and journal do not fit together, Unsupported for a journal of no cluster.
        """
        self._journal = journal
        self._on_members = on_members
        self.view = LogView(journal)
        self._join(applied, installed, installed_members)
        self.applied = applied
        self.durable_index = journal.base.index if self.view.is_dirty else journal.last.index
        base = unpack_configuration(journal.members) if journal.members else None
        self.membership = Membership(base or configuration)
        for index, data in journal.controls():
            self.membership.appended(index, data)

    def append(self, term: int, data: bytes) -> None:
        index = self.view.append(term, data)
        if self.membership.appended(index, data):
            self._on_members()

    def truncate_from(self, index: int) -> None:
        self.durable_index = min(self.durable_index, index - 1)
        self.view.truncate_from(index)
        if self.membership.truncated(index):
            self._on_members()

    def trim(self, upto: int) -> None:
        """Entries up to `upto` may be forgotten; the configuration they led to is kept beside the log."""
        before = self._journal.base.index
        self._journal.trim(min(upto, self.applied))
        base = self._journal.base.index
        if base != before:
            self._rebase(base, self.membership.as_of(base))

    def reset(self, base: Link, members: bytes) -> None:
        """The state was replaced by a snapshot that ends with `base`; the log goes on behind it."""
        self._journal.reset(base)
        self.view.is_dirty = True
        self._rebase(base.index, unpack_configuration(members) or self.membership.current)
        self.applied = base.index

    def _rebase(self, index: int, configuration: Configuration) -> None:
        self.membership.based(index, configuration)
        self._journal.set_members(pack_configuration(configuration))
        self._on_members()

    def _join(self, applied: int, installed: Link | None, members: bytes) -> None:
        """Make the log go on where the state stands.

        A crash between installing a snapshot and resetting the journal leaves a state that the log does not lead to.
        """
        journal = self._journal
        if journal.last.term > journal.term:
            # Only a log without consensus keeps entries of a term it never entered. The others know none of them,
            # and two of three would elect a leader that has nothing.
            raise Unsupported(
                "the journal is that of a broker without a cluster, and its peers do not have what it holds: start the "
                "cluster with empty data directories and submit what is left, or set raft.enabled to false"
            )
        if installed is not None and installed.index >= journal.base.index:
            is_held = installed.index <= journal.last.index and journal.link(installed.index) == installed
            if not is_held:
                journal.reset(installed)
                journal.set_members(members)
                self.view.is_dirty = True
        if not journal.base.index <= applied <= journal.last.index:
            raise StoreDamaged(
                f"the journal begins with entry {journal.base.index + 1} and ends with {journal.last.index}, and the "
                f"store ends with entry {applied}: what was between is lost; move the data directory away and let the "
                "node be rebuilt from its peers"
            )
