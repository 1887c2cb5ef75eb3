"""When a node may stand for election.

Before it stands it asks the others whether they would vote for it (pre-vote, thesis 9.6); they say no while they hear
a leader. So a node that was cut off, paused or slow comes back without making anybody change (B1), and one that hears
only half of the cluster cannot raise the term for ever. A leader that hands over skips that: `stand_now`.

A round of questions is about one election. When the term is another, or this node has promised to wait (it voted, or
heard a leader), what was answered does not count any more: it would stand against whoever is being elected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tq.broker.replication.messages import PreVote, PreVoteRequest, TermNotice, Vote, VoteRequest
from tq.broker.replication.outbox import Outbox
from tq.broker.replication.overrides import Raft
from tq.broker.replication.ports import Chance, Monotonic, RaftJournal, RaftTimes

NEVER_HEARD = -1e18
DEADLINE_SLACK = 0.001
"""Seconds."""
ROUND_MAX = 2**40
ROUND_ASKS = 2
"""How often those who are silent are asked in a round, half a time-out apart. Answers to the first question count until
the round ends: where they take longer than half a time-out, nobody would ever be elected."""
SILENT_ELECTIONS = 2
"""A leader that was silent for so many of the longest time-outs is none that others are sent to."""


class Elections:
    """voters: the ids that count, this node's among them if it does."""

    def __init__(
        self,
        raft: Raft,
        journal: RaftJournal,
        outbox: Outbox,
        *,
        node_id: str,
        voters: Callable[[], tuple[str, ...]],
        clock: Monotonic,
        chance: Chance,
        times: RaftTimes,
    ) -> None:
        self._raft = raft
        self._journal = journal
        self._outbox = outbox
        self._node_id = node_id
        self._voters = voters
        self._clock = clock
        self._chance = chance
        self._times = times
        self._heard_at = NEVER_HEARD
        self._round = self._round_term = self._asked = 0
        self._asks_at = 0.0
        self._granted: set[str] = set()
        self._gave_way_in = -1
        self._voted: tuple[int, set[str]] = (0, set())
        self._stands_now = False
        self.is_transfer = False

    @property
    def hears_leader(self) -> bool:
        """Whether a leader spoke within the shortest election time-out; true of a leader itself."""
        return self._raft.is_leader or self._clock() - self._heard_at < self._times.election_min

    @property
    def leader(self) -> str:
        """Who leads, if it was heard of late; empty = nobody is known to.

        A node that cannot win a pre-vote keeps its term, and with it the library's leader, however long that is dead.
        """
        if (
            self._raft.is_leader
            or self._clock() - self._heard_at < SILENT_ELECTIONS * self._times.election_max
        ):
            return self._raft.leader
        return ""

    def heard(self) -> None:
        self._heard_at = self._clock()
        self._round = 0

    def postpone(self) -> None:
        """Give the leader a fresh time-out: after a step-down (B5), or when this process was late (B6)."""
        self._raft.deadline = self._clock() + self._raft.fresh_timeout()
        self._round = 0

    def stand_now(self) -> None:
        """The leader hands over to this node."""
        self._raft.deadline = NEVER_HEARD
        self._stands_now = True

    def next_due(self) -> float:
        if self._raft.is_leader or self._node_id not in self._voters():
            return float("inf")
        # The library wants the deadline to have passed, not only to have come.
        return self._asks_at if self._round else self._raft.deadline + DEADLINE_SLACK

    def may_stand(self) -> bool:
        """Whether to open the gate in this tick; begins a round of asking when it is time for one."""
        self.is_transfer = False
        if self._raft.is_leader or self._node_id not in self._voters():
            self._stands_now = False
            return False
        if self._stands_now:
            self._stands_now = False
            self.is_transfer = True
            return True
        now = self._clock()
        is_waiting = self._raft.deadline >= now
        if is_waiting or self._round_term != self._raft.term:
            self._round = 0
        if is_waiting:
            return False
        if self._round and self._is_majority(self._granted | {self._node_id}):
            self._round = 0
            return True
        if not self._round or now >= self._asks_at:
            self._ask(now)
        return self._is_majority({self._node_id})

    def _ask(self, now: float) -> None:
        if not self._round or self._asked == ROUND_ASKS:
            # A number at random: an answer to a question from before a restart must not count.
            self._round = 1 + int(self._chance() * ROUND_MAX)
            self._round_term = self._raft.term
            self._asked = 0
            self._granted = set()
        self._asked += 1
        self._asks_at = now + self._raft.fresh_timeout() / 2
        last = self._journal.last
        for peer in self._voters():
            if peer != self._node_id and peer not in self._granted:
                self._outbox.hold(peer, PreVoteRequest(self._raft.term, self._round, last.index, last.term))

    def library_sends(self, peer: str, message: dict[str, Any]) -> None:
        """The library asks for a vote, or gives one: the only things it says itself."""
        kind, term = message["type"], message["term"]
        if kind == "request_vote":
            last_index, last_term = message["last_log_index"], message["last_log_term"]
            self._outbox.hold(peer, VoteRequest(term, last_index, last_term, self.is_transfer))
        elif kind == "response_vote":
            self._outbox.hold(peer, Vote(term))
        else:
            raise AssertionError(f"the Raft library wanted to send {kind!r}")

    def on_pre_vote_request(self, peer: str, request: PreVoteRequest) -> None:
        """Answer whether this node would vote for the peer."""
        last = self._journal.last
        is_granted = (
            request.term >= self._raft.term
            and (request.last_term, request.last_index) >= (last.term, last.index)
            and not self.hears_leader
        )
        self._outbox.hold(peer, PreVote(self._raft.term, request.round, is_granted))
        if is_granted:
            self._give_way(peer, (request.last_term, request.last_index))

    def _give_way(self, peer: str, its_last: tuple[int, int]) -> None:
        """Let a peer that was granted go first: two that stand at once split the votes, and all wait once more.

        Of two that ask each other, the one whose log holds less, or else the greater name, gives way; once in a term,
        so that a peer that can ask and not be heard holds nobody up for longer than one time-out.
        """
        mine = (self._journal.last.term, self._journal.last.index)
        goes_first = self._round and mine == its_last and self._node_id < peer
        if not goes_first and self._gave_way_in != self._raft.term:
            self._gave_way_in = self._raft.term
            self.postpone()

    def on_pre_vote(self, peer: str, answer: PreVote) -> None:
        if self._round and answer.round == self._round and answer.is_granted:
            self._granted.add(peer)

    def on_vote_request(self, peer: str, request: VoteRequest) -> None:
        """M6: a lower term is told so; a higher one is not heard while a leader is, unless that leader hands over."""
        if request.term < self._raft.term:
            self._outbox.hold(peer, TermNotice(self._raft.term))
            return
        if request.term > self._raft.term and self.hears_leader and not request.is_transfer:
            return
        self._raft.deliver(
            peer,
            {
                "type": "request_vote",
                "term": request.term,
                "last_log_index": request.last_index,
                "last_log_term": request.last_term,
            },
        )

    def on_vote(self, peer: str, term: int) -> None:
        """One voter counts once in a term: the library counts answers (B3)."""
        if term != self._raft.term:
            return
        if self._voted[0] != term:
            self._voted = (term, set())
        if peer not in self._voted[1]:
            self._voted[1].add(peer)
            self._raft.deliver(peer, {"type": "response_vote", "term": term})

    def step_down(self, peer: str, term: int) -> None:
        """M7: take over a higher term, whatever message named it. A vote request that cannot win makes the library
        do so and keep it; replies alone would leave a leader that nobody follows in place (B2)."""
        self._raft.deliver(
            peer, {"type": "request_vote", "term": term, "last_log_index": -1, "last_log_term": -1}
        )
        self.postpone()

    def _is_majority(self, nodes: set[str]) -> bool:
        voters = self._voters()
        return 2 * sum(node in nodes for node in voters) > len(voters)
