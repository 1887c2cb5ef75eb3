"""Scenes for what is on a disk, as `scenes` are for what one node says and hears."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random
from shutil import copytree

import pytest

from tests.sim.ablations.lone_log import LoneLog
from tests.sim.database import Image, SimDatabase
from tests.sim.disk import SimDisk
from tq.broker.replication import tail
from tq.broker.replication.journal import FAMILIES, Journal
from tq.broker.replication.records import Link, entry_key
from tq.broker.rocksdb.files import wal_files
from tq.errors import BrokerUnavailable, OutcomeUnknown, StoreDamaged

ENTRIES = [(1, b"%d" % number) for number in range(10)]


def journal_on(disk: SimDatabase) -> Journal:
    journal = Journal(disk)  # type: ignore[arg-type]
    journal._load(may_be_new=not disk.image.is_made)
    return journal


def empty_database() -> SimDatabase:
    return SimDatabase("n1", Image(tuple(family.name for family in FAMILIES)), SimDisk(Random(1)))


def filled_database() -> SimDatabase:
    disk = empty_database()
    journal = journal_on(disk)
    for term, data in ENTRIES:
        journal.append(term, data)
    journal.sync()
    return disk


def entry_with_a_changed_byte_is_damage() -> None:
    disk = filled_database()
    rows = disk.image.rows["entries"]
    rows[entry_key(5)] = rows[entry_key(5)][:-1] + b"!"

    with pytest.raises(StoreDamaged, match="checksum"):
        journal_on(disk)


def entry_that_does_not_follow_the_one_before_is_damage() -> None:
    disk, other = filled_database(), filled_database()
    journal = journal_on(other)
    journal.truncate_from(4)
    for _ in range(4):
        journal.append(1, b"another")
    journal.sync()
    disk.image.rows["entries"][entry_key(5)] = other.image.rows["entries"][entry_key(5)]

    with pytest.raises(StoreDamaged, match="does not follow"):
        journal_on(disk)


def log_with_a_hole_is_damage() -> None:
    disk = filled_database()
    del disk.image.rows["entries"][entry_key(5)]

    with pytest.raises(StoreDamaged, match="missing"):
        journal_on(disk)


def log_that_ends_sooner_than_it_was_synced_is_damage() -> None:
    disk = filled_database()
    del disk.image.rows["entries"][entry_key(10)]

    with pytest.raises(StoreDamaged, match="was synced"):
        journal_on(disk)


def stored_commit_index_ahead_of_the_log_does_not_count() -> None:
    disk = filled_database()
    journal = journal_on(disk)
    journal.set_commit_index(50)
    journal.sync()

    assert journal_on(disk).commit_index == len(ENTRIES)


def changes_of_one_step_are_one_batch() -> None:
    disk = filled_database()
    journal = journal_on(disk)
    before = disk._disk.syncs
    journal.truncate_from(8)
    journal.set_term(2, "L")
    journal.append(2, b"x")
    journal.sync()

    assert disk._disk.syncs == before + 1
    assert (journal_on(disk).last_index, journal_on(disk).voted_for) == (8, "L")


def journal_holds_no_more_than_its_tail_in_memory() -> None:
    journal = journal_on(empty_database())
    for _ in range(tail.TAIL_ENTRIES_MAX + 10):
        journal.append(1, b"x")
    journal.sync()
    journal.append(1, b"y")

    assert not journal.is_near(1)
    assert journal.entry(1).data == b"x"


def trimming_leaves_what_a_follower_may_still_need() -> None:
    marks = tail.TrimMarks()
    for index in range(1, 3 * tail.TRAILING_ENTRIES):
        marks.note(Link(index, 1, 0), 10)

    chosen = marks.take(3 * tail.TRAILING_ENTRIES)

    assert chosen is not None
    assert chosen.index < 2 * tail.TRAILING_ENTRIES


def start_returns_when_a_node_alone_leads() -> None:
    assert LoneLog().leads_at_start is True


def what_escapes_the_core_ends_the_process() -> None:
    alone = LoneLog()

    alone.propose(b"poison")

    assert [type(error) for error in alone.fatal] == [ZeroDivisionError]
    assert isinstance(alone.propose(b"x").exception(), BrokerUnavailable)


def failed_sync_ends_the_process_and_acknowledges_nothing() -> None:
    alone = LoneLog()
    alone.disk.fails_next = OSError(errno.EIO, "failed")

    ended = alone.propose(b"x")

    assert {type(error) for error in alone.fatal} == {OSError}
    assert isinstance(ended.exception(), OutcomeUnknown)
    assert alone.told == []


def bit_flipped_in_the_newest_log_is_refused(tmp_path: Path) -> None:
    journal = Journal.open(str(tmp_path / "journal"), create=True)
    for number in range(200):
        journal.append(1, b"%d" % number)
        journal.sync()
    copytree(tmp_path / "journal", tmp_path / "killed")
    journal.close()
    newest = wal_files(str(tmp_path / "killed"))[-1][1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)

    with pytest.raises(StoreDamaged, match=newest.name):
        Journal.open(str(tmp_path / "killed"), create=False)
