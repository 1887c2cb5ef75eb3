"""The journal in memory does what the one on the disk does, for everything the core asks of either."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tq.broker.replication.journal import Journal
from tq.broker.replication.memory_journal import MemoryJournal
from tq.broker.replication.ports import RaftJournal
from tq.broker.replication.records import BEGINNING, CONTROL, Link


def seen(journal: RaftJournal) -> tuple[object, ...]:
    entries = [journal.entry(index) for index in range(journal.base.index + 1, journal.last.index + 1)]
    links = [journal.link(entry.index) for entry in entries]
    return (
        *(journal.base, journal.last, journal.term, journal.voted_for, journal.commit_index, journal.members),
        entries,
        links,
    )


def change(journal: RaftJournal, rng: Random, term: int) -> None:
    kind = rng.randrange(7)
    held = range(journal.base.index + 1, journal.last.index + 1)
    if kind == 0 and held:
        journal.truncate_from(rng.choice(held))
    elif kind == 1:
        journal.set_term(term, rng.choice(["", "n1", "n2"]))
    elif kind == 2 and held:
        journal.set_commit_index(rng.choice(held))
    elif kind == 3:
        journal.set_members(rng.randbytes(5))
    elif kind == 4 and rng.random() < 0.2:
        journal.reset(Link(journal.last.index + rng.randrange(1, 5), term, rng.randrange(2**32)))
    else:
        journal.append(term, rng.choice([b"", CONTROL, b"x"]) + rng.randbytes(rng.randrange(20)))


@pytest.mark.parametrize("seed", range(6))
def test_both_show_the_same_after_any_changes_and_after_opening_again(tmp_path: Path, seed: int) -> None:
    journal = Journal.open(str(tmp_path / "journal"), create=True)
    memory = MemoryJournal()
    one, other = Random(seed), Random(seed)
    for round_ in range(1, 120):
        change(journal, one, round_ // 10)
        change(memory, other, round_ // 10)
        assert seen(journal) == seen(memory), f"seed {seed}, change {round_}"
        if round_ % 7 == 0:
            journal.sync()
            memory.sync()
        if round_ % 30 == 0:
            journal.close()
            memory.sync()
            memory.crash()
            journal = Journal.open(str(tmp_path / "journal"), create=False)
            assert seen(journal) == seen(memory), f"seed {seed}, opened after change {round_}"
            assert journal.controls() == memory.controls()
    journal.close()


def test_crash_leaves_what_was_synced_and_a_failed_sync_stays_failed() -> None:
    journal = MemoryJournal()
    journal.append(1, b"kept")
    journal.set_term(1, "n1")
    journal.sync()
    kept = seen(journal)
    journal.append(1, b"lost")
    journal.set_term(2, "n2")
    journal.fail_next(OSError(5, "the disk failed"))
    for _ in range(2):
        with pytest.raises(OSError, match="failed"):
            journal.sync()
    journal.crash()
    assert seen(journal) == kept
    journal.truncate_from(1)
    journal.crash()
    assert (journal.last.index, MemoryJournal().last) == (1, BEGINNING)
