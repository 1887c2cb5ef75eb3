"""The journal: what is durable together, what is verified, what is trimmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tq.broker.replication import tail
from tq.broker.replication.journal import ENTRIES, FAMILIES, STATE, STATE_KEY, Journal
from tq.broker.replication.records import Entry, Link, entry_key, pack_entry
from tq.broker.rocksdb.database import Database
from tq.errors import StoreDamaged


@contextmanager
def opened(path: Path, *, create: bool = False) -> Iterator[Journal]:
    journal = Journal.open(str(path), create=create)
    try:
        yield journal
    finally:
        journal.close()


def filled(path: Path, count: int, *, term: int = 1) -> None:
    with opened(path, create=True) as journal:
        for number in range(1, count + 1):
            journal.append(term, b"entry %d" % number)
        journal.sync()


def entries(journal: Journal) -> list[tuple[int, int, bytes]]:
    return [
        (e.index, e.term, e.data)
        for e in (journal.entry(index) for index in range(journal.first_index, journal.last_index + 1))
    ]


def tamper(path: Path, change: Callable[[Database], None]) -> None:
    """Change rows behind the journal's back, as a bug or a mixed-up restore would; RocksDB finds nothing wrong."""
    database = Database.open(str(path), FAMILIES, create=False, cache_bytes=1024**2)
    change(database)
    database.close()


