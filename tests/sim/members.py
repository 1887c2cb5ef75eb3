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

if TYPE_CHECKING:
    from tests.sim.hardened import HardNode

Edit = Callable[[dict[str, Node]], object]


class SimMembers:
    """connected: peers with which there is a stream."""

    def __init__(self, owner: HardNode) -> None:
        self._owner = owner
        self._strange: dict[str, str] = {}
        self.connected: set[str] = set()

    def begin(self) -> None:
        self._owner.around.loop.call_later(steward.LOOK_SECONDS, self._look)

    def admits(self, peer: str, disk: str) -> bool:
        """Whether this disk is the peer's: by the configuration, or, where it says nothing, as it was seen first."""
        owner = self._owner
        known = owner.core.configuration.disk(peer) if owner.core is not None else ""
        is_known = disk == (known or owner.around.drive.book.setdefault(peer, disk))
        if not is_known:
            self._strange[peer] = disk
        return is_known

    def remove(self, peer: str) -> None:
        self._change(lambda known: known.pop(peer, None))

    def add(self, peer: str) -> None:
        """As an observer that is to vote once it has caught up."""

        def add(known: dict[str, Node]) -> None:
            known.setdefault(peer, Node(f"{peer}:1", votes=False, is_joining=True))

        self._change(add)

    def _look(self) -> None:
        self.begin()
        if not self._owner.is_leader:
            self._strange.clear()
            return
        edit = self._readmission() or self._promotion()
        if edit is not None:
            self._change(edit)

    def _readmission(self) -> Edit | None:
        assert self._owner.core is not None
        strange, self._strange = self._strange, {}
        for node, disk in strange.items():
            if node in self._owner.core.configuration.nodes and node not in self.connected:
                return partial(steward._begin_anew, node, disk)
        return None

    def _promotion(self) -> Edit | None:
        core = self._owner.core
        assert core is not None
        for node in core.configuration.joining:
            if node in self.connected and core.has_caught_up(node):
                return partial(steward._let_vote, node)
        return None

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
