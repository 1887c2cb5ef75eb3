"""The scenes of `test_bare_durability` and `test_bare_applying`, played to the production core and journal."""

from __future__ import annotations

from random import Random

import pytest

from tests.sim.database import Image, SimDatabase
from tests.sim.disk import SimDisk
from tests.sim.reproductions.lone import Lone, append, chain, chunk
from tq.broker.replication.journal import FAMILIES, Journal
from tq.broker.replication.memory_journal import MemoryJournal
from tq.broker.replication.messages import unpack_message
from tq.broker.replication.records import Link, entry_key
from tq.errors import OutcomeUnknown, ProtocolError, StoreDamaged

ENTRIES = [(1, b"%d" % number) for number in range(10)]
LINKS = chain(*ENTRIES)


def database() -> SimDatabase:
    return SimDatabase("n1", Image(tuple(family.name for family in FAMILIES)), SimDisk(Random(1)))


def journal_on(disk: SimDatabase) -> Journal:
    journal = Journal(disk)  # type: ignore[arg-type]
    journal._load(may_be_new=not disk.image.is_made)
    return journal


def test_t8_a_restart_behind_a_snapshot_keeps_what_was_acknowledged_after_it() -> None:
    journal = MemoryJournal(trailing_entries=2)
    node = Lone("F", "LG", journal=journal)
    node.hear("L", append(1, 1, LINKS[0], ENTRIES, commit=5))
    node.core.release(5)
    node.go()
    journal.sync()
    journal.crash()

    assert (journal.base.index, journal.last) == (5, LINKS[-1])
    assert Lone("F", "LG", journal=journal, applied=5).journal.last == LINKS[-1]


def test_t9_a_snapshot_that_cannot_be_read_never_takes_the_place_of_the_state() -> None:
    node = Lone("F", "LG")

    node.hear("L", chunk(1, 1, LINKS[5], b"right", b"wrong"))

    assert node.copies.installed is None
    assert node.journal.base.index == 0
    assert not node.told


def test_t9_state_and_log_that_do_not_meet_keep_the_node_from_starting() -> None:
    journal = MemoryJournal()
    journal.set_term(3, "")
    journal.reset(Link(50, 3, 1))

    with pytest.raises(StoreDamaged, match="what was between is lost"):
        Lone("F", "LG", journal=journal)


def test_t10_a_crash_while_the_log_is_trimmed_loses_nothing_of_its_end() -> None:
    disk = database()
    journal = journal_on(disk)
    for term, data in ENTRIES:
        journal.append(term, data)
    journal.sync()
    journal.truncate_from(8)
    journal.reset(LINKS[3])

    again = journal_on(disk)

    assert (again.first_index, again.last) == (1, LINKS[-1]), "the batch with the cuts was never synced"


def test_t11_numbers_of_entries_have_eight_bytes() -> None:
    disk = database()
    journal = journal_on(disk)
    journal.reset(Link(2**40, 1, 7))

    journal.append(1, b"x")
    journal.sync()

    assert journal_on(disk).last_index == 2**40 + 1
    assert entry_key(2**40) > entry_key(2**32) > entry_key(2**31)


def test_t12_a_commit_index_ahead_of_a_cut_log_commits_nothing_of_the_next_leader() -> None:
    journal = MemoryJournal()
    for term, data in ENTRIES[:5]:
        journal.append(term, data)
    journal.set_commit_index(10)
    journal.set_term(1, "")
    journal.sync()
    node = Lone("F", "LG", journal=journal)

    node.hear("L", append(2, 1, LINKS[5], [(2, b"uncommitted")], commit=5))

    assert [data for _, data in node.told] == [data for _, data in ENTRIES[:5]]


def test_t5_what_cannot_be_applied_stops_the_process_instead_of_its_heartbeats() -> None:
    node = Lone("F", "LG")

    def refuse(index: int, data: bytes) -> None:
        raise ZeroDivisionError

    node.on_commit = refuse  # type: ignore[method-assign]

    with pytest.raises(ZeroDivisionError):
        node.hear("L", append(1, 1, LINKS[0], ENTRIES, commit=1))


def test_t6_every_entry_is_told_once_whatever_it_looks_like_to_the_library() -> None:
    version, membership, no_op = b"\3\x80\x02K\x07.", b"\2\x80\x02K\x07.", b"\1"
    texts = [b"a", version, b"b", membership, no_op, b"c"]
    node = Lone("F", "LG")

    node.hear("L", append(1, 1, LINKS[0], [(1, text) for text in texts], commit=6))

    assert [data for _, data in node.told] == texts


def test_t13_what_waits_on_a_leader_whose_log_a_snapshot_replaces_ends_as_unknown() -> None:
    node = Lone("L", "FG")
    node.lead("F")
    ended = node.propose(b"x")

    node.hear("G", chunk(5, 1, Link(30, 5, 1), b"state", b"state"))

    assert [type(one) for one in ended] == [OutcomeUnknown]
    assert node.journal.base.index == 30


def test_t16_commands_are_not_forwarded_so_no_answer_can_be_taken_for_another() -> None:
    node = Lone("F", "LG")
    node.hear("L", append(1, 1, LINKS[0], []))

    ended = node.propose(b"not by way of a follower")

    assert [getattr(one, "code", "") for one in ended] == ["NOT_LEADER"]
    with pytest.raises(ProtocolError):
        unpack_message(b"\x93\x0c\x01\x02")
