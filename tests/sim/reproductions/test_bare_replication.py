"""How the bare library replicates: what it forgets, miscounts and commits."""

from __future__ import annotations

from typing import Any

from pysyncobj.node import Node

from tests.sim.reproductions.bare import (
    NO_OP,
    Bare,
    ack,
    append,
    bare_library,
    chunk,
    command,
    dump_of,
    vote,
)

ENTRIES = [(command(index), index, 1) for index in range(2, 12)]


def test_t1_an_append_that_arrives_twice_cuts_off_what_was_acknowledged_after_it() -> None:
    with bare_library() as time:
        follower = Bare("F", "LG")
        time.tick(follower)
        follower.hear("L", append(1, 1, 0, ENTRIES, 1))
        assert follower.end == (11, 1)

        follower.hear("L", append(1, 1, 0, ENTRIES[:3], 1))

        assert follower.end == (4, 1)


def test_t1_an_old_heartbeat_cuts_off_what_was_acknowledged_after_it() -> None:
    with bare_library() as time:
        follower = Bare("F", "LG")
        time.tick(follower)
        follower.hear("L", append(1, 1, 0, ENTRIES, 1))

        follower.hear("L", append(1, 3, 1, [], 1))

        assert follower.end == (3, 1)


def test_t2_an_acknowledgement_of_an_earlier_term_commits_what_nobody_else_has() -> None:
    answers: list[tuple[Any, int]] = []
    with bare_library() as time:
        leader = time.elect("L", "FG", "F")
        leader.hear("G", append(2, 1, 0, [(NO_OP, 2, 2)], 2))
        time.tick(leader)
        time.tick(leader, seconds=2.0)
        leader.hear("G", vote(3))
        for item in range(5):
            leader.put(item, callback=lambda result, error: answers.append((result, error)))
        time.tick(leader)
        assert leader.raftCommitIndex == 2

        leader.hear("F", ack(9))
        time.tick(leader)

        assert leader.raftCommitIndex == 8
        assert answers == [(item, 0) for item in range(5)]


def test_t7_a_dump_that_cannot_be_read_is_acknowledged_and_commits_a_foreign_tail() -> None:
    with bare_library() as time:
        follower = Bare("F", "LG")
        time.tick(follower)
        follower.hear("L", append(1, 1, 0, [(command(i), i, 1) for i in range(2, 51)], 1))
        follower.wire.out.clear()

        follower.hear("G", chunk(2, 40, b"not a dump", is_first=True, is_last=False))
        follower.hear("G", chunk(2, 40, b"", is_first=False, is_last=True))

        [(_, answer)] = [sent for sent in follower.wire.out if sent[1]["type"] == "next_node_idx"]
        assert answer["success"]
        assert answer["next_node_idx"] == 51
        assert follower.raftCommitIndex == 40


def test_t17_a_command_as_long_as_a_batch_breaks_the_follower_that_receives_it() -> None:
    errors: list[str] = []
    with bare_library() as time:
        leader = time.elect("L", "FG", "F", appendEntriesBatchSizeBytes=1000)
        leader.hear("F", ack(3))
        time.tick(leader)
        leader._applyCommand(b"y" * 1998, None, 0)
        time.tick(leader)
        leader.wire.out.clear()
        time.tick(leader, seconds=0.2)
        follower = Bare("F", "LG")
        time.tick(follower)
        follower.hear("L", append(1, 1, 0, [(NO_OP, 2, 1)], 1))
        for peer, message in leader.wire.out:
            if peer == "F" and "transmission" in message:
                try:
                    follower.hear("L", message)
                except Exception as error:  # noqa: BLE001 - whatever unpickling half a command raises
                    errors.append(type(error).__name__)

        chunks = [message["transmission"] for _, message in leader.wire.out if "transmission" in message]
        assert chunks.count("finish") > chunks.count("start")
        assert errors


def test_t20_an_old_dump_rolls_the_state_back_and_discards_what_was_acknowledged_after_it() -> None:
    with bare_library() as time:
        data, donor = dump_of(time, 8)
        index, term = donor.end
        follower = Bare("F", "LG")
        time.tick(follower)
        entries = [(NO_OP, 2, term)] + [(command(i), i + 3, term) for i in range(20)]
        follower.hear("L", append(term, 1, 0, entries, 20))
        time.tick(follower)
        assert (follower.end, len(follower.data)) == ((22, term), 18)

        follower.hear("L", chunk(term, 20, data, is_first=True, is_last=False))
        follower.hear("L", chunk(term, 20, b"", is_first=False, is_last=True))

        assert (follower.end, len(follower.data)) == ((index, term), 8)


def test_t21_a_follower_that_needs_a_dump_while_one_is_written_is_flooded() -> None:
    with bare_library() as time:
        leader = time.elect("L", "FG", "F")
        leader.hear("F", ack(3))
        time.tick(leader)
        for item in range(10):
            leader.put(item)
        time.tick(leader)
        leader.hear("F", ack(13))
        time.tick(leader)
        leader.forceLogCompaction()
        time.tick(leader, 2)
        leader.look("raftNextIndex")[Node("G")] = 2
        leader.look("serializer")._Serializer__pid = -5
        leader.wire.out.clear()
        send = leader.wire.send

        def slow_send(node: Node, message: dict[str, Any]) -> bool:
            time.now += 2e-6
            return send(node, message)

        leader.wire.send = slow_send  # type: ignore[method-assign]
        leader.look("sendAppendEntries")()

        assert sum(peer == "G" and "serialized" in message for peer, message in leader.wire.out) > 10_000


def test_t22_a_deposed_leader_commits_and_acknowledges_its_own_tail_on_the_first_piece_of_a_dump() -> None:
    answers: list[tuple[Any, int]] = []
    with bare_library() as time:
        leader = time.elect("L", "FG", "F")
        leader.hear("F", ack(3))
        time.tick(leader)
        for item in range(5):
            leader.put(item, callback=lambda result, error: answers.append((result, error)))
        time.tick(leader)
        assert not answers

        leader.hear("G", chunk(9, 5_000, b"the first piece", is_first=True, is_last=False))
        time.tick(leader)

        assert answers == [(item, 0) for item in range(5)]


def test_t23_a_follower_with_a_tail_of_its_own_never_catches_up() -> None:
    with bare_library() as time:
        leader = time.elect("L", "FG", "G", appendEntriesBatchSizeBytes=1000)
        leader.hear("G", ack(3))
        time.tick(leader)
        for _ in range(60):
            leader._applyCommand(b"z" * 100, None, 1)
        time.tick(leader)
        follower = Bare("F", "LG")
        time.tick(follower)
        follower.hear("G", append(0, 1, 0, [(NO_OP, 2, 0), (NO_OP, 3, 0)], 1))

        for _ in range(50):
            leader.wire.out.clear()
            follower.wire.out.clear()
            time.tick(leader, seconds=0.15)
            for peer, message in list(leader.wire.out):
                if peer == "F":
                    follower.hear("L", message)
            for _, message in list(follower.wire.out):
                leader.hear("F", message)

        assert follower.end[0] == 3
        assert leader.end[0] > 60