def test_new_journal_is_empty_and_knows_no_term(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        assert (journal.first_index, journal.last_index, journal.last_term) == (1, 0, 0)
        assert (journal.term, journal.voted_for, journal.commit_index) == (0, "", 0)


def test_entries_term_vote_and_commit_come_back(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        assert journal.append(1, b"a") == 1
        assert journal.append(3, b"") == 2
        journal.set_term(3, "node-ü")
        journal.set_commit_index(2)
        journal.sync()
    with opened(tmp_path / "j") as journal:
        assert entries(journal) == [(1, 1, b"a"), (2, 3, b"")]
        assert (journal.term, journal.voted_for, journal.commit_index, journal.last_term) == (
            3,
            "node-ü",
            2,
            3,
        )


def test_stored_commit_index_is_never_above_the_last_entry(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        for _ in range(5):
            journal.append(1, b"x")
        journal.set_commit_index(5)
        journal.truncate_from(4)
        assert journal.commit_index == 3
        journal.sync()
    with opened(tmp_path / "j") as journal:
        assert journal.commit_index == 3


def test_unsynced_entries_can_be_read(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        for number in range(tail.TAIL_ENTRIES_MAX + 500):
            journal.append(1, b"%d" % number)
        assert journal.entry(1) == Entry(1, 1, b"0")


def test_entries_beyond_the_tail_are_looked_up(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        for number in range(1, tail.TAIL_ENTRIES_MAX + 500):
            journal.append(1, b"%d" % number)
            if number % 100 == 0:
                journal.sync()
        journal.sync()
        assert len(journal._tail._held) <= tail.TAIL_ENTRIES_MAX
        assert [journal.entry(n).data for n in (1, 300, 1000)] == [b"1", b"300", b"1000"]


def test_truncated_entries_are_gone_and_their_numbers_are_used_again(tmp_path: Path) -> None:
    filled(tmp_path / "j", 5)
    with opened(tmp_path / "j") as journal:
        journal.truncate_from(3)
        journal.append(2, b"other")
        journal.sync()
        expected = [(1, 1, b"entry 1"), (2, 1, b"entry 2"), (3, 2, b"other")]
        assert entries(journal) == expected
    with opened(tmp_path / "j") as journal:
        assert entries(journal) == expected


def test_truncation_and_what_follows_are_durable_together(tmp_path: Path) -> None:
    filled(tmp_path / "j", 5)
    with opened(tmp_path / "j") as journal:
        journal.truncate_from(3)
        journal.append(2, b"x")
        journal.truncate_from(2)
        journal.append(2, b"y")
        journal.append(2, b"z")
        journal.sync()
    with opened(tmp_path / "j") as journal:
        assert entries(journal) == [(1, 1, b"entry 1"), (2, 2, b"y"), (3, 2, b"z")]


def test_read_gives_consecutive_entries_within_both_bounds(tmp_path: Path) -> None:
    filled(tmp_path / "j", 20)
    with opened(tmp_path / "j") as journal:
        assert [e.index for e in journal.read(5, entries_max=3, bytes_max=1000)] == [5, 6, 7]
        assert [e.index for e in journal.read(5, entries_max=100, bytes_max=15)] == [5, 6]
        assert [e.index for e in journal.read(5, entries_max=100, bytes_max=1)] == [5]
        assert journal.read(21, entries_max=1, bytes_max=1) == []


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "TRAILING_ENTRIES", 20)
    monkeypatch.setattr(tail, "TRAILING_BYTES", 10_000)
    monkeypatch.setattr(tail, "TRIM_ENTRIES_MIN", 10)
    monkeypatch.setattr(tail, "TRIM_BYTES_MIN", 5_000)
    monkeypatch.setattr(tail, "MARK_ENTRIES", 5)
    monkeypatch.setattr(tail, "MARK_BYTES", 2_000)


@pytest.mark.usefixtures("small_windows")
def test_trimming_keeps_a_window_of_entries_and_survives_restarts(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        for number in range(1, 101):
            journal.append(1, b"%d" % number)
        journal.trim(100)
        assert journal.first_index == 81
        journal.sync()
    with opened(tmp_path / "j") as journal:
        assert (journal.first_index, journal.last_index) == (81, 100)
        assert [e.index for e in journal.read(81, entries_max=99, bytes_max=999)] == list(range(81, 101))
        journal.append(1, b"more")
        assert journal.last_index == 101
        with pytest.raises(ValueError, match="trimmed"):
            journal.truncate_from(80)


@pytest.mark.usefixtures("small_windows")
def test_trimming_keeps_fewer_entries_when_they_are_large(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        for _ in range(30):
            journal.append(1, bytes(1_000))
        journal.trim(30)
        assert 15 <= journal.first_index <= 21


@pytest.mark.usefixtures("small_windows")
def test_trimming_never_goes_beyond_what_was_released_nor_for_a_trifle(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        for number in range(1, 101):
            journal.append(1, b"%d" % number)
        journal.trim(9)
        assert journal.first_index == 1
        journal.trim(12)
        assert journal.first_index == 11
        journal.trim(19)
        assert journal.first_index == 11
        journal.trim(5)
        assert journal.first_index == 11


@pytest.mark.usefixtures("small_windows")
def test_truncating_back_to_the_trimmed_part_leaves_an_empty_log_that_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        for number in range(1, 101):
            journal.append(1, b"%d" % number)
        journal.trim(100)
        journal.truncate_from(81)
        assert (journal.first_index, journal.last_index) == (81, 80)
        journal.append(2, b"new")
        journal.sync()
    with opened(tmp_path / "j") as journal:
        assert entries(journal) == [(81, 2, b"new")]


def test_reset_goes_on_behind_the_base(tmp_path: Path) -> None:
    filled(tmp_path / "j", 5)
    for base in (50, 20):
        with opened(tmp_path / "j") as journal:
            journal.reset(Link(base, 7, 0))
            assert (journal.first_index, journal.last_index, journal.last_term) == (base + 1, base, 7)
            assert journal.append(8, b"next") == base + 1
            journal.sync()
        with opened(tmp_path / "j") as journal:
            assert entries(journal) == [(base + 1, 8, b"next")]


def test_written_but_unsynced_entries_become_durable_with_the_next_sync(tmp_path: Path) -> None:
    with opened(tmp_path / "j", create=True) as journal:
        journal.append(1, b"a")
        journal.write()
        assert [e.data for e in journal.read(1, entries_max=9, bytes_max=9)] == [b"a"]
        journal.sync()
        journal.sync()
    with opened(tmp_path / "j") as journal:
        assert entries(journal) == [(1, 1, b"a")]


def put_row(index: int, record: bytes | None) -> Callable[[Database], None]:
    def change(database: Database) -> None:
        batch = database.batch()
        if record is None:
            batch.delete(entry_key(index), database.handles[ENTRIES])
        else:
            batch.put(entry_key(index), record, database.handles[ENTRIES])
        database.write(batch)

    return change


LINK_2, RECORD_2 = pack_entry(Link(1, 1, 99), 1, b"not what entry 1 leads to")


@pytest.mark.parametrize(
    ("index", "record", "says"),
    [
        (3, None, "entry 3 is missing"),
        (2, RECORD_2, "entry 2 does not follow"),
        (2, b"short", "too short"),
        (2, RECORD_2[:-1] + b"!", "does not match its checksum"),
        (4, RECORD_2, "entry 2 stands where entry 4 should"),
        (5, None, "ends with entry 4, and entry 5 was synced"),
        (7, RECORD_2, "entry 6 is missing"),
    ],
)
def test_hole_or_changed_entry_is_damage_and_never_a_shorter_log(
    tmp_path: Path, index: int, record: bytes | None, says: str
) -> None:
    filled(tmp_path / "j", 5)
    tamper(tmp_path / "j", put_row(index, record))

    with pytest.raises(StoreDamaged, match=says) as caught:
        Journal.open(str(tmp_path / "j"), create=False)
    assert str(tmp_path) in caught.value.text


@pytest.mark.parametrize(
    ("change", "says"), [(b"garbage" * 20, "does not match its checksum"), (None, "is missing")]
)
def test_changed_or_missing_term_and_vote_is_damage(tmp_path: Path, change: bytes | None, says: str) -> None:
    filled(tmp_path / "j", 2)

    def alter(database: Database) -> None:
        batch = database.batch()
        if change is None:
            batch.delete(STATE_KEY, database.handles[STATE])
        else:
            batch.put(STATE_KEY, change, database.handles[STATE])
        database.write(batch)

    tamper(tmp_path / "j", alter)

    with pytest.raises(StoreDamaged, match=says):
        Journal.open(str(tmp_path / "j"), create=False)


def test_older_term_and_vote_than_were_synced_are_damage(tmp_path: Path) -> None:
    filled(tmp_path / "j", 2)
    held: list[bytes] = []

    def keep(database: Database) -> None:
        held.append(database.get(database.families[STATE], STATE_KEY) or b"")

    def put_back(database: Database) -> None:
        batch = database.batch()
        batch.put(STATE_KEY, held[0], database.handles[STATE])
        database.write(batch)

    tamper(tmp_path / "j", keep)
    with opened(tmp_path / "j") as journal:
        journal.set_term(5, "somebody")
        journal.sync()
    tamper(tmp_path / "j", put_back)

    with pytest.raises(StoreDamaged, match="its state is of version"):
        Journal.open(str(tmp_path / "j"), create=False)


def test_disk_use_stays_bounded_while_entries_come_and_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "TRAILING_BYTES", 4 * 1024**2)
    data = bytes(range(256)) * 1024
    with opened(tmp_path / "j", create=True) as journal:
        for number in range(1, 801):
            journal.append(1, b"%d" % number + data)
            if number % 10 == 0:
                journal.write()
                journal.trim(number)
        journal.sync()
        assert journal.last_index - journal.first_index < 200
    size = sum(file.stat().st_size for file in (tmp_path / "j").iterdir())
    assert size < 120 * 1024**2, "800 entries of 256 KiB went through"
