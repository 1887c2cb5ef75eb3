"""The order of a step, what becomes of what was asked, and what of the library is overridden: D1 to D10, O1 to O9."""

from __future__ import annotations

from typing import Any

from tests.replication import test_core, test_guard, test_library, test_members
from tests.sim.ablations import disk_scenes, scenes
from tests.sim.ablations.ablation import ABSENT, Ablation, Change, Scene, Seeds, edited
from tests.sim.ablations.messages import BUSY
from tests.sim.broker import Broker
from tests.sim.reproductions import test_tq_durability, test_tq_elections, test_tq_replication
from tq.broker.replication import library
from tq.broker.replication.core import RaftCore
from tq.broker.replication.leading import Leading
from tq.broker.replication.membership import Membership
from tq.broker.replication.overrides import Overrides, Raft
from tq.broker.replication.proposals import Proposals
from tq.broker.replication.raft import RaftLog
from tq.broker.replication.reads import Reads
from tq.broker.replication.replica import Replica
from tq.broker.replication.sending import Sender
from tq.errors import BrokerUnavailable


def _expire_as_refused(self: Proposals, now: float) -> None:
    for index in [index for index, waiting in self._waiting.items() if waiting.deadline <= now]:
        self._waiting.pop(index).done(BrokerUnavailable("nobody answered in time"))


def _confirm_alone(self: Reads, majority_seq: int, applied: int) -> None:
    waiting, self._waiting = self._waiting, []
    for read in waiting:
        read.done(read.commit_index)


def _nothing(*_: Any, **__: Any) -> None:
    return None


