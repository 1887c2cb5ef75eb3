"""This node's part in its cluster, put together: log, links, snapshots, and who may be believed."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import AbstractEventLoop
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import NamedTuple

from tq.broker.replication.disk import Disk
from tq.broker.replication.journal import Journal
from tq.broker.replication.log import OnFatal
from tq.broker.replication.membership import Configuration
from tq.broker.replication.messages import Message
from tq.broker.replication.peer_book import PeerBook, other_disk
from tq.broker.replication.ports import RaftTimes, Status
from tq.broker.replication.raft import Identity, RaftLog
from tq.broker.replication.records import Link
from tq.broker.replication.snapshot import Checkpointed, StoreSnapshots
from tq.broker.replication.steward import Steward
from tq.broker.replication.stream import PeerSecurity
from tq.broker.replication.transport import PeerTransport
from tq.broker.replication.trust import Shown
from tq.clock import Clock
from tq.config.models import RaftSection
from tq.errors import AuthenticationFailed, NotLeader, StoreDamaged, TqError, Unsupported
from tq.logs import get_logger
from tq.verbs import Cluster, Member
from tq.version import VERSION

_log = get_logger("raft")

ELECTION_SPREAD = (0.6, 1.2)
"""A node stands after this part of `raft.election_timeout_ms`, drawn anew each time."""
PROPOSAL_ELECTIONS = 5
"""A proposal may wait for so many election time-outs before its outcome is called unknown."""


class Place(NamedTuple):
    """Where this node keeps what is its own. disk: the data directory's uuid and generation.

    begins_as_observer: while the journal knows no configuration this node is none that votes.
    """

    directory: Path
    disk: tuple[str, int]
    installed: tuple[Link, bytes] | None
    begins_as_observer: bool


class Hooks(NamedTuple):
    """What the cluster asks of the broker around it.

    checkpoint(directory, done): copy the store; done gets the entry the copy ends with. on_lead: this node leads, or
    leads no more. on_leader: who leads has changed, empty = nobody is known to. client_address: where this node's own clients go. restart: end the process and start it again.
    """

    checkpoint: Callable[[str, Checkpointed], None]
    on_lead: Callable[[bool], None]
    on_leader: Callable[[str], None]
    client_address: Callable[[], str]
    restart: Callable[[], None]
    on_fatal: OnFatal


class ClusterMember:
    """`log` serves the port. `open` once the log has been started and clients are served; `close` before the log."""

    def __init__(
        self,
        raft: RaftSection,
        place: Place,
        journal: Journal,
        disk: Disk,
        loop: AbstractEventLoop,
        clock: Clock,
        hooks: Hooks,
    ) -> None:
        """Raises StoreDamaged, Unsupported for nodes that could not tell each other from strangers, OSError."""
        self._raft = raft
        self.node_id = name_of(raft)
        self._on_leader = hooks.on_leader
        self._on_lead = hooks.on_lead
        self._is_open = False
        self._book = _book_in(place.directory)
        self.transport = PeerTransport(
            self.node_id,
            place.disk,
            self,
            security_of(raft),
            check_disk=self._check_disk,
            client_address=hooks.client_address,
        )
        self.snapshots = StoreSnapshots(
            place.directory,
            loop,
            checkpoint=hooks.checkpoint,
            link=journal.link,
            members=lambda index: self.log.members_as_of(index),
            restart=hooks.restart,
            on_fatal=hooks.on_fatal,
            wake_up=lambda: self.log.wake_up(),
            elapsed_ns=clock.monotonic_ns,
        )
        begins_as_observer = place.begins_as_observer or raft.join
        self.log = RaftLog(
            Identity(self.node_id, configuration_of(raft, begins_as_observer=begins_as_observer)),
            journal,
            disk,
            self,
            self.snapshots,
            hooks.on_fatal,
            clock=lambda: clock.monotonic_ns() / 1e9,
            chance=SystemRandom().random,
            times=times_of(raft),
            address_of=self.transport.client_address,
            on_role=self._role_changed,
            on_lead=self._lead_changed,
            on_installed=_never_in_place,
            on_members=self._members_changed,
            installed=place.installed,
        )
        self.steward = Steward(
            self.node_id,
            self.log,
            loop,
            is_connected=self.transport.is_connected,
            disk_of=self.transport.disk_of,
        )

    async def open(self) -> tuple[str, int]:
        """Listen for peers and dial them; the bound address. Raises OSError."""
        host, _, port = self._raft.bind.rpartition(":")
        address = await self.transport.open(host.strip("[]"), int(port))
        self._is_open = True
        self._members_changed(self.log.configuration)
        self.steward.start()
        return address

    async def close(self) -> None:
        """Hang up. Calling it twice is allowed."""
        self.steward.stop()
        await self.transport.close()
        self.snapshots.close()

    async def hand_over(self) -> None:
        """Before a planned stop: let the node that is nearest to this one lead, if this one does. Never raises; it
        takes one longest election time-out at most."""
        if not self.log.is_leader:
            return
        try:
            await self.steward.transfer()
        except TqError as error:
            _log.warning("transfer_failed", f"nobody took over: {error.text}")

    # ------------------------------------------------------------ the seat: see `clustering.seat`

    @property
    def leads(self) -> bool:
        return self.log.is_leader

    @property
    def leader(self) -> str:
        return self.log.leader

    @property
    def peers(self) -> list[str]:
        return self.log.configuration.nodes_but(self.node_id)

    def not_leader(self) -> NotLeader:
        return self.log.not_leader()

    async def read_index(self) -> int:
        return await self.log.read_index()

    async def visit(self, node: str, visitor: asyncio.Protocol) -> None:
        await self.transport.visit(node, visitor)

    async def add_node(self, node: str, address: str, *, votes: bool) -> None:
        await self.steward.add_node(node, address, votes=votes)

    async def remove_node(self, node: str) -> None:
        await self.steward.remove_node(node)

    async def transfer(self, target: str = "") -> None:
        await self.steward.transfer(target)

    def view(self) -> Cluster:
        """The nodes as this one knows them by itself: of the others only their lags, and only while it leads."""
        status, configuration = self.log.status, self.log.configuration
        return Cluster(
            tuple(self._member(node, status, configuration) for node in configuration.nodes), status.leader
        )

    def _member(self, node: str, status: Status, configuration: Configuration) -> Member:
        shown = Member(
            node,
            configuration.address(node),
            "observer" if node in configuration.observers else "follower",
            status.term,
            0,
            0,
            is_joining=node in configuration.joining,
            client_address=self.transport.client_address(node),
        )
        if node == self.node_id:
            return shown._replace(
                role=status.role,
                commit_index=status.commit_index,
                applied_index=status.applied,
                is_self=True,
                first_index=status.first_index,
                last_index=status.last_index,
                snapshot_age_ms=self.snapshots.age_ms,
                version=VERSION,
            )
        held = status.match.get(node, 0)
        commit = min(held, status.commit_index)
        return shown._replace(
            role="leader" if node == status.leader else shown.role,
            commit_index=commit,
            applied_index=commit,
            lag=status.last_index - held if status.match else 0,
            last_index=held,
        )

    # ------------------------------------------------------------ links and ears

    def send(self, peer: str, message: Message) -> None:
        self.transport.send(peer, message)

    def connected(self, peer: str, epoch: int, disk: str) -> None:
        self.log.connected(peer, epoch, Shown(disk, self._book.knows(peer, disk)))

    def disconnected(self, peer: str, epoch: int) -> None:
        self.log.disconnected(peer, epoch)

    def receive(self, peer: str, epoch: int, message: Message) -> None:
        self.log.receive(peer, epoch, message)

    def _members_changed(self, configuration: Configuration) -> None:
        if not self._is_open:
            return
        for node in self._book.nodes - set(configuration.nodes):
            # It left: whoever comes under its name next is new.
            self._book.forget(node)
        self.transport.recheck()
        others = configuration.nodes_but(self.node_id)
        self.transport.set_peers((node, configuration.address(node)) for node in others)

    def _check_disk(self, node: str, disk: str) -> bool:
        """ID1: the configuration says which disk is the node's, or, where it says nothing, the first one seen.

        A leader lets in nobody else, and whoever the log says votes with the disk it has only those for whom was
        vouched: see `trust`.
        """
        known = self.log.configuration.disk(node)
        try:
            if not known:
                self._book.check(node, disk)
            elif known != disk:
                raise other_disk(node)
        except AuthenticationFailed:
            self.steward.came_with(node, disk)
            own = self.transport.disk_of(self.node_id)
            if self.log.is_leader or not self.log.lets_in(node, disk, own):
                raise
            return False
        return True

    def _lead_changed(self, leads: bool) -> None:
        # A leader lets in only whom it believes, and must learn who is there with another disk.
        self.transport.recheck()
        self._on_lead(leads)

    def _role_changed(self, role: str, leader: str, term: int) -> None:
        _log.info("raft_role", f"{role} in term {term}", role=role, leader=leader, term=term)
        self._on_leader(leader)


def _book_in(directory: Path) -> PeerBook:
    """A damaged one is not mended by rebuilding the node's data, so it must not look like damage of those."""
    try:
        return PeerBook(directory)
    except StoreDamaged as error:
        raise Unsupported(error.text) from error


