"""A cluster of cores in memory: virtual time, links that can be cut, disks that can be slow, nodes that can crash."""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Callable
from random import Random

from tq.broker.replication.core import RaftCore
from tq.broker.replication.membership import Configuration
from tq.broker.replication.memory_journal import MemoryJournal
from tq.broker.replication.messages import Message, pack_message, unpack_message
from tq.broker.replication.ports import RaftTimes, SnapshotInfo
from tq.broker.replication.records import Link
from tq.errors import TqError

TIMES = RaftTimes()
DELAY = 0.001
SYNC = 0.0005


class Snapshots:
    """Snapshots of a node's list of commands, kept over crashes."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.contents: dict[SnapshotInfo, bytes] = {}
        self._newest: SnapshotInfo | None = None
        self._partial: tuple[SnapshotInfo, bytes] | None = None
        self.reads = 0
        self.delay = 0.0
        self.spoil = False

    def newest(self) -> SnapshotInfo | None:
        return self._newest

    def make(self) -> None:
        node = self._node
        index = node.applied
        data = b"".join(i.to_bytes(8, "big") + len(d).to_bytes(4, "big") + d for i, d in node.commands)
        link = node.journal.link(index)
        info = SnapshotInfo(link, len(data), hashlib.sha256(data).digest(), node.core.members_as_of(index))
        self.contents = {info: data}
        self._newest = info

    def read(self, info: SnapshotInfo, offset: int, bytes_max: int) -> bytes:
        self.reads += 1
        return self.contents.get(info, b"")[offset : offset + min(bytes_max, 100)]

    def begin(self, info: SnapshotInfo) -> int:
        if self._partial is None or self._partial[0] != info:
            self._partial = (info, b"")
        return len(self._partial[1])

    def write(self, info: SnapshotInfo, offset: int, data: bytes) -> None:
        assert self._partial is not None
        assert self._partial[0] == info
        assert len(self._partial[1]) == offset
        self._partial = (info, self._partial[1] + data)

    def install(self, info: SnapshotInfo, done: Callable[[bool], None]) -> None:
        assert self._partial is not None
        _, data = self._partial
        self._partial = None
        if self.spoil:
            self.spoil, data = False, b"x" + data[1:]
        node, incarnation = self._node, self._node.incarnation

        def finish() -> None:
            if node.incarnation != incarnation or node.is_down:
                return
            is_whole = hashlib.sha256(data).digest() == info.digest
            if is_whole:
                node.restore(info.link, data)
            done(is_whole)
            node.poke()

        node.rig.after(self.delay, finish)


class Node:
    def __init__(self, rig: Rig, name: str, configuration: Configuration, trailing_entries: int) -> None:
        self.rig = rig
        self.name = name
        self.configuration = configuration
        self.journal = MemoryJournal(trailing_entries=trailing_entries)
        self.snapshots = Snapshots(self)
        self.installed: Link | None = None
        self.stored: list[tuple[int, bytes]] = []
        self.commands: list[tuple[int, bytes]] = []
        self.roles: list[tuple[str, str, int]] = []
        self.incarnation = 0
        self.is_down = True
        self.is_paused = False
        self.sync_seconds = SYNC
        self._is_syncing = False
        self._alarm = 0.0

    @property
    def applied(self) -> int:
        return self.core.status.applied

    def start(self) -> None:
        self.incarnation += 1
        self.is_down = self._is_syncing = self.is_paused = False
        self.commands = list(self.stored)
        self.core = RaftCore(
            self.name,
            self.configuration,
            self.journal,
            self,
            self.snapshots,
            self,
            clock=lambda: self.rig.now,
            chance=Random(f"{self.rig.seed}/{self.name}/{self.incarnation}").random,
            times=TIMES,
            applied=self.stored[-1][0] if self.stored else self.installed.index if self.installed else 0,
            installed=self.installed,
        )
        for peer in self.rig.nodes.values():
            self.rig.connect(self, peer)
        self.poke()

    def crash(self) -> None:
        self.is_down = True
        self.incarnation += 1
        self.journal.crash()
        for peer in self.rig.nodes.values():
            self.rig.disconnect(self, peer)

    def send(self, peer: str, message: Message) -> None:
        self.rig.send(self.name, peer, message)

    def on_commit(self, index: int, data: bytes) -> None:
        self.rig.check(self, index, data)
        self.commands.append((index, data))

    def on_installed(self, link: Link) -> None:
        self.installed = link

    def on_role(self, role: str, leader: str, term: int) -> None:
        self.roles.append((role, leader, term))
        if role == "leader":
            assert self.rig.leaders.setdefault(term, self.name) == self.name, f"two leaders in term {term}"

    def restore(self, link: Link, data: bytes) -> None:
        found, at = [], 0
        while at < len(data):
            size = int.from_bytes(data[at + 8 : at + 12], "big")
            found.append((int.from_bytes(data[at : at + 8], "big"), data[at + 12 : at + 12 + size]))
            at += 12 + size
        self.commands = found
        self.stored = list(found)
        self.installed = link

    def save(self) -> None:
        """Make the state durable and let the log forget what it can."""
        self.stored = list(self.commands)
        if self.stored:
            self.core.release(self.stored[-1][0])
        self.poke()

    def poke(self) -> None:
        """Something arrived, or time is due."""
        if self.is_down or self._is_syncing or self.is_paused:
            return
        if self.core.step():
            self._is_syncing = True
            incarnation = self.incarnation
            self.rig.after(self.sync_seconds, lambda: self._synced(incarnation))
        else:
            self._sleep()

    def _synced(self, incarnation: int) -> None:
        if incarnation != self.incarnation:
            return
        self.journal.sync()
        self._is_syncing = False
        self.core.synced()
        self.poke()

    def _sleep(self) -> None:
        due = max(self.core.next_due, self.rig.now)
        incarnation = self.incarnation
        self._alarm = due

        def ring() -> None:
            if incarnation == self.incarnation and self._alarm == due:
                self.poke()

        self.rig.at(due, ring)


class Rig:
    def __init__(
        self, size: int = 3, *, seed: int = 1, trailing_entries: int = 20_000, spares: int = 0
    ) -> None:
        self.seed = seed
        self.now = 1_000.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._epoch = 0
        self.cut: set[tuple[str, str]] = set()
        self._streams: dict[tuple[str, str], tuple[int, int]] = {}
        self.sent: deque[tuple[str, str, Message]] = deque(maxlen=100_000)
        self.committed: dict[int, bytes] = {}
        self.leaders: dict[int, str] = {}
        names = [f"n{number}" for number in range(1, size + 1)]
        configuration = Configuration.of({name: f"{name}:1" for name in names}, {})
        every = names + [f"n{number}" for number in range(size + 1, size + spares + 1)]
        self.nodes = {name: Node(self, name, configuration, trailing_entries) for name in every}
        for node in self.nodes.values():
            node.start()

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.now + seconds, action)

    def run(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds, must=False)

    def run_until(self, condition: Callable[[], bool], seconds: float = 20.0, *, must: bool = True) -> None:
        end, count = self.now + seconds, 0
        while not condition():
            if not self._events or self._events[0][0] > end:
                self.now = end
                assert not must, f"not reached within {seconds} s of virtual time"
                return
            when, _, action = heapq.heappop(self._events)
            self.now = max(self.now, when)
            action()
            count += 1
            assert count < 2_000_000, "a storm of events"

    # links

    def connect(self, a: Node, b: Node) -> None:
        if a is b or a.is_down or b.is_down or not hasattr(b, "core"):
            return
        if (a.name, b.name) in self.cut or (b.name, a.name) in self.cut:
            return
        self._epoch += 1
        for one, other in ((a, b), (b, a)):
            self._streams[(one.name, other.name)] = (self._epoch, one.incarnation)
            one.core.connected(other.name, self._epoch)
            one.poke()

    def disconnect(self, a: Node, b: Node) -> None:
        for one, other in ((a, b), (b, a)):
            stream = self._streams.pop((one.name, other.name), None)
            if stream is not None and not one.is_down:
                one.core.disconnected(other.name, stream[0])
                one.poke()

    def isolate(self, name: str) -> None:
        for other in self.nodes:
            if other != name:
                self.cut |= {(name, other), (other, name)}
                self.disconnect(self.nodes[name], self.nodes[other])

    def heal(self) -> None:
        self.cut.clear()
        nodes = list(self.nodes.values())
        for place, a in enumerate(nodes):
            for b in nodes[place + 1 :]:
                if (a.name, b.name) not in self._streams:
                    self.connect(a, b)

    def send(self, source: str, target: str, message: Message) -> None:
        stream = self._streams.get((source, target))
        if stream is None:
            return
        self.sent.append((source, target, message))
        frame = pack_message(message)

        def deliver() -> None:
            node = self.nodes[target]
            if node.is_down or self._streams.get((target, source), (0, 0))[0] != stream[0]:
                return
            if (source, target) in self.cut:
                return
            if node.is_paused:
                self.after(0.05, deliver)
                return
            node.core.receive(source, stream[0], unpack_message(frame))
            node.poke()

        self.after(DELAY, deliver)

    # checks

    def check(self, node: Node, index: int, data: bytes) -> None:
        assert self.committed.setdefault(index, data) == data, f"{node.name} applied another entry {index}"
        holders = sum(each.journal.durable.index >= index for each in self.nodes.values())
        assert 2 * holders > len(node.core.configuration.voters), (
            f"entry {index} is durable on {holders} nodes"
        )

    @property
    def leader(self) -> Node | None:
        leading = [node for node in self.nodes.values() if not node.is_down and node.core.is_leader]
        return max(leading, key=lambda node: node.core.status.term, default=None)

    def elect(self) -> Node:
        self.run_until(lambda: self.leader is not None)
        leader = self.leader
        assert leader is not None
        return leader

    def propose(self, data: bytes, node: Node | None = None) -> list[int | TqError]:
        """The list gets the outcome when there is one."""
        outcome: list[int | TqError] = []
        node = node or self.elect()
        node.core.propose(data, outcome.append)
        node.poke()
        return outcome

    def commit(self, data: bytes) -> int:
        outcome = self.propose(data)
        self.run_until(lambda: bool(outcome))
        index = outcome[0]
        assert isinstance(index, int), index
        return index

    def commit_on(self, node: Node, data: bytes) -> None:
        outcome = self.propose(data, node)
        self.run_until(lambda: bool(outcome))
        assert isinstance(outcome[0], int), outcome

    def settle(self) -> None:
        """Every running node has applied the same."""
        live = [node for node in self.nodes.values() if not node.is_down]
        self.run_until(lambda: len({node.applied for node in live}) == 1 and self.leader is not None)
        assert all(node.commands == live[0].commands for node in live)
