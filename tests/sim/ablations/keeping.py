"""What is on the disk, and what is made of it: J1 to J10, Z1 to Z6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rocksdict import DBRecoveryMode, Options

from tests.replication import test_core, test_snapshots, test_store_snapshots
from tests.sim.ablations import disk_scenes, scenes
from tests.sim.ablations.ablation import ABSENT, Ablation, Change, Scene, Seeds, edited
from tests.sim.hardened import HardNode
from tests.sim.reproductions import test_tq_durability, test_tq_replication
from tq.broker.replication import journal, records, snapshot, tail
from tq.broker.replication.journal import Journal
from tq.broker.replication.log_view import LogView
from tq.broker.replication.memory_journal import MemoryJournal
from tq.broker.replication.outbox import Outbox
from tq.broker.replication.overrides import Overrides
from tq.broker.replication.raft import RaftLog
from tq.broker.replication.replica import Replica
from tq.broker.replication.sending import Sender
from tq.broker.replication.transfers import SnapshotSender
from tq.broker.rocksdb import inspection, opening, wal
from tq.broker.rocksdb.options import database_options


def _commit_at_once(self: Outbox, index: int, tell: Callable[[], None]) -> None:
    tell()


def _forget_vote(self: LogView, term: int, voted_for: str | None) -> None:
    if term > self._journal.term:
        self.is_dirty = True
        self._journal.set_term(term, "")


def _accept(*_: Any) -> None:
    return None


def _one_by_one(self: Journal) -> None:
    """As the library's journal does: each change is a write of its own."""
    changes, self._changes = self._changes, type(self._changes)()
    for change in changes:
        self._changes.append(change)
        _SYNC(self)


_SYNC = Journal.sync
_OPTIONS = database_options


def _with_default_recovery(*, create: bool) -> Options:
    options = _OPTIONS(create=create)
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    return options