def name_of(raft: RaftSection) -> str:
    """This node's name in the cluster: its id, or, where peers are a plain list of addresses, its own address."""
    is_list = bool(raft.peers) and all(peer.node_id == peer.address for peer in raft.peers)
    return (raft.advertise or raft.bind) if is_list else raft.node_id


def configuration_of(raft: RaftSection, *, begins_as_observer: bool = False) -> Configuration:
    """What the configuration file says: this node and its peers, all of them voting; or this one not (yet)."""
    own_id, own_address = name_of(raft), raft.advertise or raft.bind
    others = {peer.node_id: peer.address for peer in raft.peers if peer.node_id != own_id}
    if begins_as_observer:
        return Configuration.of(others, {own_id: own_address})
    return Configuration.of(others | {own_id: own_address}, {})


def times_of(raft: RaftSection) -> RaftTimes:
    election = raft.election_timeout_ms / 1000
    return RaftTimes(
        election_min=ELECTION_SPREAD[0] * election,
        election_max=ELECTION_SPREAD[1] * election,
        heartbeat=raft.heartbeat_interval_ms / 1000,
        proposal=PROPOSAL_ELECTIONS * election,
    )


def security_of(raft: RaftSection) -> PeerSecurity:
    """Raises Unsupported when there is nothing by which nodes could know each other, OSError for unreadable files."""
    if not raft.tls_cert or not raft.tls_key or not raft.tls_ca:
        if not raft.secret:
            raise Unsupported(
                "nodes must know each other: give raft.secret (the same on all), or raft.tls_ca, tls_cert and tls_key"
            )
        return PeerSecurity(raft.secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(raft.tls_cert, raft.tls_key)
        context.load_verify_locations(raft.tls_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return PeerSecurity(raft.secret or "", server, client)


def _never_in_place(link: Link) -> None:
    raise AssertionError("a snapshot of the store is installed by starting again")
