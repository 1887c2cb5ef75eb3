"""What the bare library forgets when a process ends."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from pysyncobj.journal import FileJournal

from tests.sim.reproductions.bare import NO_OP, Bare, append, bare_library, command

# The library opens its journal's files and does not close all of them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_t8_killed_between_dump_and_trim_it_clears_the_acknowledged_tail_at_the_next_start(
    tmp_path: Path,
) -> None:
    files = {"journalFile": str(tmp_path / "journal"), "fullDumpFile": str(tmp_path / "dump")}
    answers: list[int] = []
    with bare_library() as time:
        node = time.alone(**files)
        for item in range(10):
            node.put(item, callback=lambda _, error: answers.append(error))
        time.tick(node, 3, seconds=0.05)
        node.forceLogCompaction()
        node.look("tryLogCompaction")()
        for item in range(10, 20):
            node.put(item, callback=lambda _, error: answers.append(error))
        # What a tick does but for trimming the journal: the process dies before it comes to that.
        node._checkCommandsToApply()
        node._SyncObj__raftCommitIndex = node.end[0]
        node.look("applyLogEntries")()
        assert answers == [0] * 20

        again = Bare("S", "", **files)
        held = again.end
        time.tick(again, 3, seconds=2.0)

        assert held == node.end
        assert len(again.data) == 10
        _let_go(node, again)


def test_t9_with_a_dump_that_cannot_be_read_it_leads_with_nothing_and_never_answers(tmp_path: Path) -> None:
    files = {"journalFile": str(tmp_path / "journal"), "fullDumpFile": str(tmp_path / "dump")}
    answers: list[int] = []
    with bare_library() as time:
        node = time.alone(**files)
        for item in range(10):
            node.put(item)
        time.tick(node, 3, seconds=0.05)
        node.forceLogCompaction()
        time.tick(node, 3, seconds=0.05)
        os.truncate(files["fullDumpFile"], 20)

        again = Bare("S", "", **files)
        time.tick(again, 3, seconds=2.0)
        again.put("new", callback=lambda _, error: answers.append(error))
        time.tick(again, 20, seconds=0.5)

        assert again._isLeader()
        assert again.raftCommitIndex > 10
        assert (again.data, answers) == ([], [])
        _let_go(node, again)


def test_t10_killed_while_it_trims_its_journal_it_loses_the_end_of_it(tmp_path: Path) -> None:
    class KilledError(BaseException):
        pass

    path = str(tmp_path / "journal")
    journal = FileJournal(path)
    for index in range(1, 5_001):
        journal.add(b"x" * 100, index, 1)
    add, calls = journal.add, 0

    def dying_add(*entry: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2_500:
            raise KilledError
        add(*entry)

    journal.add = dying_add
    with pytest.raises(KilledError):
        journal.deleteEntriesTo(10)

    again = FileJournal(path)

    assert len(again) == 2_499
    assert again[-1][1] < 5_000
    journal._destroy()
    again._destroy()


def test_t11_its_journal_ends_at_four_gibibytes(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    journal = FileJournal(path)
    journal.add(b"x", 1, 0)
    journal._FileJournal__currentOffset = 2**32
    with pytest.raises((struct.error, IndexError, ValueError, OverflowError)):
        journal.add(b"y", 2, 0)

    assert len(journal) == 2, "memory holds what the file could not take"
    journal._destroy()


def test_t12_a_commit_index_ahead_of_a_cut_journal_commits_the_next_leaders_entry(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    with bare_library() as time:
        journal = FileJournal(path)
        journal.add(NO_OP, 1, 0)
        for index in range(2, 6):
            journal.add(command(index), index, 1)
        journal.setRaftCommitIndex(10)
        journal.setCurrentTerm(1, None)
        journal._destroy()
        follower = Bare("F", "LG", journalFile=path)
        time.tick(follower, 2)

        follower.hear("L", append(2, 5, 1, [(command("uncommitted"), 6, 2)], 5))
        time.tick(follower)

        assert follower.data[-1] == "uncommitted"
        _let_go(follower)


def _let_go(*nodes: Bare) -> None:
    """Close the mapped files."""
    for node in nodes:
        node.look("raftLog")._destroy()
