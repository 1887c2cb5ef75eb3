"""Who takes nodes in and out: the leader's part of membership, beyond what the core allows.

A node is added as an observer and made a voter once it has caught up. One that comes back with another data directory
than before has forgotten what it promised: it is made an observer under its new disk, learns everything anew, and then
votes again (ID1). Both are in the configuration itself, so a next leader goes on with them.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Task, TimerHandle
from collections.abc import Callable, Mapping
from functools import partial

from tq.broker.replication.membership import NODES_MAX, Configuration, Node
from tq.broker.replication.raft import RaftLog
from tq.config.values import ADDRESS, NODE_ID, Wrong
from tq.errors import BadRequest, BrokerUnavailable, NotLeader, TqError
from tq.logs import get_logger

_log = get_logger("raft")

EVERY_ADDRESS = ("0.0.0.0", "[::]")
LOOK_SECONDS = 0.25
"""How often a leader looks whether somebody has caught up, or has come back with another disk."""
CHANGE_SECONDS = 10.0
"""How long a change may wait for the one before it, and for its own majority."""
RETRY_SECONDS = 0.1
STILL_SECONDS = 30.0
"""A node that is connected, lacks entries and takes none for so long is worth a line."""
CATCHING_UP_MS = 500
"""When somebody who wants a node to lead that is behind may ask again."""


class Steward:
    """Works while this node leads; its methods raise NotLeader on any other."""

    def __init__(
        self,
        node_id: str,
        log: RaftLog,
        loop: AbstractEventLoop,
        *,
        is_connected: Callable[[str], bool],
        disk_of: Callable[[str], str],
    ) -> None:
        """is_connected: whether there is a stream with a node, from the disk that counts as its own; disk_of: that
        disk, empty = not known."""
        self._node_id = node_id
        self._log = log
        self._loop = loop
        self._is_connected = is_connected
        self._disk_of = disk_of
        self._strange: dict[str, str] = {}
        self._held: dict[str, tuple[int, float]] = {}
        """How far a node was, and since when."""
        self._changes = asyncio.Lock()
        self._timer: TimerHandle | None = None
        self._task: Task[None] | None = None

    def start(self) -> None:
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def came_with(self, node: str, disk: str) -> None:
        """A node has proved that it is of this cluster, and has another data directory than it had."""
        self._strange[node] = disk

    # ------------------------------------------------------------ what operators ask for

    async def add_node(self, node: str, address: str, *, votes: bool) -> None:
        """See `verbs.AddNode`. Returns once the change is committed, not when the node has caught up.

        Raises BadRequest, NotLeader, BrokerUnavailable, OutcomeUnknown.
        """
        _check_place(node, address)

        def add(known: dict[str, Node]) -> None:
            if any(each.address == address for name, each in known.items() if name != node):
                raise BadRequest(f"the address {address} is another node's already")
            before = known.get(node)
            if before is None and len(known) >= NODES_MAX:
                raise BadRequest(f"a cluster has at most {NODES_MAX} nodes")
            if before is None:
                known[node] = Node(address, votes=False, is_joining=votes)
            else:
                keeps_voting = before.votes and votes
                known[node] = before._replace(
                    address=address, votes=keeps_voting, is_joining=votes and not keeps_voting
                )

        await self._change(add)
        _log.info("node_added", f"{node} at {address} is of this cluster", peer=node, votes=votes)

    async def remove_node(self, node: str) -> None:
        """See `verbs.RemoveNode`. A leader that is to go hands over and raises NotLeader: the next one removes it."""
        if node not in self._log.configuration.nodes:
            raise BadRequest(f"{node!r} is no node of this cluster")
        if self._log.configuration.voters == (node,):
            raise BadRequest(
                f"{node} is the last node that votes: stop it, there is nothing left to take it out of"
            )
        if node == self._node_id:
            await self.transfer()
            raise self._log.not_leader()
        await self._change(lambda known: known.pop(node, None))
        _log.info("node_removed", f"{node} is not of this cluster any more", peer=node)

    async def transfer(self, target: str = "") -> None:
        """Let another voter lead, empty = the one that is furthest on. Raises what refused it."""
        if not self._log.is_leader:
            raise self._log.not_leader()
        if target == self._node_id:
            return
        match = self._log.status.match
        voters = self._log.configuration.voters_but(self._node_id)
        others = [node for node in voters if self._is_connected(node)]
        if not voters:
            raise BadRequest(f"{self._node_id} is the only node that votes: nobody else can lead")
        if not others:
            raise BrokerUnavailable("no other voting node is connected")
        if target in voters:
            self._check_successor(target)
        await self._log.transfer(target or max(others, key=lambda node: match.get(node, 0)))

    def _check_successor(self, node: str) -> None:
        """Nobody's writes wait for a node that cannot lead: while a transfer is tried nothing is taken in."""
        if not self._is_connected(node):
            raise BadRequest(f"{node} is not connected to {self._node_id}, which leads: it cannot take over")
        if not self._log.has_caught_up(node):
            behind = self._log.last_index - self._log.status.match.get(node, 0)
            text = f"{node} is {behind} entries behind: it can lead once it has caught up"
            raise BrokerUnavailable(text, retry_after_ms=CATCHING_UP_MS)

    # ------------------------------------------------------------ what is done unasked

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        if not self._log.is_leader:
            self._strange.clear()
            self._held.clear()
            return
        self._look_who_stands_still()
        if self._task is None or self._task.done():
            edit = self._readmission() or self._promotion() or self._naming()
            if edit is not None or not self._log.knows_members:
                self._task = self._loop.create_task(self._try(edit or _as_it_is))

    def _look_who_stands_still(self) -> None:
        """One that lost entries it had acknowledged gets no more (ID3), and whoever put an old copy back must hear of it."""
        status, now = self._log.status, self._loop.time()
        for node in self._log.configuration.nodes_but(self._node_id):
            held = status.match.get(node, 0)
            before, since = self._held.get(node, (-1, now))
            if held != before or held >= status.last_index or not self._is_connected(node):
                self._held[node] = (held, now)
            elif now - since >= STILL_SECONDS:
                self._held[node] = (held, now)
                _log.warning(
                    "peer_stands_still",
                    f"{node} is connected, lacks {status.last_index - held} entries and has taken none for "
                    f"{now - since:.0f} s: unless a snapshot is on its way to it, its data directory is older than what "
                    "it acknowledged; stop it, empty the directory and start it again",
                    peer=node,
                )

    def _readmission(self) -> Callable[[dict[str, Node]], object] | None:
        """A node of ours that is not here with its own disk, and was seen with another one."""
        strange, self._strange = self._strange, {}
        for node, disk in strange.items():
            if node in self._log.configuration.nodes and not self._is_connected(node):
                _log.warning(
                    "node_replaced",
                    f"{node} has another data directory than before: it learns everything anew and votes later",
                    peer=node,
                )
                return partial(_begin_anew, node, disk)
        return None

    def _promotion(self) -> Callable[[dict[str, Node]], object] | None:
        for node in self._log.configuration.joining:
            if self._is_connected(node) and self._log.has_caught_up(node):
                _log.info("node_votes", f"{node} has caught up and votes from now on", peer=node)
                return partial(_let_vote, node)
        return None

    def _naming(self) -> Callable[[dict[str, Node]], object] | None:
        """Disks that the log does not name yet: a node that begins anew must learn from it who is who, for whatever it
        sees first may have forgotten as much as itself."""
        configuration = self._log.configuration
        unnamed = [node for node in configuration.nodes if not configuration.disk(node)]
        disks = {node: disk for node in unnamed if (disk := self._disk_of(node))}
        return partial(_name_disks, disks) if disks else None

    async def _try(self, edit: Callable[[dict[str, Node]], object]) -> None:
        try:
            await self._change(edit)
        except TqError as error:
            _log.warning("membership_waits", f"the change of members is tried again: {error.text}")

    async def _change(self, edit: Callable[[dict[str, Node]], object]) -> None:
        """Put an edited configuration through, after those before it. Raises what refused it."""
        deadline = self._loop.time() + CHANGE_SECONDS
        async with self._changes:
            while True:
                if not self._log.is_leader:
                    raise self._log.not_leader()
                known = self._log.configuration.known()
                edit(known)
                wanted = Configuration.made(known)
                if wanted == self._log.configuration and self._log.knows_members:
                    return
                try:
                    await self._log.change_members(wanted)
                except NotLeader:
                    raise
                except BrokerUnavailable:
                    if self._loop.time() >= deadline:
                        raise
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    return


