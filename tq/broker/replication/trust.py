"""Which peers are believed to be who they say they are, and which nodes have a say in that (ID1).

A peer is its name and its disk: with another disk it has forgotten what it promised, so its votes and answers must not
count under the old name. That holds until the log says that the new disk is the peer's own.

Following is another matter. Who leads was elected by nodes that believed it, and it is they who answer for that; a
follower takes entries even of a leader that its configuration does not name (thesis 4.1), for that configuration may be
older than its leader. So a node that learns the log anew takes entries and snapshots of peers it does not believe: what
it has read so far tells of disks that may be long gone. A node that the log itself calls a voter, with the disk it
has, holds what others rely on. It lets nobody in whom it does not believe, so that nodes that forgot everything cannot
put their nothing in the place of its data.

Such a node may have been away while a peer was rebuilt, took the log in anew and was elected. It hears of that from a
voter it believes: a voucher names the leader and the disk that is the leader's own by a configuration that is
committed. Then the leader is let in and followed, and counts once the log has told the rest. Nodes that forgot
everything find nobody to vouch for them: who is believed remembers what was committed.
"""

from __future__ import annotations

from typing import NamedTuple

from tq.broker.replication.membership import Configuration, Membership


class Shown(NamedTuple):
    """What a peer proved when its stream began.

    disk: uuid and generation of its data directory. is_familiar: this node never saw it with another one.
    """

    disk: str = ""
    is_familiar: bool = True


FAMILIAR = Shown()
"""Of peers whose disks nobody asks for."""


def believes(configuration: Configuration, peer: str, shown: Shown) -> bool:
    """Whether this is the disk that counts as the peer's: by the log, or, where that says nothing, as seen first."""
    known = configuration.disk(peer)
    return shown.disk == known if known else shown.is_familiar


class Trust:
    """What each peer proved, and for whom was vouched."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._shown: dict[str, Shown] = {}
        self._vouched: dict[str, str] = {}

    def connected(self, peer: str, shown: Shown) -> None:
        self._shown[peer] = shown

    def believes(self, peer: str) -> bool:
        return believes(self._membership.current, peer, self._shown.get(peer, FAMILIAR))

    def voucher(self, leader: str, commit_index: int) -> str:
        """The disk that is a leader's own for certain; empty = this node cannot say."""
        return self._membership.as_of(commit_index).disk(leader)

    def vouched(self, leader: str, disk: str) -> None:
        """A peer that is believed says so."""
        self._vouched[leader] = disk

    def is_vouched_for(self, peer: str, disk: str) -> bool:
        return self._vouched.get(peer) == disk

    def lets_in(self, peer: str, disk: str, *, node: str, own_disk: str) -> bool:
        """Whether this node, while it follows, lets in a peer that it does not believe."""
        return self.is_vouched_for(peer, disk) or not judges(self._membership.current, node, own_disk)


def judges(configuration: Configuration, node: str, disk: str) -> bool:
    """Whether the log says that this node votes, with the disk it has: then only believed peers are let in."""
    return node in configuration.voters and configuration.disk(node) == disk
