"""What is believed of a message: M1 to M9, and who counts."""

from __future__ import annotations

import hmac
from types import SimpleNamespace
from typing import Any

from tests.replication import test_core, test_elections, test_guard, test_wire
from tests.sim import members
from tests.sim.ablations import scenes
from tests.sim.ablations.ablation import Ablation, Change, Scene, Seeds, edited
from tests.sim.reproductions import test_tq_elections, test_tq_replication
from tests.sim.schedule import LEADER, Fault
from tq.broker.replication import handshake
from tq.broker.replication.core import RaftCore
from tq.broker.replication.elections import Elections
from tq.broker.replication.guard import Guard
from tq.broker.replication.leading import Leading
from tq.broker.replication.peer_book import PeerBook
from tq.broker.replication.sending import Sender
from tq.broker.replication.transfers import SnapshotReceiver
from tq.broker.replication.trust import Trust

_ON_APPEND = Guard._on_append
BUSY = {"latency": (0.0005, 0.03), "rate": 40.0, "nodes": 3}
SLOW = {"latency": (0.0005, 0.1), "rate": 40.0, "nodes": 3}


def _keep_nothing(self: Guard, append: Any) -> int:
    """As the library does: whatever stands behind the entry a message names is cut off."""
    if append.prev_index < self._journal.last.index:
        self._truncate_from(max(append.prev_index, self._journal.base.index) + 1)
    for term, data in append.entries:
        self._append(term, data)
    return self._journal.last.index


def _believe_commit(self: Guard, peer: str, append: Any) -> None:
    """As the library does: the leader's commit index is taken before anything is compared."""
    if self._is_heard(peer, append.term):
        self._follow(peer, append.term, min(append.commit, self._journal.last.index))
        _ON_APPEND(self, peer, append)


def _nothing(*_: object, **__: object) -> None:
    return None


_ANYBODY = Change(Trust, "believes", lambda self, peer: True)
_ANY_EPOCH = edited(RaftCore, "_received", ("if epoch == self._epochs.get(peer):", "if True:"))
_ANY_TERM = edited(
    Guard,
    "_is_answer",
    ("return term == self._raft.term and self._raft.is_leader", "return self._raft.is_leader"),
)

