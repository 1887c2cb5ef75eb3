"""The scenes of `test_bare_replication`, played to the production core."""

from __future__ import annotations

from tests.sim.reproductions.lone import Lone, ack, append, chain, chunk
from tq.broker.replication.messages import APPEND_BYTES_MAX, Ack, Append, Beat, SnapshotAck
from tq.broker.replication.records import Link
from tq.errors import OutcomeUnknown

ENTRIES = [(1, b"%d" % number) for number in range(10)]
LINKS = chain(*ENTRIES)


def follower() -> Lone:
    """One that has acknowledged all of ENTRIES."""
    node = Lone("F", "LG")
    node.hear("L", append(1, 1, LINKS[0], ENTRIES))
    assert node.journal.last == LINKS[-1]
    return node


def test_t1_an_append_that_arrives_twice_cuts_nothing_off() -> None:
    node = follower()

    node.hear("L", append(1, 2, LINKS[0], ENTRIES[:3]))
    node.hear("L", append(1, 3, LINKS[2], []))
    node.hear("L", Beat(1, 4, 0))

    assert node.journal.last == LINKS[-1]


def test_t2_an_acknowledgement_of_an_earlier_term_commits_nothing() -> None:
    node = Lone("L", "FG")
    node.lead("F")
    first = node.core.status.term
    node.hear("G", append(first + 1, 1, node.journal.last, [(first + 1, b"G's")]))
    node.lead("G")
    ended = node.propose(b"mine")
    before = node.commit

    node.hear("F", ack(first, 1, node.journal.last.index + 1))

    assert node.commit == before
    assert not ended


def test_t7_a_snapshot_that_cannot_be_read_is_not_acknowledged_and_commits_nothing() -> None:
    node = Lone("F", "LG")
    node.hear("L", append(1, 1, LINKS[0], ENTRIES))
    node.out.clear()
    link = Link(40, 2, 7)

    node.hear("G", chunk(2, 1, link, b"right", b"wrong"))

    assert node.copies.installed is None
    assert not [answer for answer in node.sent(Ack) if answer.is_match]
    assert node.sent(SnapshotAck)[-1].offset == 0, "send it again"
    assert node.commit == 0


def test_t17_an_entry_larger_than_a_message_travels_whole() -> None:
    data = b"y" * (APPEND_BYTES_MAX + 1)
    node = Lone("L", "FG")
    node.lead("FG")
    node.out.clear()

    node.propose(data)

    assert [message.entries[0][1] == data for message in node.sent(Append)] == [True, True]


def test_t20_a_snapshot_of_what_is_committed_changes_nothing() -> None:
    node = Lone("F", "LG")
    node.hear("L", append(1, 1, LINKS[0], ENTRIES, commit=10))
    told = list(node.told)
    assert len(told) == 10

    node.hear("L", chunk(1, 2, LINKS[5], b"old", b"old"))

    assert (node.journal.last, node.told, node.copies.installed) == (LINKS[-1], told, None)
    assert node.sent(Ack)[-1].next_index == 11


def test_t21_a_follower_that_needs_a_snapshot_while_one_is_made_hears_heartbeats_only() -> None:
    node = Lone("L", "FG")
    node.lead("F")
    node.journal._trailing_entries = 1
    for number in range(10):
        node.propose(b"%d" % number)
        node.acknowledge("F")
    node.core.release(8)
    node.go()
    node.out.clear()

    node.wait(1.0)

    to_g = [message for peer, message in node.out if peer == "G"]
    assert 5 <= len(to_g) <= 30


def test_t22_a_deposed_leader_commits_nothing_on_the_first_piece_of_a_snapshot() -> None:
    node = Lone("L", "FG")
    node.lead("F")
    ended = [outcome for number in range(5) for outcome in [node.propose(b"%d" % number)]]
    before = node.commit

    node.hear("G", chunk(9, 1, Link(5_000, 9, 1), b"the whole of it", b"the fir"))
    node.hear("G", Beat(9, 2, 5_000))

    assert node.commit == before
    assert not any(ended), "nobody is told anything yet"
    node.wait(6.0)
    assert all(isinstance(outcome[0], OutcomeUnknown) for outcome in ended)


def test_t23_a_follower_with_a_tail_of_its_own_catches_up() -> None:
    leader = Lone("L", "FG")
    leader.lead("G")
    for number in range(60):
        leader.propose(b"z%d" % number)
        leader.acknowledge("G")
    node = Lone("F", "LG")
    tail = [(0, b"a"), (0, b"b"), (0, b"c")]
    node.hear("G", append(0, 1, LINKS[0], tail))
    assert node.journal.last.index == 3
    leader.core.connected("F", 2)
    node.out.clear()

    heard = answered = 0
    leader.out.clear()
    for _ in range(20):
        leader.wait(0.1)
        while heard < len(leader.out) or answered < len(node.out):
            for peer, message in leader.out[heard:]:
                heard += 1
                if peer == "F":
                    node.hear("L", message)
            for peer, message in node.out[answered:]:
                answered += 1
                if peer == "L":
                    leader.hear("F", message, epoch=2)
        leader.acknowledge("G")

    assert node.journal.last == leader.journal.last
