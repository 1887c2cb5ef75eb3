"""What the bare library does with commands it cannot apply, and with those who wait for them."""

from __future__ import annotations

import pickle
from typing import Any

from tests.sim.reproductions.bare import (
    VERSION,
    Bare,
    ack,
    append,
    bare_library,
    chunk,
    command,
    dump_of,
)


def test_t5_a_command_that_cannot_be_applied_ends_heartbeats_for_good() -> None:
    answers: list[int] = []
    raised = 0
    with bare_library() as time:
        leader = time.elect("L", "FG", "F")
        leader.hear("F", ack(3))
        time.tick(leader)
        poison = pickle.dumps((0, (1, 2, 3, 4)), 2)
        leader._applyCommand(poison, lambda _, error: answers.append(error), 0)
        time.tick(leader)
        leader.hear("F", ack(4))
        leader.wire.out.clear()

        for _ in range(20):
            try:
                time.tick(leader, seconds=0.2)
            except TypeError:
                raised += 1

        assert raised == 20
        assert not [message for _, message in leader.wire.out if message["type"] == "append_entries"]
        assert not answers


def test_t6_an_entry_of_a_newer_version_has_the_ones_after_it_applied_twice() -> None:
    with bare_library() as time:
        follower = Bare("F", "LG")
        time.tick(follower)
        newer = VERSION + pickle.dumps(7, 2)

        follower.hear(
            "L",
            append(
                1, 1, 0, [(command("a"), 2, 1), (newer, 3, 1), (command("b"), 4, 1), (command("c"), 5, 1)], 5
            ),
        )
        time.tick(follower, 3)

        assert follower.data == ["a", "b", "c", "c"]


def test_t13_a_leader_whose_log_a_dump_replaces_never_answers_those_who_wait() -> None:
    answers: list[Any] = []
    with bare_library() as time:
        data, _ = dump_of(time, 30)
        leader = time.elect("L", "FG", "F")
        leader.put("x", callback=lambda result, error: answers.append((result, error)))
        time.tick(leader)

        leader.hear("G", chunk(5, 30, data, is_first=True, is_last=False))
        leader.hear("G", chunk(5, 30, b"", is_first=False, is_last=True))
        time.tick(leader, 5, seconds=0.05)

        assert not answers
        assert sum(map(len, leader.look("commandsWaitingCommit").values())) == 1


def test_t16_an_answer_to_the_process_before_the_restart_acknowledges_what_never_arrived() -> None:
    answers: list[tuple[Any, int]] = []
    with bare_library() as time:
        follower = Bare("F", "LG")
        follower.connect("L")
        time.tick(follower)
        follower.hear("L", append(1, 1, 0, [], 1))
        follower.put("never arrived", callback=lambda result, error: answers.append((result, error)))
        time.tick(follower)

        follower.hear("L", {"type": "apply_command_response", "request_id": 1, "log_idx": 2, "log_term": 1})
        follower.hear("L", append(1, 1, 0, [(command("of the process before"), 2, 1)], 2))
        time.tick(follower)

        assert answers == [("of the process before", 0)]
        assert "never arrived" not in follower.data
