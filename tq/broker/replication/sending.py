"""What a leader sends: at most one message with entries under way to each peer, and a heartbeat beside it.

Where a peer stands is known from its answers alone. So nothing is sent twice but after a lost connection or a wrong
first guess, and a peer that is far behind costs no more memory than one message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tq.broker.replication.messages import (
    APPEND_BYTES_MAX,
    APPEND_ENTRIES_MAX,
    INDEX_MAX,
    Ack,
    Append,
    Beat,
    Message,
)
from tq.broker.replication.pace import NEVER, Pace
from tq.broker.replication.ports import Behind, Fetch, Monotonic, RaftJournal, RaftTimes


class Progress:
    """One peer, as its leader knows it."""

    __slots__ = (
        "acked_seq",
        "disk",
        "fence",
        "fetched",
        "heard_at",
        "is_connected",
        "is_fetching",
        "is_short",
        "match",
        "next_index",
        "pace",
        "pending",
        "sent_at",
    )

    def __init__(self, next_index: int, disk: str, *, is_connected: bool) -> None:
        self.next_index = next_index
        self.disk = disk
        self.match = 0
        """Everything up to it is durable there and as here."""
        self.pending = 0
        """Number of the message whose answer is waited for, 0 = none."""
        self.fence = 0
        """Rejections of messages numbered lower are history (A4)."""
        self.acked_seq = 0
        self.sent_at = NEVER
        self.heard_at = NEVER
        """When it last answered in this term."""
        self.is_connected = is_connected
        self.pace = Pace()
        self.fetched: Behind | None = None
        """What comes next for it, read from the disk."""
        self.is_fetching = False
        self.is_short = False
        """It lost entries it had acknowledged in this term (ID3): its disk is not to be trusted, and gets no more."""


class Sender:
    def __init__(
        self,
        journal: RaftJournal,
        send: Callable[[str, Message], None],
        *,
        clock: Monotonic,
        times: RaftTimes,
        send_snapshot: Callable[[str, Progress, int], bool],
        fetch: Fetch,
    ) -> None:
        """fetch: see `ports.Fetch`; done is called within a step. send_snapshot: sends the next piece to a peer whose next entry is no longer held; False = nothing sent."""
        self._journal = journal
        self._send = send
        self._clock = clock
        self._times = times
        self._send_snapshot = send_snapshot
        self._fetch = fetch
        self._connected: set[str] = set()
        self.peers: dict[str, Progress] = {}
        self.seq = 0
        self._commit = 0
        self._committed_at = NEVER
        """When more was last found to be committed."""

    def begin_term(self, peers: Mapping[str, str]) -> None:
        """This node became leader. peers: node id -> the disk that counts as its own."""
        self.peers = {peer: self._fresh(peer, peers[peer]) for peer in sorted(peers)}

    def end_term(self) -> None:
        self.peers = {}

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """The configuration changed while leading. What a peer acknowledged counts for the disk it was on."""
        known = self.peers
        self.peers = {
            peer: known[peer] if peer in known and known[peer].disk == disk else self._fresh(peer, disk)
            for peer, disk in sorted(peers.items())
        }

    def _fresh(self, peer: str, disk: str) -> Progress:
        return Progress(self._journal.last.index + 1, disk, is_connected=peer in self._connected)

    def connected(self, peer: str) -> None:
        self._connected.add(peer)
        progress = self.peers.get(peer)
        if progress is not None:
            # What was under way may be lost; what is matched is not.
            progress.is_connected = True
            progress.pending = 0
            progress.pace.end()
            progress.fence = self.seq + 1
            progress.next_index = progress.match + 1 if progress.match else progress.next_index
            progress.sent_at = NEVER

    def disconnected(self, peer: str) -> None:
        self._connected.discard(peer)
        # Until the others are seen to commit without it the rest may be needed, and at once.
        self._committed_at = NEVER
        progress = self.peers.get(peer)
        if progress is not None:
            progress.is_connected = False
            progress.pending = 0
            progress.pace.end()

    def next_due(self) -> float:
        dues = [float("inf")]
        for progress in self.peers.values():
            if progress.is_connected:
                dues.append(progress.sent_at + self._times.heartbeat)
                if progress.pace.rests_until != NEVER:
                    dues.append(progress.pace.rests_until)
        return min(dues)

    def send_all(self, term: int, commit: int, *, at_once: bool = False) -> None:
        """Entries to whom they are due, a heartbeat to whom it is, or to all `at_once`."""
        now = self._clock()
        if commit != self._commit:
            self._commit, self._committed_at = commit, now
        for peer, progress in self.peers.items():
            if not progress.is_connected:
                continue
            is_due = at_once or now >= progress.sent_at + self._times.heartbeat
            if (
                not progress.pending
                and not progress.is_short
                and not progress.pace.is_resting(now)
                and (is_due or progress.next_index <= self._journal.last.index)
            ):
                is_sent = self._send_next(peer, progress, term, commit)
            else:
                is_sent = False
            if not is_sent and is_due:
                self.seq += 1
                self._send(peer, Beat(term, self.seq, min(commit, progress.match)))
                is_sent = True
            if is_sent:
                progress.sent_at = now

    def _send_next(self, peer: str, progress: Progress, term: int, commit: int) -> bool:
        journal = self._journal
        previous_index = progress.next_index - 1
        if previous_index < journal.base.index:
            self.seq += 1
            progress.pace.end()
            is_sent = self._send_snapshot(peer, progress, self.seq)
            progress.pending = self.seq if is_sent else 0
            return is_sent
        if progress.match == previous_index == journal.last.index:
            return False
        behind = self._behind(progress, previous_index)
        if behind is None:
            return False
        previous, entries = behind
        self.seq += 1
        progress.pending = self.seq
        progress.next_index += len(entries)
        progress.pace.sent(len(entries))
        self._send(peer, Append(term, self.seq, previous.index, previous.term, previous.crc, commit, entries))
        return True

    def _behind(self, progress: Progress, previous: int) -> Behind | None:
        """What to send next, from memory or as it was fetched; None while it is being fetched."""
        journal = self._journal
        is_at_end = previous == journal.last.index
        knows_previous = is_at_end or previous == journal.base.index or journal.is_near(previous)
        if knows_previous and (is_at_end or journal.is_near(previous + 1)):
            return Behind(
                journal.link(previous), self._entries(previous + 1, self._entries_max(progress, previous))
            )
        behind, progress.fetched = progress.fetched, None
        if behind is not None and behind.previous.index == previous:
            return behind
        if not progress.is_fetching:
            progress.is_fetching = True
            entries_max = self._entries_max(progress, previous)
            self._fetch(previous, entries_max, lambda found: self._fetched(progress, found))
        return None

    def _fetched(self, progress: Progress, found: Behind | None) -> None:
        progress.is_fetching = False
        progress.fetched = found

    def _entries_max(self, progress: Progress, previous: int) -> int:
        now = self._clock()
        is_paced = (
            self._commit - previous > APPEND_ENTRIES_MAX and now - self._committed_at <= self._times.heartbeat
        )
        if is_paced:
            return progress.pace.entries_max(self._journal.last.index, now)
        progress.pace.end()
        return APPEND_ENTRIES_MAX

    def _entries(self, start: int, entries_max: int) -> tuple[tuple[int, bytes], ...]:
        found: list[tuple[int, bytes]] = []
        room = APPEND_BYTES_MAX
        for index in range(start, min(start + entries_max, self._journal.last.index + 1)):
            entry = self._journal.entry(index)
            room -= len(entry.data)
            if found and room < 0:
                break
            found.append((entry.term, entry.data))
        return tuple(found)

    def on_ack(self, peer: str, ack: Ack) -> bool:
        """Take in an answer of this term (M5). Whether the peer now holds more than was known."""
        progress = self.peers[peer]
        progress.heard_at = self._clock()
        progress.acked_seq = max(progress.acked_seq, min(ack.seq, self.seq))
        if progress.pending and ack.seq >= progress.pending:
            if not ack.is_match and not ack.is_reject and progress.match:
                # A later message was answered first: on a stream that means this one was dropped on its way.
                progress.next_index = progress.match + 1
            progress.pending = 0
            progress.pace.answered(progress.heard_at)
        if ack.is_match:
            match = ack.next_index - 1
            if match > self._journal.last.index:
                raise AssertionError(
                    f"{peer} claims entry {match}; the log ends at {self._journal.last.index}"
                )
            progress.next_index = max(progress.next_index, match + 1)
            grew = match > progress.match
            progress.match = max(progress.match, match)
            return grew
        if ack.is_reject and ack.seq >= progress.fence:
            progress.is_short = ack.next_index <= progress.match
            if progress.is_short:
                progress.pace.end()
            else:
                progress.next_index = max(1, min(ack.next_index, self._journal.last.index + 1))
            progress.fence = self.seq + 1
        return False

    def majority_seq(self, voters: Iterable[str], node_id: str) -> int:
        """The highest number that a majority of voters has answered, this node counting as one of them."""
        seqs = sorted(
            INDEX_MAX if voter == node_id else self.peers[voter].acked_seq if voter in self.peers else 0
            for voter in voters
        )
        return seqs[(len(seqs) - 1) // 2]


def fetch_now(journal: RaftJournal) -> Fetch:
    """Reads where it is asked: for journals without a disk."""

    def fetch(previous: int, entries_max: int, done: Callable[[Behind | None], None]) -> None:
        done(journal.read_behind(previous, entries_max=entries_max, bytes_max=APPEND_BYTES_MAX))

    return fetch


def fetched_in_steps(fetch: Fetch, put: Callable[[Callable[[], None]], None]) -> Fetch:
    """What was read is taken in by the next step, like everything else that arrives."""
    return lambda previous, entries_max, done: fetch(
        previous, entries_max, lambda found: put(lambda: done(found))
    )