def _as_it_is(known: dict[str, Node]) -> None:
    """The first leader puts what it was started with into the log: from then on no file changes who the members are."""


def _begin_anew(node: str, disk: str, known: dict[str, Node]) -> None:
    before = known[node]
    known[node] = Node(before.address, votes=False, is_joining=before.votes or before.is_joining, disk=disk)


def _name_disks(disks: Mapping[str, str], known: dict[str, Node]) -> None:
    for node, disk in disks.items():
        if node in known and not known[node].disk:
            known[node] = known[node]._replace(disk=disk)


def _let_vote(node: str, known: dict[str, Node]) -> None:
    known[node] = known[node]._replace(votes=True, is_joining=False)


def _check_place(node: str, address: str) -> None:
    """The rules of the configuration file, for what would stand in it: else every start of a node would trip over it."""
    try:
        ADDRESS.read(address)
    except Wrong as wrong:
        raise BadRequest(f"{wrong.text}: give host:port, as its peers reach it") from wrong
    host, _, port = address.rpartition(":")
    if int(port) == 0 or host in EVERY_ADDRESS:
        raise BadRequest(f"{address!r} is not an address: give host:port, as its peers reach it")
    if node != address:  # which names a node where peers are a plain list
        try:
            NODE_ID.read(node)
        except Wrong as wrong:
            raise BadRequest(f"the name {wrong.text}: {wrong.remedy}") from wrong
