"""The journal: numbered entries, and the term, vote and commit index beside them, on a RocksDB of its own.

Changes are made in memory and gathered; `sync` writes all of them as one batch and returns when the disk has them.
So an entry, the truncation before it and the term it belongs to are durable together or not at all.

Rules of the file:
- Changing and asking belong to the event loop; `write`, `sync`, `sync_witness` and `close` to the disk thread. They
  meet in `_changes`, a deque: one side appends, the other pops.
- What is on the disk is either all that was synced or an error. Every entry is verified at start, and the witness
  says how many there were (see `broker/rocksdb`).
- After a failed write nothing works any more, and nothing is tried again: the pages that failed are gone from the
  kernel's memory, and a second fsync would report success.
- The log is never held in memory: a tail of bounded size is, the rest is looked up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from rocksdict import WriteBatch

from tq.broker.measures import DISK_BOUNDS_NS, Histogram, no_time
from tq.broker.replication.ports import Behind
from tq.broker.replication.records import (
    BEGINNING,
    CONTROL,
    Entry,
    Link,
    Note,
    State,
    compare,
    entry_key,
    pack_entry,
    pack_members,
    pack_note,
    pack_state,
    unpack_entry,
    unpack_members,
    unpack_note,
    unpack_state,
    walk,
)
from tq.broker.replication.tail import Tail, TrimMarks
from tq.broker.rocksdb.database import Database
from tq.broker.rocksdb.inspection import OnVerified, unheard
from tq.broker.rocksdb.opening import damaged
from tq.broker.rocksdb.options import Family
from tq.errors import StoreDamaged

CACHE_BYTES = 8 * 1024**2
"""Block cache; the journal is read at start and by followers that lag."""

ENTRIES = "entries"
STATE = "state"
FAMILIES = (Family(ENTRIES, buffer_bytes=16 * 1024**2), Family(STATE, buffer_bytes=1024**2))
STATE_KEY = b"state"
MEMBERS_KEY = b"members"


class _Put(NamedTuple):
    """A new entry."""

    link: Link
    record: bytes


class _Delete(NamedTuple):
    """Entries start <= index < stop are gone. last: the log's last entry after that. cuts: how often it was cut."""

    start: int
    stop: int
    last: Link
    cuts: int


class _Members(NamedTuple):
    """The configuration as of the log's base."""

    record: bytes


_Change: TypeAlias = _Put | _Delete | _Members | State


