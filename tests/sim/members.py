"""Who is believed to be whom, and who comes and goes: what `cluster` and `steward` do around the core in production.

The rules are theirs (`steward` gives the edits of a configuration); what is here is when they are asked, in virtual
time and without sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tq.broker.replication import steward
from tq.broker.replication.membership import Configuration, Node
from tq.broker.replication.trust import Shown, believes

if TYPE_CHECKING:
    from tests.sim.hardened import HardNode

Edit = Callable[[dict[str, Node]], object]


class SimMembers:
    """What each peer showed of itself, and whether that lets it in."""

    def __init__(self, owner: HardNode) -> None:
        self._owner = owner
        self._strange: dict[str, str] = {}
        self._shown: dict[str, str] = {}
        self._streams: set[str] = set()

    def begin(self) -> None:
        self._owner.around.loop.call_later(steward.LOOK_SECONDS, self._look)

    def admits(self, peer: str, disk: str) -> bool:
        """See `cluster.ClusterMember._check_disk`."""
        self._shown[peer] = disk
        core = self._owner.core
        if core is None:
            return True
        if not core.configuration.disk(peer):
            self._book.setdefault(peer, disk)
        if self._believes(peer):
            return True
        self._strange[peer] = disk
        around = self._owner.around
        return not core.is_leader and core.trust.lets_in(
            peer, disk, node=around.node, own_disk=around.drive.disk_id
        )

    def connected(self, peer: str) -> Shown:
        self._streams.add(peer)
        return self._shown_by(peer)

    def disconnected(self, peer: str) -> None:
        self._streams.discard(peer)

    @property
    def _book(self) -> dict[str, str]:
        book: dict[str, str] = self._owner.around.drive.book
        return book

    def _shown_by(self, peer: str) -> Shown:
        disk = self._shown[peer]
        return Shown(disk, self._book.get(peer, disk) == disk)

    def _believes(self, peer: str) -> bool:
        assert self._owner.core is not None
        return believes(self._owner.core.configuration, peer, self._shown_by(peer))

    def _is_connected(self, peer: str) -> bool:
        return peer in self._streams and self._believes(peer)

    def remove(self, peer: str) -> None:
        self._change(lambda known: known.pop(peer, None))

    def add(self, peer: str) -> None:
        """As an observer that is to vote once it has caught up."""

        def add(known: dict[str, Node]) -> None:
            known.setdefault(peer, Node(f"{peer}:1", votes=False, is_joining=True))

        self._change(add)

    def _look(self) -> None:
        self.begin()
        for peer in sorted(self._streams):
            if not self.admits(peer, self._shown[peer]):
                self._owner.around.cut(peer)
        if not self._owner.is_leader:
            self._strange.clear()
            return
        edit = self._readmission() or self._promotion() or self._naming()
        if edit is not None:
            self._change(edit)

    def _readmission(self) -> Edit | None:
        assert self._owner.core is not None
        strange, self._strange = self._strange, {}
        for node, disk in strange.items():
            if node in self._owner.core.configuration.nodes and not self._is_connected(node):
                return partial(steward._begin_anew, node, disk)
        return None

    def _promotion(self) -> Edit | None:
        core = self._owner.core
        assert core is not None
        for node in core.configuration.joining:
            if self._is_connected(node) and core.has_caught_up(node):
                return partial(steward._let_vote, node)
        return None

    def _naming(self) -> Edit | None:
        owner = self._owner
        assert owner.core is not None
        configuration = owner.core.configuration
        disks = {
            node: owner.around.drive.disk_id if node == owner.around.node else self._shown[node]
            for node in configuration.nodes
            if not configuration.disk(node) and (node == owner.around.node or self._is_connected(node))
        }
        return partial(steward._name_disks, disks) if disks else None

    def _change(self, edit: Edit) -> None:
        owner = self._owner
        if owner.core is None or not owner.is_leader:
            return
        known = owner.core.configuration.known()
        edit(known)
        wanted = Configuration.made(known)
        if wanted != owner.core.configuration:
            done = partial(owner.ended, "membership changes")
            owner.ask(lambda core: core.change_members(wanted, done))