KEEPING = (
    Ablation(
        "J1 D1",
        "answers wait for the sync",
        (Change(Outbox, "hold", Outbox.send),),
        Seeds("I7 left before its sync", (), (1, 2)),
    ),
    Ablation(
        "J1 D1",
        "commits wait for the sync",
        (Change(Outbox, "commit", _commit_at_once),),
        Seeds("I7 applied before its sync", (), (1, 2)),
    ),
    Ablation(
        "J1",
        "the vote is on the disk",
        (Change(LogView, "setCurrentTerm", _forget_vote),),
        Seeds("I7 left before its sync", (), (1, 2)),
    ),
    Ablation(
        "J2",
        "all changes of a step are one batch",
        (Change(Journal, "sync", _one_by_one),),
        Scene(disk_scenes.changes_of_one_step_are_one_batch),
    ),
    Ablation(
        "J3",
        "trimming leaves a window",
        (
            edited(
                tail.TrimMarks,
                "take",
                ("leaves_entries < TRAILING_ENTRIES and leaves_bytes < TRAILING_BYTES", "False"),
            ),
        ),
        Scene(disk_scenes.trimming_leaves_what_a_follower_may_still_need),
    ),
    Ablation(
        "J4",
        "every entry has a checksum",
        (edited(records, "unpack_entry", ("if zlib.crc32(", "if crc != crc and zlib.crc32(")),),
        Scene(disk_scenes.entry_with_a_changed_byte_is_damage),
    ),
    Ablation(
        "J4",
        "every entry names the one before",
        (edited(records, "unpack_entry", ("if previous is not None and", "if False and")),),
        Scene(disk_scenes.entry_that_does_not_follow_the_one_before_is_damage),
    ),
    Ablation(
        "J4",
        "a hole is damage",
        (
            edited(
                journal,
                "walk",
                ("if key != entry_key(last.index + 1):\n            raise", "if False:\n            raise"),
            ),
        ),
        Scene(disk_scenes.log_with_a_hole_is_damage),
    ),
    Ablation(
        "J5",
        "a commit index ahead of the log does not count",
        (
            edited(
                Journal,
                "commit_index",
                ("min(self._state.commit_index, self._last.index)", "self._state.commit_index"),
            ),
        ),
        Scene(disk_scenes.stored_commit_index_ahead_of_the_log_does_not_count),
    ),
    Ablation(
        "J5",
        "a node commits nothing of the next leader by an old commit index",
        (
            edited(
                MemoryJournal,
                "commit_index",
                ("min(self._seen.commit_index, self.last.index)", "self._seen.commit_index"),
            ),
        ),
        Scene(
            test_tq_durability.test_t12_a_commit_index_ahead_of_a_cut_log_commits_nothing_of_the_next_leader
        ),
    ),
    Ablation(
        "J6",
        "a failed sync ends the process",
        (edited(RaftLog, "_synced", ("if isinstance(result, Exception):", "if False:")),),
        Scene(disk_scenes.failed_sync_ends_the_process_and_acknowledges_nothing),
    ),
    Ablation(
        "J7 J8",
        "a changed byte of the newest log is not taken for its end",
        (
            Change(opening, "database_options", _with_default_recovery),
            edited(wal, "check_wals", ("if sequence != expected and", "if False and")),
            Change(inspection, "_compare", _accept),
            Change(journal, "compare", _accept),
        ),
        Scene(disk_scenes.bit_flipped_in_the_newest_log_is_refused),
    ),
    Ablation(
        "J8",
        "the witness knows how far the log was synced",
        (Change(journal, "compare", _accept),),
        Scene(disk_scenes.log_that_ends_sooner_than_it_was_synced_is_damage),
    ),
    Ablation(
        "J9",
        "the library is given tuples",
        (
            edited(
                LogView,
                "slice",
                (
                    "return [(NO_OP, index, journal.link(index).term) for",
                    "return [[NO_OP, index, journal.link(index).term] for",
                ),
            ),
        ),
        Scene(scenes.library_sees_entries_as_tuples),
    ),
    Ablation(
        "J10",
        "the log is not held in memory",
        (
            edited(
                tail.Tail,
                "add",
                ("while len(held) > TAIL_ENTRIES_MAX or self._bytes > TAIL_BYTES_MAX:", "while False:"),
            ),
        ),
        Scene(disk_scenes.journal_holds_no_more_than_its_tail_in_memory),
    ),
    Ablation(
        "Z1 O9",
        "the library sends nothing by itself",
        (Change(Overrides, "_SyncObj__sendAppendEntries", ABSENT),),
        Scene(
            test_core.test_cluster_elects_a_leader_and_applies_everything_on_every_node_in_order,
            {"size": 3},
            AttributeError,
        ),
    ),
    Ablation(
        "Z1",
        "who waits for a snapshot is sent a heartbeat now and then",
        (edited(Sender, "send_all", ("if not is_sent and is_due:", "for _ in range(1 if is_sent else 3):")),),
        Scene(
            test_tq_replication.test_t21_a_follower_that_needs_a_snapshot_while_one_is_made_hears_heartbeats_only
        ),
    ),
    Ablation(
        "Z4",
        "the log is trimmed behind what the store has synced",
        (
            edited(
                HardNode,
                "on_commit",
                (
                    "self.log.on_commit(index, data)",
                    "self.log.on_commit(index, data); self.log.release(index)",
                ),
            ),
        ),
        Seeds(
            "raised:damaged",
            ("power", "power_all"),
            (1, 2),
            {"compact_entries": 20, "rate": 80.0, "latency": (0.0005, 0.003)},
        ),
    ),
    Ablation(
        "J4 J8",
        "a disk that lost what it promised is not opened",
        (
            edited(records, "unpack_entry", ("if zlib.crc32(", "if crc != crc and zlib.crc32(")),
            edited(
                journal,
                "walk",
                ("if key != entry_key(last.index + 1):\n            raise", "if False:\n            raise"),
            ),
            Change(journal, "compare", _accept),
        ),
        Seeds("J4 damage not noticed", ("lose_end", "flip_bit"), (2,)),
    ),
    Ablation(
        "Z5",
        "the log is kept behind a snapshot that is on its way",
        (Change(SnapshotSender, "lowest_index", lambda self: None),),
        Scene(test_snapshots.test_log_is_not_trimmed_behind_a_snapshot_that_is_on_its_way),
    ),
    Ablation(
        "Z6 M8",
        "a snapshot is verified before anything is touched",
        (
            edited(
                snapshot,
                "_unpack",
                ("if digest.digest() != info.digest or stream.stat().st_size != info.size:", "if False:"),
            ),
        ),
        Scene(test_store_snapshots.test_stream_with_one_changed_byte_is_never_installed),
    ),
    Ablation(
        "Z2",
        "an installation that was begun is finished",
        (edited(snapshot, "_unpack", ('write_durably(root / "install.json", _pack_info(info))', "pass")),),
        Scene(
            test_store_snapshots.test_crash_within_the_swap_is_finished_by_the_next_start,
            {"crash": "before the swap"},
        ),
    ),
    Ablation(
        "Z2",
        "the note of an installation has a checksum",
        (
            edited(
                snapshot,
                "_read_info",
                ('if document["crc32"] != zlib.crc32(repr(fields).encode()):', "if False:"),
            ),
        ),
        Scene(test_store_snapshots.test_damaged_note_of_an_installation_is_not_guessed_at),
    ),
    Ablation(
        "Z6",
        "a state and a log that do not meet are damage",
        (
            edited(
                Replica, "_join", ("if not journal.base.index <= applied <= journal.last.index:", "if False:")
            ),
        ),
        Scene(test_tq_durability.test_t9_state_and_log_that_do_not_meet_keep_the_node_from_starting),
    ),
)