MESSAGES = (
    Ablation(
        "M1",
        "a stream begins with a proof",
        (Change(handshake, "hmac", SimpleNamespace(compare_digest=lambda *_: True, digest=hmac.digest)),),
        Scene(test_wire.test_proof_is_of_one_secret_one_side_and_these_hellos),
    ),
    Ablation(
        "M1 ID1 ID2",
        "a node is its name and its disk",
        (Change(PeerBook, "check", _nothing),),
        Scene(test_wire.test_node_is_believed_with_the_disk_it_came_with_first_and_after_a_restart),
    ),
    Ablation(
        "ID1",
        "votes and answers of an unbelieved peer do not count",
        (_ANYBODY,),
        Scene(test_guard.test_peer_that_is_not_believed_is_followed_but_its_votes_and_answers_do_not_count),
    ),
    Ablation(
        "ID2",
        "what a disk said does not count for the next one",
        (_ANYBODY,),
        Scene(test_guard.test_what_a_disk_acknowledged_does_not_count_once_the_log_names_another),
    ),
    Ablation(
        "ID1",
        "only voters that are believed vouch for a leader",
        (_ANYBODY,),
        Scene(test_guard.test_voucher_of_a_peer_that_is_not_believed_lets_nobody_in),
    ),
    Ablation(
        "M1 ID1 ID2",
        "a node that lost its disk is another one",
        (
            Change(members, "believes", lambda configuration, peer, shown: True),
            _ANYBODY,
        ),
        # One lags, another forgets, and the two are alone: what they elect has never heard of the newest tasks.
        Seeds(
            "I3 state machine safety",
            (),
            (1, 3),
            BUSY,
            faults=(
                Fault(3.0, "isolate", 0, 1, 1.5),
                Fault(4.4, "lose_disk", 1, 0, 0.05),
                Fault(4.45, "isolate", LEADER, 0, 3.0),
            ),
        ),
    ),
    Ablation(
        "M2",
        "frames of a replaced stream are dropped",
        (_ANY_EPOCH,),
        Scene(test_guard.test_answer_from_another_term_or_connection_commits_nothing),
    ),
    Ablation(
        "M5",
        "answers of another term are dropped",
        (_ANY_TERM,),
        Scene(test_tq_replication.test_t2_an_acknowledgement_of_an_earlier_term_commits_nothing),
    ),
    Ablation(
        "M3",
        "an observer deposes no leader",
        (Change(Guard, "_follows_another", lambda self, peer: False),),
        Scene(test_guard.test_observer_neither_deposes_a_leader_nor_is_voted_for),
    ),
    Ablation(
        "M3",
        "votes come from voters",
        (Change(Guard, "_is_voter", lambda self, peer: True),),
        Scene(test_guard.test_vote_of_one_node_counts_once_and_that_of_an_observer_never),
    ),
    Ablation(
        "M4",
        "a leader of an earlier term is not heard",
        (edited(Guard, "_is_heard", ("if term < self._raft.term:", "if False:")),),
        Scene(test_guard.test_older_term_is_told_so_and_changes_nothing),
    ),
    Ablation(
        "M4",
        "two leaders of one term stop the node",
        (edited(Guard, "_is_heard", ("if term == self._raft.term:", "if False:")),),
        Scene(test_guard.test_two_leaders_of_one_term_stop_the_node),
    ),
    Ablation(
        "M4",
        "terms within a message do not go back",
        (edited(Guard, "_keep", ("if not term <= entry_term <= append.term:", "if False:")),),
        Scene(test_guard.test_entries_whose_terms_go_back_or_ahead_of_the_leaders_stop_the_node),
    ),
    Ablation(
        "M4",
        "what stands before must be the same",
        (Change(Guard, "_mismatch", lambda self, append: 0),),
        Seeds("I2 log matching", ("isolate", "halves"), (4,), BUSY),
    ),
    Ablation(
        "M4",
        "a conflict is answered with the first entry of its term",
        (edited(Guard, "_mismatch", ("while previous - 1 > commit and", "while False and")),),
        Scene(test_guard.test_conflict_is_answered_with_the_first_entry_of_its_term_in_one_round),
    ),
    Ablation(
        "M4",
        "a leader that names a committed entry with another term stops the node",
        (edited(Guard, "_mismatch", ("if previous <= commit:", "if False:")),),
        Scene(
            test_guard.test_leader_that_contradicts_a_committed_entry_stops_the_node,
            {"previous": 3, "entries": [], "prev_term": 2},
        ),
    ),
    Ablation(
        "M4",
        "a committed entry is never cut",
        (edited(Guard, "_keep", ("if index <= self._raft.commit_index:", "if False:")),),
        Scene(
            test_guard.test_leader_that_contradicts_a_committed_entry_stops_the_node,
            {"previous": 2, "entries": [(2, b"other")], "prev_term": None},
        ),
    ),
    Ablation(
        "M4",
        "equal index and term with another content stop the node",
        (edited(Guard, "_mismatch", ("if held.crc != append.prev_crc:", "if False:")),),
        Scene(test_guard.test_same_term_and_another_content_stops_the_node),
    ),
    Ablation(
        "M4",
        "what agrees is kept",
        (Change(Guard, "_keep", _keep_nothing),),
        Seeds("I6 committed entry cut", ("reset", "flap"), (2, 1, 3), SLOW),
    ),
    Ablation(
        "M4",
        "commit never passes what is proven equal",
        (Change(Guard, "_on_append", _believe_commit),),
        Seeds("raised:BrokenCluster", ("isolate", "halves"), (5,), BUSY),
    ),
    Ablation(
        "M5",
        "a rejection from before counts no more",
        (edited(Sender, "on_ack", ("if ack.is_reject and ack.seq >= progress.fence:", "if ack.is_reject:")),),
        Scene(scenes.rejection_from_before_a_match_changes_nothing),
    ),
    Ablation(
        "M5",
        "the next entry to send never goes back by an older answer",
        (edited(Sender, "on_ack", ("max(progress.next_index, match + 1)", "match + 1")),),
        Scene(scenes.match_of_an_older_message_sends_nothing_twice),
    ),
    Ablation(
        "M5",
        "a follower that claims more than there is stops the leader",
        (edited(Sender, "on_ack", ("if match > self._journal.last.index:", "if False:")),),
        Scene(test_guard.test_answer_that_claims_more_than_the_log_holds_stops_the_node),
    ),
    Ablation(
        "M6",
        "a voter counts once in a term",
        (edited(Elections, "on_vote", ("if peer not in self._voted[1]:", "if True:")),),
        Scene(scenes.voter_who_answers_twice_does_not_elect),
    ),
    Ablation(
        "M6",
        "no vote while a leader is heard",
        (edited(Elections, "on_vote_request", ("and self.hears_leader and", "and False and")),),
        Scene(test_guard.test_vote_request_is_not_heard_while_a_leader_is_unless_that_leader_hands_over),
    ),
    Ablation(
        "M6 O3",
        "a node asks before it stands",
        (
            edited(
                Elections,
                "may_stand",
                ("if self._round and self._is_majority(self._granted | {self._node_id}):", "if True:"),
            ),
        ),
        Scene(scenes.node_whom_nobody_would_vote_for_does_not_stand),
    ),
    Ablation(
        "M6",
        "a round of questions is over when this node has voted",
        (
            edited(
                Elections, "may_stand", ("if is_waiting or self._round_term != self._raft.term:", "if False:")
            ),
        ),
        Scene(
            test_elections.test_what_was_answered_before_this_node_voted_lets_it_not_stand_against_that_vote
        ),
    ),
    Ablation(
        "M6",
        "whoever is granted goes first",
        (edited(Elections, "_give_way", ("self.postpone()", "pass")),),
        Scene(
            test_elections.test_survivors_of_a_leader_elect_the_next_one_in_one_term_on_slow_links,
            {"size": 3},
        ),
    ),
    Ablation(
        "M7",
        "an answer of a higher term deposes",
        (
            edited(
                Guard,
                "_is_answer",
                ("if term > self._raft.term and self._is_member(peer):", "if False:"),
            ),
        ),
        Scene(test_tq_elections.test_t18_a_leader_whose_term_is_over_gives_up_at_once),
    ),
    Ablation(
        "M7",
        "a deposed leader waits a whole time-out",
        (
            edited(Elections, "step_down", ("self.postpone()", "pass")),
            edited(RaftCore, "role_changed", ("self._elections.postpone()", "pass")),
        ),
        Scene(scenes.deposed_leader_waits_a_whole_timeout),
    ),
    Ablation(
        "M8",
        "a snapshot of what is committed is not taken",
        (edited(Guard, "_on_snapshot_chunk", ("if chunk.last_index <= commit:", "if False:")),),
        Scene(test_tq_replication.test_t20_a_snapshot_of_what_is_committed_changes_nothing),
    ),
    Ablation(
        "M8",
        "a piece of a snapshot commits nothing",
        (
            edited(
                Guard,
                "_on_snapshot_chunk",
                ("chunk.term, 0)", "chunk.term, self._journal.last.index)"),
            ),
        ),
        Scene(test_tq_replication.test_t22_a_deposed_leader_commits_nothing_on_the_first_piece_of_a_snapshot),
    ),
    Ablation(
        "M8",
        "the log stands still while a snapshot is installed",
        (edited(Guard, "_on_append", ("if self._snapshots_in.is_installing:", "if False:")),),
        Scene(scenes.log_stands_still_while_a_snapshot_is_installed),
    ),
    Ablation(
        "M8",
        "pieces of a snapshot follow each other",
        (edited(SnapshotReceiver, "on_chunk", ("chunk.offset == self._offset and", "")),),
        Scene(scenes.piece_of_a_snapshot_at_another_offset_is_not_kept),
    ),
    Ablation(
        "M9",
        "entries are taken by the leader only",
        (edited(Leading, "_refusal", ("if not self._raft.is_leader:", "if False:")),),
        Scene(test_core.test_followers_refuse_proposals_and_name_the_leader),
    ),
)