class Journal:
    """Use `open`."""

    def __init__(self, database: Database, elapsed_ns: Callable[[], int] = no_time) -> None:
        self._database = database
        self._elapsed_ns = elapsed_ns
        self.syncs = Histogram(DISK_BOUNDS_NS)
        """How long each `sync` took; written by the disk thread."""
        self._changes: deque[_Change] = deque()
        self._state = State()
        self._last = BEGINNING
        self._tail = Tail()
        self._marks = TrimMarks()
        self._cuts = 0
        self._members = b""
        self._controls: list[tuple[int, bytes]] = []
        # Owned by the disk thread: what the changes popped so far come to, and what of it is durable (cuts, index).
        self._written = Note(BEGINNING, 0)
        self._written_cuts = 0
        self._durable = (0, 0)

    @classmethod
    def open(
        cls,
        path: str,
        *,
        create: bool,
        on_verified: OnVerified = unheard,
        elapsed_ns: Callable[[], int] = no_time,
    ) -> Journal:
        """Open the journal and verify every entry.

        create: nothing was ever acknowledged from here, so a missing or half-made journal is made.
        on_verified: told how far verifying got. elapsed_ns: a monotonic clock for `syncs`.
        Raises StoreDamaged naming what is damaged and what to do: a log that is shorter than it was, has a hole or
        a changed byte is never opened.
        """
        database = Database.open(
            path, FAMILIES, create=create, cache_bytes=CACHE_BYTES, on_verified=on_verified
        )
        journal = cls(database, elapsed_ns)
        try:
            journal._load(may_be_new=create)
        except StoreDamaged as error:
            database.abandon()
            raise damaged(f"{path} is damaged: {error.text}") from error
        return journal

    @property
    def first_index(self) -> int:
        """Lowest index held; last_index + 1 when none is."""
        return self._state.base.index + 1

    @property
    def last_index(self) -> int:
        return self._last.index

    @property
    def last_term(self) -> int:
        return self._last.term

    @property
    def base(self) -> Link:
        """The last entry that is no longer held."""
        return self._state.base

    @property
    def last(self) -> Link:
        return self._last

    @property
    def term(self) -> int:
        return self._state.term

    @property
    def voted_for(self) -> str:
        """The node voted for in this term, empty = none."""
        return self._state.voted_for

    @property
    def commit_index(self) -> int:
        """At most last_index: what is stored may be ahead of a log that was cut after it."""
        return min(self._state.commit_index, self._last.index)

    @property
    def members(self) -> bytes:
        """The cluster's configuration as of base; empty until `set_members`."""
        return self._members

    @property
    def is_relaxed(self) -> bool:
        """Whether entries may have been acknowledged without a sync since this was last set to False."""
        return self._state.is_relaxed

    def append(self, term: int, data: bytes) -> int:
        """Add one entry and return its index. Durable after the next sync."""
        link, record = pack_entry(self._last, term, data)
        self._last = link
        self._changes.append(_Put(link, record))
        self._marks.note(link, len(data))
        cuts, durable_index = self._durable
        self._tail.add(link, data, durable_index=durable_index if cuts == self._cuts else 0)
        return link.index

    def truncate_from(self, index: int) -> None:
        """Forget entry `index` and all after it. Raises ValueError below first_index."""
        stop = self._last.index + 1
        if index >= stop:
            return
        if index < self.first_index:
            raise ValueError(f"entry {index} was trimmed away: the journal begins at {self.first_index}")
        self._last = self._link(index - 1)
        self._cuts += 1
        self._changes.append(_Delete(index, stop, self._last, self._cuts))
        self._tail.cut_from(index, stop)
        self._marks.cut_from(self._last)
        self._change(self._state)

    def trim(self, upto: int) -> None:
        """Forget entries up to and with `upto`, but for a trailing window, when that is worth it."""
        chosen = self._marks.take(min(upto, self._last.index))
        if chosen is not None:
            self._changes.append(_Delete(self.first_index, chosen.index + 1, self._last, self._cuts))
            self._change(self._state._replace(base=chosen))

    def reset(self, base: Link) -> None:
        """Forget every entry and go on behind base, which the store holds (a snapshot, or a store that is ahead)."""
        stop = max(self._last.index, base.index) + 1
        self._tail.cut_from(0, stop)
        self._last = base
        self._cuts += 1
        self._changes.append(_Delete(0, stop, base, self._cuts))
        self._marks.reset(base)
        self._change(self._state._replace(base=base))

    def set_term(self, term: int, voted_for: str) -> None:
        """Term and vote change together. No vote may leave this node before the next sync has returned."""
        self._change(self._state._replace(term=term, voted_for=voted_for))

    def set_commit_index(self, index: int) -> None:
        self._change(self._state._replace(commit_index=index))

    def set_members(self, members: bytes) -> None:
        """Keep the configuration as of base. Durable with the trim or reset it goes with."""
        self._members = members
        self._changes.append(_Members(pack_members(members)))

    def controls(self) -> list[tuple[int, bytes]]:
        """(index, data) of the cluster's own entries that were held when this was opened."""
        return self._controls

    def set_relaxed(self, is_relaxed: bool) -> None:
        """Remember that entries will be acknowledged without a sync, or that they no longer are."""
        if self._state.is_relaxed != is_relaxed:
            self._change(self._state._replace(is_relaxed=is_relaxed))

    def entry(self, index: int) -> Entry:
        """One entry that is held (first_index to last_index), from memory or by a look-up. Raises StoreDamaged."""
        held = self._tail.get(index)
        if held is not None:
            link, data = held
            return Entry(index, link.term, data)
        return self._look_up(index)[1]

    def link(self, index: int) -> Link:
        """Of an entry that is held, or of base; the younger ones from memory. Raises StoreDamaged."""
        return self._last if index == self._last.index else self._link(index)

    def is_near(self, index: int) -> bool:
        """Whether `entry` gives this one from memory."""
        return self._tail.get(index) is not None

    def read_behind(self, previous: int, *, entries_max: int, bytes_max: int) -> Behind | None:
        """See `ports.RaftJournal`. To be called on the disk thread: there no trimming runs at the same time."""
        if previous < self._state.base.index:
            return None
        found = self.read(previous + 1, entries_max=entries_max, bytes_max=bytes_max)
        return Behind(self._link(previous), tuple((entry.term, entry.data) for entry in found))

    def read(self, start: int, *, entries_max: int, bytes_max: int) -> list[Entry]:
        """Entries from `start` on, as many as fit and at least one if there is one; only what was written.

        Reads the disk: call it on the disk thread. Raises StoreDamaged.
        """
        found: list[Entry] = []
        room = bytes_max
        for key, record in self._database.scan(self._database.families[ENTRIES], entry_key(start)):
            index = start + len(found)
            if key != entry_key(index):
                raise StoreDamaged(f"{self._database.path} is damaged: entry {index} is missing")
            entry = unpack_entry(record, None, index)[1]
            room -= len(entry.data)
            if found and room < 0:
                break
            found.append(entry)
            if len(found) >= entries_max:
                break
        return found

    def write(self) -> None:
        """Hand all changes to the operating system, without waiting for the disk. Raises OSError, ever after."""
        batch, has_changes = self._batch()
        if has_changes:
            self._database.write(batch)

    def sync(self) -> None:
        """Return once all changes are on the disk. Raises OSError, and from then on always."""
        began_ns = self._elapsed_ns()
        batch, has_changes = self._batch()
        note = pack_note(self._written)
        if has_changes:
            self._database.write_synced(batch, note)
        else:
            self._database.sync(note)
        self._durable = (self._written_cuts, self._written.last.index)
        self.syncs.observe(self._elapsed_ns() - began_ns)

    def sync_witness(self) -> None:
        """Make what the witness says survive a loss of power, too. To be called about once a second."""
        self._database.sync_witness()

    def close(self) -> None:
        """Sync and let go. Calling it twice is allowed."""
        if self._changes and self._database.failure is None:
            self.sync()
        self._database.close()

    def _change(self, state: State) -> None:
        self._state = state._replace(version=state.version + 1)
        self._changes.append(self._state)

    def _batch(self) -> tuple[WriteBatch, bool]:
        """All changes made so far, as one batch, and whether there are any."""
        batch = self._database.batch()
        entries, state = self._database.handles[ENTRIES], self._database.handles[STATE]
        last, version = self._written
        changes = self._changes
        # Bounded: what is appended meanwhile is one entry in flight.
        while changes:
            change = changes.popleft()
            if isinstance(change, _Put):
                last = change.link
                batch.put(entry_key(last.index), change.record, entries)
            elif isinstance(change, _Delete):
                last = change.last
                self._written_cuts = change.cuts
                batch.delete_range(entry_key(change.start), entry_key(change.stop), entries)
            elif isinstance(change, _Members):
                batch.put(MEMBERS_KEY, change.record, state)
            else:
                version = change.version
                batch.put(STATE_KEY, pack_state(change), state)
        self._written = Note(last, version)
        return batch, not batch.is_empty()

    def _look_up(self, index: int) -> tuple[Link, Entry]:
        record = self._database.get(self._database.families[ENTRIES], entry_key(index))
        if record is None:
            raise StoreDamaged(f"{self._database.path} is damaged: entry {index} is missing")
        return unpack_entry(record, None, index)

    def _link(self, index: int) -> Link:
        if index == self._state.base.index:
            return self._state.base
        held = self._tail.get(index)
        return held[0] if held is not None else self._look_up(index)[0]

    def _load(self, *, may_be_new: bool) -> None:
        """Verify state, entries and both against what the witness saw. Raises StoreDamaged."""
        record = self._database.get(self._database.families[STATE], STATE_KEY)
        note = unpack_note(self._database.note)
        if record is not None:
            self._state = unpack_state(record)
        elif note.version or not may_be_new:
            raise StoreDamaged("the record of term, vote and commit index is missing")
        else:
            self._change(self._state)
            self.sync()
            note = unpack_note(self._database.note)
        members = self._database.get(self._database.families[STATE], MEMBERS_KEY)
        self._members = b"" if members is None else unpack_members(members)
        self._marks.reset(self._state.base)
        self._last = witnessed = self._state.base
        rows = self._database.scan(self._database.families[ENTRIES], entry_key(self.first_index))
        for link, entry in walk(rows, self._state.base):
            self._last = link
            self._marks.note(link, len(entry.data))
            if entry.data[:1] == CONTROL:
                self._controls.append((link.index, entry.data))
            if link.index == note.last.index:
                witnessed = link
        compare(note, self._state, witnessed, self._last)
        self._written = Note(self._last, self._state.version)
        self._durable = (0, self._last.index)