DRIVING = (
    Ablation(
        "M10 D1",
        "what escapes the core ends the process",
        (edited(RaftLog, "_fail", ("self._on_fatal(error)", "pass")),),
        Scene(disk_scenes.what_escapes_the_core_ends_the_process),
    ),
    Ablation(
        "D3",
        "the links are opened when the log has begun",
        (edited(RaftLog, "start", ("await self._started", "pass")),),
        Scene(disk_scenes.start_returns_when_a_node_alone_leads),
    ),
    Ablation(
        "D2",
        "a late process gives its leader time",
        (edited(RaftCore, "step", ("self._elections.postpone()", "pass")),),
        Scene(scenes.late_process_gives_its_leader_a_fresh_timeout),
    ),
    Ablation(
        "D2",
        "what arrived is heard before time is looked at",
        (
            edited(
                RaftCore,
                "step",
                ("self._inbox.deliver()", "pass"),
                ("self._leading.expire()", "self._leading.expire(); self._inbox.deliver()"),
            ),
        ),
        Scene(scenes.what_arrived_is_heard_before_time_is_looked_at),
    ),
    Ablation(
        "D4",
        "entries leave at once, not with the next heartbeat",
        (
            edited(
                Sender, "send_all", ("(is_due or progress.next_index <= self._journal.last.index)", "is_due")
            ),
        ),
        Scene(test_tq_replication.test_t17_an_entry_larger_than_a_message_travels_whole),
    ),
    Ablation(
        "D5",
        "proposals under way are bounded",
        (edited(Proposals, "is_full", ("len(self._waiting) >= PROPOSALS_MAX", "False")),),
        Scene(scenes.proposals_under_way_are_bounded),
    ),
    Ablation(
        "D6",
        "what may come back is unknown",
        (Change(Proposals, "expire", _expire_as_refused),),
        Seeds("I11 refused and there", ("isolate", "halves"), (3, 1), BUSY, 10.0),
    ),
    Ablation(
        "D6",
        "what a snapshot skips is unknown",
        (Change(Proposals, "skipped", _nothing),),
        Scene(
            test_tq_durability.test_t13_what_waits_on_a_leader_whose_log_a_snapshot_replaces_ends_as_unknown
        ),
    ),
    Ablation(
        "D7",
        "a read is confirmed by a majority",
        (Change(Reads, "confirm", _confirm_alone),),
        Seeds("I14 stale read", ("isolate", "pause"), (7, 8), BUSY, 10.0),
    ),
    Ablation(
        "D8",
        "a leader that hears no majority steps down",
        (
            edited(
                Raft, "__init__", ("leaderFallbackTimeout=times.election_max", "leaderFallbackTimeout=30.0")
            ),
        ),
        Scene(test_core.test_leader_that_hears_no_majority_steps_down_within_the_longest_timeout),
    ),
    Ablation(
        "D9",
        "a leader that hands over takes nothing more",
        (edited(Leading, "_refusal", ("if self._handing_to:", "if False:")),),
        Scene(scenes.leader_that_hands_over_takes_nothing_more),
    ),
    Ablation(
        "D9",
        "who takes over has everything",
        (edited(Leading, "hand_over", ("and progress.match == self._journal.last.index", "")),),
        Scene(scenes.target_stands_when_it_has_everything_and_not_before),
    ),
    Ablation(
        "D1",
        "the only voter sends nothing of a term that is not on its disk",
        (edited(RaftCore, "step", (" and not self._replica.view.has_new_term", "")),),
        Scene(scenes.only_voter_sends_nothing_of_a_term_that_is_not_on_its_disk),
    ),
    Ablation(
        "D10",
        "an entry carries its time",
        (
            edited(
                Broker,
                "_apply",
                ("(index, now_ms, commands)", "(index, self._around.clock.now_ms(), commands)"),
            ),
        ),
        Seeds("I16 nodes differ", (), (1, 2, 3), seconds=4.0),
    ),
    Ablation(
        "O1",
        "the library reads no commands",
        (Change(Overrides, "_SyncObj__doApplyCommand", ABSENT),),
        Scene(
            test_tq_durability.test_t6_every_entry_is_told_once_whatever_it_looks_like_to_the_library,
            by=TypeError,
        ),
    ),
    Ablation(
        "O2 Z3",
        "the library loads no dump",
        (Change(Overrides, "_SyncObj__loadDumpFile", ABSENT),),
        Scene(scenes.library_loads_no_dump),
    ),
    Ablation(
        "O3",
        "the library does not stand by itself",
        (Change(Overrides, "_SyncObj__connectedToAnyone", ABSENT),),
        Scene(test_tq_replication.test_t2_an_acknowledgement_of_an_earlier_term_commits_nothing),
    ),
    Ablation(
        "O4",
        "the library reads no configuration",
        (Change(Overrides, "_SyncObj__parseChangeClusterRequest", ABSENT),),
        Scene(scenes.library_reads_no_configuration),
    ),
    Ablation(
        "O5",
        "one change of members at a time",
        (edited(Leading, "_objection", ("if self._membership.changed_at > self._applied():", "if False:")),),
        Scene(test_tq_elections.test_t3_the_second_change_of_members_waits_for_the_first),
    ),
    Ablation(
        "O5",
        "two configurations that follow each other share a majority",
        (edited(Leading, "_objection", ("if len(added) + len(removed) > 1:", "if False:")),),
        Scene(scenes.two_voters_do_not_go_at_once),
    ),
    Ablation(
        "O6",
        "a restart knows the members that the log holds",
        (edited(Replica, "__init__", ("in journal.controls():", "in ():")),),
        Scene(test_tq_elections.test_t19_after_a_restart_the_members_in_the_log_count),
    ),
    Ablation(
        "O6",
        "members outlive the trimming of their entry",
        (
            edited(
                Replica, "_rebase", ("self._journal.set_members(pack_configuration(configuration))", "pass")
            ),
        ),
        Scene(test_members.test_configuration_survives_a_restart_of_all_nodes_and_the_trimming_of_its_entry),
    ),
    Ablation(
        "O6",
        "a configuration that was cut off counts no more",
        (Change(Membership, "truncated", lambda self, index: False),),
        Scene(test_members.test_change_that_gives_way_to_another_leader_is_undone, {"seed": 0}),
    ),
    Ablation(
        "O6",
        "who votes was an observer before",
        (
            edited(
                Leading,
                "_objection",
                ("if node not in now.observers or not self._is_connected(node):", "if False:"),
                ("if not self.has_caught_up(node):", "if False:"),
            ),
        ),
        Scene(test_members.test_node_votes_only_after_it_was_an_observer_that_caught_up, by=IndexError),
    ),
    Ablation(
        "O7",
        "a step applies a bounded number of entries",
        (
            edited(
                Overrides,
                "_SyncObj__getEntries",
                ("min(count or APPLY_ENTRIES_MAX, APPLY_ENTRIES_MAX)", "10**9"),
            ),
        ),
        Scene(scenes.one_step_applies_no_more_than_its_share),
    ),
    Ablation(
        "O8",
        "a node has its own clock and chance",
        (edited(library, "load_library", ('"monotonicTime": clock,', '"monotonicTime": lambda: 0.0,')),),
        Scene(test_library.test_nodes_of_one_process_have_their_own_clock_and_leave_the_package_alone),
    ),
    Ablation(
        "O1 Z3",
        "pickle, dumps and forks are closed",
        (Change(library, "_refuse", _nothing),),
        Scene(test_library.test_pickle_is_closed),
    ),
    Ablation(
        "O",
        "only the audited library runs",
        (edited(library, "_code", ("if found != expected:", "if False:")),),
        Scene(test_library.test_changed_source_is_refused),
    ),
    Ablation(
        "ID3",
        "who lost what it acknowledged gets no more",
        (
            edited(
                Sender,
                "on_ack",
                ("progress.is_short = ack.next_index <= progress.match", "progress.is_short = False"),
            ),
        ),
        Scene(
            test_guard.test_follower_that_lost_what_it_acknowledged_is_sent_no_more_and_still_counts_as_it_did
        ),
    ),
)
