"""Real nodes in one process: RaftLog, journal, disk thread and TCP on loopback; only the state is a list."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from time import monotonic

from lab.ports import ReservedPort
from tq.broker.replication.journal import Journal
from tq.broker.replication.membership import Configuration
from tq.broker.replication.messages import Message
from tq.broker.replication.peer_book import PeerBook
from tq.broker.replication.ports import RaftTimes, SnapshotInfo
from tq.broker.replication.raft import Identity, RaftLog
from tq.broker.replication.records import Link
from tq.broker.replication.stream import PeerSecurity
from tq.broker.replication.transport import PeerTransport
from tq.broker.storage.disk import DiskThread
from tq.errors import BrokerUnavailable

SECRET = "not a secret but long enough to be one"
TIMES = RaftTimes(election_min=0.3, election_max=0.6, heartbeat=0.05, proposal=3.0)


STEP_SECONDS = 0.1
"""Longer than anything takes between two looks at the clock while nodes talk to each other."""


class RunningTime:
    """Seconds that this process ran. While it stands still all its nodes do, and none has missed another's heartbeat."""

    def __init__(self) -> None:
        self._seen = self._passed = monotonic()

    def __call__(self) -> float:
        now = monotonic()
        self._passed += min(now - self._seen, STEP_SECONDS)
        self._seen = now
        return self._passed


class NoSnapshots:
    """For clusters whose logs are never trimmed."""

    def newest(self) -> SnapshotInfo | None:
        return None

    def make(self) -> None:
        raise AssertionError("a snapshot was wanted")

    def read(self, info: SnapshotInfo, offset: int, bytes_max: int) -> bytes:
        raise AssertionError("a snapshot was read")

    def begin(self, info: SnapshotInfo) -> int:
        raise AssertionError("a snapshot came")

    def write(self, info: SnapshotInfo, offset: int, data: bytes) -> None:
        raise AssertionError("a snapshot came")

    def install(self, info: SnapshotInfo, done: Callable[[bool], None]) -> None:
        raise AssertionError("a snapshot came")


class Latecomer:
    """Ears and links that are made before what they belong to."""

    def __init__(self) -> None:
        self.log: RaftLog | None = None
        self.transport: PeerTransport | None = None

    def send(self, peer: str, message: Message) -> None:
        if self.transport is not None:
            self.transport.send(peer, message)

    def connected(self, peer: str, epoch: int, disk: str) -> None:
        if self.log is not None:
            self.log.connected(peer, epoch)

    def disconnected(self, peer: str, epoch: int) -> None:
        if self.log is not None:
            self.log.disconnected(peer, epoch)

    def receive(self, peer: str, epoch: int, message: Message) -> None:
        if self.log is not None:
            self.log.receive(peer, epoch, message)


class LiveNode:
    def __init__(
        self,
        name: str,
        directory: Path,
        configuration: Configuration,
        clock: RunningTime,
        secret: str = SECRET,
    ) -> None:
        """clock: the same for all nodes of a process."""
        self.name = name
        self._clock = clock
        self.directory = directory
        self.configuration = configuration
        self.secret = secret
        self.committed: list[tuple[int, bytes]] = []
        self.errors: list[BaseException] = []
        self.is_up = False
        self.address = ""

    async def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        path = self.directory / "journal"
        self.journal = Journal.open(str(path), create=not path.exists())
        self.disk = DiskThread(asyncio.get_running_loop(), self.errors.append)
        self.disk.start()
        middle = Latecomer()
        self.transport = middle.transport = PeerTransport(
            self.name,
            (f"uuid of {self.name} in {self.directory.name}", 1),
            middle,
            PeerSecurity(self.secret),
            check_disk=self._check_disk,
            client_address=lambda: f"{self.name}.example:6379",
        )
        self.committed = []
        self.log = middle.log = RaftLog(
            Identity(self.name, self.configuration),
            self.journal,
            self.disk,
            middle,
            NoSnapshots(),
            self.errors.append,
            clock=self._clock,
            chance=Random().random,
            times=TIMES,
            address_of=self.transport.client_address,
            on_role=lambda *_: None,
            on_lead=lambda _: None,
            on_installed=_unexpected,
        )
        await self.log.start(0, self._note)
        self.is_up = True

    def _check_disk(self, node: str, disk: str) -> bool:
        PeerBook(self.directory).check(node, disk)
        return True

    def _note(self, index: int, data: bytes) -> None:
        self.committed.append((index, data))

    async def listen(self, port: int = 0) -> str:
        host, port = await self.transport.open("127.0.0.1", port)
        self.address = f"{host}:{port}"
        return self.address

    async def kill(self) -> None:
        """Hang up at once and forget what was not synced; no goodbye, no last sync by the log."""
        self.is_up = False
        await self.transport.close()
        self.log._core = None  # a dead process steps no more
        await self.disk.stop()
        self.journal._changes.clear()  # what a dead process had not written, nobody has
        self.journal.close()

    async def stop(self) -> None:
        if self.is_up:
            self.is_up = False
            await self.log.close()
            await self.transport.close()
            await self.disk.stop()
            self.journal.close()
        assert not self.errors


