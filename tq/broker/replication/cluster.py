"""This node's part in its cluster, put together: log, links, snapshots, and who may be believed."""

from __future__ import annotations

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
from tq.broker.replication.peer_book import PeerBook
from tq.broker.replication.ports import RaftTimes
from tq.broker.replication.raft import Identity, RaftLog
from tq.broker.replication.records import Link
from tq.broker.replication.snapshot import Checkpointed, StoreSnapshots
from tq.broker.replication.transport import PeerSecurity, PeerTransport
from tq.clock import Clock
from tq.config.models import RaftSection
from tq.errors import TqError, Unsupported
from tq.logs import get_logger
from tq.verbs import Cluster, Member

_log = get_logger("raft")

ELECTION_SPREAD = (0.6, 1.2)
"""A node stands after this part of `raft.election_timeout_ms`, drawn anew each time."""
PROPOSAL_ELECTIONS = 5
"""A proposal may wait for so many election time-outs before its outcome is called unknown."""


class Place(NamedTuple):
    """Where this node keeps what is its own. disk: the data directory's uuid and generation."""

    directory: Path
    disk: tuple[str, int]
    installed: tuple[Link, bytes] | None


class Hooks(NamedTuple):
    """What the cluster asks of the broker around it.

    checkpoint(directory, done): copy the store; done gets the entry the copy ends with. on_lead: this node leads, or
    leads no more. client_address: where this node's own clients go. restart: end the process and start it again.
    """

    checkpoint: Callable[[str, Checkpointed], None]
    on_lead: Callable[[bool], None]
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
        self._transport = PeerTransport(
            raft.node_id,
            place.disk,
            self,
            security_of(raft),
            check_disk=PeerBook(place.directory).check,
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
        )
        self.log = RaftLog(
            Identity(raft.node_id, configuration_of(raft)),
            journal,
            disk,
            self,
            self.snapshots,
            hooks.on_fatal,
            clock=lambda: clock.monotonic_ns() / 1e9,
            chance=SystemRandom().random,
            times=times_of(raft),
            address_of=self._transport.client_address,
            on_role=self._role_changed,
            on_lead=hooks.on_lead,
            on_installed=_never_in_place,
            installed=place.installed,
        )

    async def open(self) -> tuple[str, int]:
        """Listen for peers and dial them; the bound address. Raises OSError."""
        host, _, port = self._raft.bind.rpartition(":")
        address = await self._transport.open(host.strip("[]"), int(port))
        self._meet(self.log.configuration)
        return address

    async def close(self) -> None:
        await self._transport.close()
        self.snapshots.close()

    async def hand_over(self) -> None:
        """Before a planned stop: let the node that is nearest to this one lead, if this one does. Never raises; it
        takes one longest election time-out at most."""
        status = self.log.status
        voters = [node for node in self.log.configuration.voters if node in status.match]
        if not self.log.is_leader or not voters:
            return
        target = max(voters, key=lambda node: status.match[node])
        try:
            await self.log.transfer(target)
        except TqError as error:
            _log.warning("transfer_failed", f"{target} did not take over: {error.text}", peer=target)

    def view(self) -> Cluster:
        """The nodes, as this one sees them: roles and lags of others only while it leads."""
        status, configuration = self.log.status, self.log.configuration
        members = []
        for node in configuration.nodes:
            if node == self._raft.node_id:
                role, held, applied = status.role, status.last_index, status.applied
            else:
                is_observer = node in configuration.observers
                role = "leader" if node == status.leader else "observer" if is_observer else "follower"
                held = applied = status.match.get(node, 0)
            lag = status.last_index - held if status.match else 0
            commit = min(held, status.commit_index)
            address, is_self = configuration.address(node), node == self._raft.node_id
            members.append(Member(node, address, role, status.term, commit, applied, lag, is_self))
        return Cluster(tuple(members), status.leader)

    def send(self, peer: str, message: Message) -> None:
        self._transport.send(peer, message)

    def connected(self, peer: str, epoch: int) -> None:
        self.log.connected(peer, epoch)

    def disconnected(self, peer: str, epoch: int) -> None:
        self.log.disconnected(peer, epoch)

    def receive(self, peer: str, epoch: int, message: Message) -> None:
        self.log.receive(peer, epoch, message)

    def _meet(self, configuration: Configuration) -> None:
        nodes = [node for node in configuration.nodes if node != self._raft.node_id]
        self._transport.set_peers((node, configuration.address(node)) for node in nodes)

    def _role_changed(self, role: str, leader: str, term: int) -> None:
        _log.info("raft_role", f"{role} in term {term}", role=role, leader=leader, term=term)


def configuration_of(raft: RaftSection) -> Configuration:
    """What the configuration file says: this node and its peers, all of them voting."""
    own_id, own_address = raft.node_id, raft.advertise or raft.bind
    voters = {peer.node_id: peer.address for peer in raft.peers} | {own_id: own_address}
    return Configuration.of(voters, {})


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
    if any(peer.node_id == peer.address for peer in raft.peers):
        raise Unsupported("raft.peers must say which node is where: {node2: host2:7379, ...}")
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
