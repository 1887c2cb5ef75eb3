"""One production core, with its messages given and taken by hand, for the scenes that break the bare library."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import TypeVar

from tq.broker.replication.core import RaftCore
from tq.broker.replication.membership import Configuration
from tq.broker.replication.memory_journal import MemoryJournal
from tq.broker.replication.messages import Ack, Append, Message, PreVote, PreVoteRequest, SnapshotChunk, Vote
from tq.broker.replication.ports import RaftTimes, SnapshotInfo
from tq.broker.replication.records import BEGINNING, Link, pack_entry
from tq.errors import TqError

TIMES = RaftTimes()
STEP_SECONDS = 0.05
STEPS_MAX = 200
Kind = TypeVar("Kind")
Ended = int | TqError


def chain(*entries: tuple[int, bytes], base: Link = BEGINNING) -> list[Link]:
    """The links of entries (term, data) behind base, base first."""
    links = [base]
    for term, data in entries:
        links.append(pack_entry(links[-1], term, data)[0])
    return links


def append(
    term: int, seq: int, previous: Link, entries: list[tuple[int, bytes]], *, commit: int = 0
) -> Append:
    return Append(term, seq, previous.index, previous.term, previous.crc, commit, tuple(entries))


def chunk(term: int, seq: int, link: Link, whole: bytes, data: bytes, *, offset: int = 0) -> SnapshotChunk:
    """A piece of a snapshot that ends with `link` and consists of `whole`."""
    digest = sha256(whole).digest()
    return SnapshotChunk(term, seq, link.index, link.term, link.crc, len(whole), digest, b"", offset, data)


class Copies:
    """Snapshots in memory: none of its own ever gets done."""

    def __init__(self) -> None:
        self.received = b""
        self.asked = 0
        self.installed: SnapshotInfo | None = None

    def newest(self) -> SnapshotInfo | None:
        return None

    def make(self) -> None:
        self.asked += 1

    def read(self, info: SnapshotInfo, offset: int, bytes_max: int) -> bytes:
        return b""

    def begin(self, info: SnapshotInfo) -> int:
        self.received = b""
        return 0

    def write(self, info: SnapshotInfo, offset: int, data: bytes) -> None:
        self.received += data

    def install(self, info: SnapshotInfo, done: Callable[[bool], None]) -> None:
        is_whole = sha256(self.received).digest() == info.digest
        if is_whole:
            self.installed = info
        done(is_whole)


class Lone:
    """out: what it sent, as (peer, message). told: what it said to be committed, as (index, data)."""

    def __init__(
        self,
        me: str,
        others: str,
        *,
        journal: MemoryJournal | None = None,
        observers: str = "",
        applied: int = 0,
    ) -> None:
        self.me = me
        self.now = 1_000.0
        self.journal = journal or MemoryJournal()
        self.copies = Copies()
        self.out: list[tuple[str, Message]] = []
        self.told: list[tuple[int, bytes]] = []
        self.core = RaftCore(
            me,
            Configuration.of({name: name for name in me + others}, {name: name for name in observers}),
            self.journal,
            self,
            self.copies,
            self,
            clock=lambda: self.now,
            chance=Random(1).random,
            times=TIMES,
            applied=applied,
        )
        for peer in others + observers:
            self.core.connected(peer, 1)
        self.go()

    # ------------------------------------------------------------ what the core tells

    def send(self, peer: str, message: Message) -> None:
        self.out.append((peer, message))

    def on_commit(self, index: int, data: bytes) -> None:
        self.told.append((index, data))

    def on_installed(self, link: Link) -> None:
        """The copies know."""

    def on_role(self, role: str, leader: str, term: int) -> None:
        """Asked for where it matters."""

    # ------------------------------------------------------------ what the hand does

    def go(self) -> None:
        """Step and sync until there is nothing to be done at this moment."""
        for _ in range(STEPS_MAX):
            if self.core.step():
                self.journal.sync()
                self.core.synced()
            elif self.core.next_due != float("-inf"):
                return
        raise AssertionError("the core does not come to rest")

    def hear(self, peer: str, message: Message, *, epoch: int = 1) -> None:
        self.core.receive(peer, epoch, message)
        self.go()

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_SECONDS
            self.go()

    def propose(self, data: bytes) -> list[Ended]:
        """What becomes of it is added to the list."""
        ended: list[Ended] = []
        self.core.propose(data, ended.append)
        self.go()
        return ended

    def campaign(self, voters: str) -> None:
        """Silence until it asks, and the answers of these, once each, to what it asks."""
        self.out.clear()
        for _ in range(STEPS_MAX):
            self.wait(STEP_SECONDS)
            asked = self.sent(PreVoteRequest)
            if asked:
                break
        else:
            raise AssertionError("it never stands")
        for voter in voters:
            self.hear(voter, PreVote(self.core.status.term, asked[-1].round, True))
        for voter in voters:
            self.hear(voter, Vote(self.core.status.term))

    def lead(self, voters: str) -> None:
        """Win an election, and commit the entry every term begins with."""
        self.campaign(voters)
        self.acknowledge(voters)
        assert self.core.is_leader

    def acknowledge(self, peers: str) -> None:
        """These peers answer that they have everything."""
        for peer in peers:
            for _ in range(3):
                appends = [message for to, message in self.out if to == peer and isinstance(message, Append)]
                if appends:
                    last = appends[-1]
                    self.hear(
                        peer, ack(self.core.status.term, last.seq, last.prev_index + len(last.entries) + 1)
                    )

    def sent(self, kind: type[Kind]) -> list[Kind]:
        return [message for _, message in self.out if isinstance(message, kind)]

    @property
    def commit(self) -> int:
        return self.core.status.commit_index


def ack(term: int, seq: int, next_index: int) -> Ack:
    return Ack(term, seq, next_index, is_match=True, is_reject=False)
