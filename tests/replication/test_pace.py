"""How fast a follower that is behind is brought up: gently beside those who work, flat out when somebody waits for it."""

from __future__ import annotations

import copy

import pytest

from tests.replication.rig import TIMES, Node, Rig
from tq.broker.replication.messages import APPEND_ENTRIES_MAX, Ack, Append, Beat, Message
from tq.broker.replication.pace import PACED_ENTRIES, REST_SECONDS_MAX

MISSED = 1_000
LARGE = b"x" * 600_000


class Watched(Rig):
    """A cluster whose messages are kept with the time they were sent at."""

    def __init__(self) -> None:
        self.log: list[tuple[float, str, str, Message]] = []
        super().__init__(3)

    def send(self, source: str, target: str, message: Message) -> None:
        self.log.append((self.now, source, target, message))
        super().send(source, target, message)

    def fall_behind(self, missed: int = MISSED) -> tuple[Node, Node, Node]:
        """The leader, a follower that lacks so many committed entries and is connected again, and the other one."""
        leader = self.elect()
        far, other = (node for node in self.nodes.values() if node is not leader)
        self.isolate(far.name)
        for number in range(missed):
            self.commit_on(leader, b"%d" % number)
        self.log.clear()
        self.heal()
        return leader, far, other

    def appends(self, far: Node) -> list[tuple[float, Append]]:
        """Messages that brought entries to it."""
        return [
            (at, message)
            for at, _, target, message in self.log
            if target == far.name and isinstance(message, Append) and message.entries
        ]


def _lack(leader: Node, far: Node) -> int:
    return leader.journal.last.index - far.journal.last.index


def test_follower_that_is_behind_gets_few_entries_at_once_and_rests_while_others_commit() -> None:
    rig = Watched()
    leader, far, _ = rig.fall_behind()
    while _lack(leader, far) > APPEND_ENTRIES_MAX + 4 * PACED_ENTRIES:
        rig.commit_on(leader, b"load")
    paced = rig.appends(far)
    assert len(paced) > 10
    assert max(len(message.entries) for _, message in paced) <= 2 * PACED_ENTRIES
    answers = [at for at, source, _, message in rig.log if source == far.name and isinstance(message, Ack)]
    for (before, _), (after, message) in zip(paced, paced[1:], strict=False):
        answered = min(at for at in answers if at > before)
        assert after - answered >= min(answered - before, REST_SECONDS_MAX), f"no rest before {message.seq}"


def test_follower_that_is_behind_gets_all_it_can_take_when_nothing_is_committed() -> None:
    rig = Watched()
    leader, far, _ = rig.fall_behind()
    rig.run_until(lambda: not _lack(leader, far))
    assert max(len(message.entries) for _, message in rig.appends(far)) == APPEND_ENTRIES_MAX


def test_follower_that_everybody_waits_for_gets_all_it_can_take() -> None:
    rig = Watched()
    leader, far, other = rig.fall_behind()
    other.crash()
    outcome = rig.propose(b"waits", leader)
    rig.run_until(lambda: bool(outcome), 1.0)
    assert isinstance(outcome[0], int), outcome
    assert max(len(message.entries) for _, message in rig.appends(far)) == APPEND_ENTRIES_MAX


def test_follower_that_is_behind_catches_up_however_fast_the_log_grows() -> None:
    rig = Watched()
    leader, far, _ = rig.fall_behind()

    def load() -> None:
        for number in range(10):
            leader.core.propose(b"more %d" % number, lambda _: None)
        leader.poke()
        rig.after(0.001, load)

    load()
    rig.run_until(lambda: _lack(leader, far) <= 3 * PACED_ENTRIES, 5.0)
    assert len(leader.commands) > MISSED + 100, "the log did not grow"


def test_follower_that_is_behind_catches_up_with_entries_of_which_a_message_holds_one() -> None:
    rig = Watched()
    leader = rig.elect()
    far = next(node for node in rig.nodes.values() if node is not leader)
    rig.isolate(far.name)
    for _ in range(APPEND_ENTRIES_MAX + 20):
        rig.commit_on(leader, LARGE)
    rig.heal()
    lack = _lack(leader, far)

    def go_on(_: object = None) -> None:
        rig.after(0, lambda: (leader.core.propose(LARGE, go_on), leader.poke()))

    go_on()
    rig.run(0.4)
    assert _lack(leader, far) <= lack + 3


def test_rest_is_over_in_time_although_nothing_else_happens() -> None:
    rig = Watched()
    leader, far, _ = rig.fall_behind()
    rig.commit_on(leader, b"load")
    rig.run(TIMES.heartbeat * 0.9)
    times = [at for at, _ in rig.appends(far)]
    assert len(times) > 5
    assert max(after - before for before, after in zip(times, times[1:], strict=False)) < REST_SECONDS_MAX


def test_reads_are_confirmed_in_a_rest() -> None:
    rig = Watched()
    leader, far, _ = rig.fall_behind()
    rig.commit_on(leader, b"load")
    progress = leader.core._sender.peers[far.name]
    rig.run_until(lambda: progress.pace.is_resting(rig.now))
    start = rig.now
    leader.core.read_index(lambda _: None)
    leader.poke()
    assert (start, far.name, True) in [
        (at, target, isinstance(message, Beat)) for at, _, target, message in rig.log
    ]


@pytest.mark.parametrize("lacks", [250, 2_000])
def test_commit_that_waits_for_a_follower_that_is_behind_does_not_wait_for_its_rests(lacks: int) -> None:
    rig = Watched()
    leader, _, other = rig.fall_behind(lacks)
    rig.commit_on(leader, b"load")
    other.crash()
    start = rig.now
    rig.commit_on(leader, b"waits")
    assert rig.now - start < 0.03


def test_leader_does_not_spin_when_a_follower_that_is_behind_comes_back_with_an_older_disk() -> None:
    rig = Watched()
    leader = rig.elect()
    far = next(node for node in rig.nodes.values() if node is not leader)
    old = copy.deepcopy(far.journal)
    rig.commit_on(leader, b"acknowledged by it")
    rig.run(0.3)
    far.crash()
    for number in range(MISSED):
        rig.commit_on(leader, b"%d" % number)
    far.journal = old
    steps: list[float] = []
    step = leader.core.step

    def counted() -> bool:
        steps.append(rig.now)
        assert steps.count(rig.now) < 1_000, f"{leader.core.next_due} is due, and it is {rig.now}"
        return step()

    leader.core.step = counted  # type: ignore[method-assign]
    far.start()
    for number in range(20):
        rig.commit_on(leader, b"more %d" % number)
    rig.run(0.3)
    assert leader.core._sender.peers[far.name].is_short
    assert leader.core.next_due > rig.now


def test_follower_that_is_behind_and_slow_to_answer_gets_more_at_once() -> None:
    rig = Watched()
    leader, far, _ = rig.fall_behind()
    far.sync_seconds = 0.05
    while len(rig.appends(far)) < 4:
        rig.commit_on(leader, b"load")
    assert len(rig.appends(far)[-1][1].entries) >= 3 * PACED_ENTRIES
