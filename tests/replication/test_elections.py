"""Who stands for election, when, and whom it leaves the way to."""

from __future__ import annotations

import pytest

from tests.replication import rig
from tests.replication.rig import TIMES
from tests.replication.test_guard import ONES, Bench
from tq.broker.replication.messages import Message, PreVote, PreVoteRequest, Vote, VoteRequest

SLOW_SECONDS = 0.1
SEEDS = 10


def asked(sent: list[tuple[str, Message]]) -> list[str]:
    return [peer for peer, message in sent if isinstance(message, PreVoteRequest)]


@pytest.mark.parametrize("size", [3, 5])
def test_survivors_of_a_leader_elect_the_next_one_in_one_term_on_slow_links(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that stand while the question of the other is under way split the votes, term after term."""
    monkeypatch.setattr(rig, "DELAY", SLOW_SECONDS)
    terms = []
    for seed in range(SEEDS):
        cluster = rig.Rig(size, seed=seed)
        leader = cluster.elect()
        cluster.run(1.0)
        leader.crash()
        terms.append(cluster.elect().core.status.term - leader.core.status.term)

    assert terms == [1] * SEEDS


def test_of_two_that_ask_each_other_the_one_whose_log_holds_less_gives_way() -> None:
    for last_index, stands in ((5, True), (6, False)):
        bench = Bench(ONES)
        question = bench.ask()
        bench.hear("b", PreVoteRequest(1, 7, last_index, 1))

        sent = bench.hear("c", PreVote(1, question.round, True))

        assert any(isinstance(message, VoteRequest) for _, message in sent) is stands


def test_a_peer_that_asks_again_and_again_and_is_never_elected_holds_nobody_up() -> None:
    bench = Bench(ONES)
    bench.hear("b", PreVoteRequest(1, 7, 6, 1))
    due = bench.core.next_due
    bench.now = due - 0.01

    assert bench.hear("b", PreVoteRequest(1, 8, 6, 1)) == [("b", PreVote(1, 8, True))]

    assert bench.core.next_due == due


def test_what_was_answered_before_this_node_voted_lets_it_not_stand_against_that_vote() -> None:
    """It stood as soon as its time was up, against a leader that had just been elected and was still to be heard."""
    bench = Bench(ONES)
    question = bench.ask()
    assert ("c", Vote(2)) in bench.hear("c", VoteRequest(2, 5, 1, False))
    bench.hear("b", PreVote(1, question.round, True))

    assert bench.core.next_due >= bench.now + TIMES.election_min, (
        "it is not to be woken for a round that is over"
    )
    bench.now = bench.core.next_due
    assert asked(bench.turn()) == ["b", "c"]


def test_answer_to_the_first_question_of_a_round_counts_after_the_second_was_asked() -> None:
    """Where an answer took longer than the time to the next question, none ever counted, and nobody was elected."""
    bench = Bench(ONES)
    question = bench.ask()
    bench.now = bench.core.next_due
    assert asked(bench.turn()) == ["b", "c"]

    sent = bench.hear("b", PreVote(1, question.round, True))

    assert ("b", VoteRequest(2, 5, 1, False)) in sent