def lonely_raft(journal: Journal, disk: DiskThread, on_fatal: Callable[[BaseException], None]) -> RaftLog:
    """A cluster of one: consensus with itself."""
    return RaftLog(
        Identity("alone", Configuration.of({"alone": ""}, {})),
        journal,
        disk,
        Latecomer(),
        NoSnapshots(),
        on_fatal,
        clock=monotonic,
        chance=Random().random,
        times=TIMES,
        address_of=lambda _: "",
        on_role=lambda *_: None,
        on_lead=lambda _: None,
        on_installed=_unexpected,
    )


class LiveCluster:
    def __init__(self, directory: Path, size: int) -> None:
        names = [f"node{number}" for number in range(1, size + 1)]
        configuration = Configuration.of(dict.fromkeys(names, ""), {})
        clock = RunningTime()
        self.nodes = {name: LiveNode(name, directory / name, configuration, clock) for name in names}

    @classmethod
    @asynccontextmanager
    async def running(cls, directory: Path, size: int = 3) -> AsyncIterator[LiveCluster]:
        cluster = cls(directory, size)
        with ExitStack() as ports:
            try:
                for node in cluster.nodes.values():
                    await node.start()
                    await node.listen(ports.enter_context(ReservedPort()).number)
                cluster.introduce()
                yield cluster
            finally:
                for node in cluster.nodes.values():
                    await node.stop()

    def introduce(self) -> None:
        addresses = [(node.name, node.address) for node in self.nodes.values()]
        for node in self.nodes.values():
            if node.is_up:
                node.transport.set_peers(each for each in addresses if each[0] != node.name)

    async def restart(self, node: LiveNode) -> None:
        await node.start()
        await node.listen(int(node.address.rpartition(":")[2]))
        self.introduce()

    async def leader(self, *, but: LiveNode | None = None) -> LiveNode:
        def leading() -> LiveNode | None:
            found = [
                node for node in self.nodes.values() if node.is_up and node is not but and node.log.is_leader
            ]
            return max(found, key=lambda node: node.log.status.term, default=None)

        await until(lambda: leading() is not None)
        found = leading()
        assert found is not None
        return found

    async def commit(self, data: bytes) -> None:
        """Propose until some leader has taken it: on a busy machine one may be deposed any time."""
        while True:
            leader = await self.leader()
            try:
                await leader.log.propose(data)
            except BrokerUnavailable:
                continue
            return

    async def agree(self) -> None:
        """Every running node has told the same."""
        live = [node for node in self.nodes.values() if node.is_up]
        await until(lambda: len({len(node.committed) for node in live}) == 1)
        assert all(node.committed == live[0].committed for node in live)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for a condition that some callback of this loop will make true."""
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "the condition was not met in time"
        tick: Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.002, tick.set_result, None)
        await tick


def _unexpected(link: Link) -> None:
    raise AssertionError("a snapshot was installed")
