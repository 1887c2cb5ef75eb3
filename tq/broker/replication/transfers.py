"""Snapshots on their way between nodes: one piece under way per peer, asked for again after a lost connection.

The sender asks with an empty piece how far the receiver is, and sends from there; so a transfer goes on where it was
cut off, after a restart of either side, too. The receiver verifies the whole before it touches anything, and while it
installs neither log nor state move. The library hears nothing of it before it is done (A6 to A9).
"""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.replication.messages import CHUNK_BYTES_MAX, Message, SnapshotAck, SnapshotChunk
from tq.broker.replication.outbox import Outbox
from tq.broker.replication.ports import RaftJournal, SnapshotInfo, Snapshots
from tq.broker.replication.records import Link

UNKNOWN = -1


class _Transfer:
    """offset: how much the receiver is known to hold, UNKNOWN until it has said so."""

    __slots__ = ("info", "offset")

    def __init__(self, info: SnapshotInfo) -> None:
        self.info = info
        self.offset = UNKNOWN


class SnapshotSender:
    def __init__(
        self, journal: RaftJournal, snapshots: Snapshots, send: Callable[[str, Message], None]
    ) -> None:
        self._journal = journal
        self._snapshots = snapshots
        self._send = send
        self._transfers: dict[str, _Transfer] = {}

    def forget(self, peer: str | None = None) -> None:
        """The connection is new, or (without a peer) this node no longer leads: ask again."""
        for each in [peer] if peer is not None else list(self._transfers):
            self._transfers.pop(each, None)

    def lowest_index(self) -> int | None:
        """Entries behind this one are needed after a transfer under way; None without one."""
        return min((transfer.info.link.index for transfer in self._transfers.values()), default=None)

    def send(self, peer: str, term: int, seq: int) -> bool:
        """The next piece, if there is one to send; False: the peer has it all, or there is no snapshot yet."""
        transfer = self._transfers.get(peer)
        if transfer is None or transfer.info.link.index < self._journal.base.index:
            info = self._snapshots.newest()
            if info is None or info.link.index < self._journal.base.index:
                self._snapshots.make()
                return False
            transfer = self._transfers[peer] = _Transfer(info)
        info = transfer.info
        data = b""
        if transfer.offset != UNKNOWN:
            if transfer.offset >= info.size:
                return False
            data = self._snapshots.read(info, transfer.offset, CHUNK_BYTES_MAX)
            if not data:
                # It was replaced by a newer one meanwhile; the next call begins with that.
                del self._transfers[peer]
                return False
        link = info.link
        self._send(
            peer,
            SnapshotChunk(
                term,
                seq,
                link.index,
                link.term,
                link.crc,
                info.size,
                info.digest,
                info.members,
                max(transfer.offset, 0),
                data,
            ),
        )
        return True

    def on_ack(self, peer: str, ack: SnapshotAck) -> None:
        transfer = self._transfers.get(peer)
        if transfer is None or transfer.info.link.index != ack.last_index:
            return
        if transfer.offset >= transfer.info.size and ack.offset == 0:
            # It was received whole and did not match its digest. Read again it would be as damaged: make another.
            del self._transfers[peer]
            self._snapshots.make()
            return
        transfer.offset = min(ack.offset, transfer.info.size)


class SnapshotReceiver:
    def __init__(
        self,
        snapshots: Snapshots,
        outbox: Outbox,
        *,
        term: Callable[[], int],
        on_whole: Callable[[str, SnapshotInfo, bool], None],
    ) -> None:
        """on_whole(peer, info, is_installed): a transfer that this peer sent has ended."""
        self._snapshots = snapshots
        self._outbox = outbox
        self._term = term
        self._on_whole = on_whole
        self._info: SnapshotInfo | None = None
        self._offset = 0
        self._seq = 0
        self.is_installing = False

    def on_chunk(self, peer: str, chunk: SnapshotChunk) -> None:
        """Keep a piece of a snapshot that is wanted: its last entry is above everything committed here."""
        info = SnapshotInfo(
            Link(chunk.last_index, chunk.last_term, chunk.crc), chunk.size, chunk.digest, chunk.members
        )
        self._seq = chunk.seq
        if not self.is_installing:
            if info != self._info:
                self._info = info
                self._offset = self._snapshots.begin(info)
            if chunk.data and chunk.offset == self._offset and len(chunk.data) <= info.size - self._offset:
                self._snapshots.write(info, self._offset, chunk.data)
                self._offset += len(chunk.data)
        is_same = info == self._info
        self._answer(peer, info, self._offset if is_same else 0)
        if is_same and self._offset == info.size and not self.is_installing:
            self.is_installing = True
            self._snapshots.install(info, lambda is_installed: self._on_whole(peer, info, is_installed))

    def ended(self, peer: str, info: SnapshotInfo, is_installed: bool) -> None:
        """The owner has taken the outcome in; go on."""
        self.is_installing = False
        self._info = None
        self._offset = 0
        if not is_installed:
            self._answer(peer, info, 0)

    def _answer(self, peer: str, info: SnapshotInfo, offset: int) -> None:
        self._outbox.hold(peer, SnapshotAck(self._term(), self._seq, info.link.index, offset))
