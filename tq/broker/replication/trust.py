"""Which peers are believed to be who they say they are, and which nodes have a say in that (ID1).

A peer is its name and its disk: with another disk it has forgotten what it promised, so its votes and answers must not
count under the old name. That holds until the log says that the new disk is the peer's own.

Following is another matter. Who leads was elected by nodes that believed it, and it is they who answer for that; a
follower takes entries even of a leader that its configuration does not name (thesis 4.1), for that configuration may be
older than its leader. So a node that learns the log anew takes entries and snapshots of peers it does not believe: what
it has read so far tells of disks that may be long gone. A node that the log itself calls a voter, with the disk it
has, holds what others rely on. It lets nobody in whom it does not believe, so that nodes that forgot everything cannot
put their nothing in the place of its data.
"""

from __future__ import annotations

from typing import NamedTuple

from tq.broker.replication.membership import Configuration


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


def judges(configuration: Configuration, node: str, disk: str) -> bool:
    """Whether the log says that this node votes, with the disk it has: then only believed peers are let in."""
    return node in configuration.voters and configuration.disk(node) == disk
