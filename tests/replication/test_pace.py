"""How fast a follower that is behind is brought up: gently beside those who work, flat out when somebody waits for it."""

from __future__ import annotations

from tests.replication.rig import Node, Rig
from tq.broker.replication.messages import APPEND_ENTRIES_MAX, Ack, Append, Message
from tq.broker.replication.pace import BEHIND_ENTRIES, REST_SECONDS_MAX

MISSED = 600


class Watched(Rig):
    """A cluster whose messages are kept with the time they were sent at."""

    def __init__(self) -> None:
        self.log: list[tuple[float, str, str, Message]] = []
        super().__init__(3)

    def send(self, source: str, target: str, message: Message) -> None:
        self.log.append((self.now, source, target, message))
        super().send(source, target, message)

    def fall_behind(self) -> tuple[Node, Node, Node]:
        """The leader, a follower that lacks MISSED committed entries and is connected again, and the other one."""
        leader = self.elect()
        far, other = (node for node in self.nodes.values() if node is not leader)
        self.isolate(far.name)
        for number in range(MISSED):
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
    while _lack(leader, far) > BEHIND_ENTRIES:
        rig.commit_on(leader, b"load")
    paced = rig.appends(far)
    assert max(len(message.entries) for _, message in paced[:-1]) <= 2 * BEHIND_ENTRIES
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
    rig.run_until(lambda: _lack(leader, far) <= 3 * BEHIND_ENTRIES, 5.0)
    assert len(leader.commands) > MISSED + 100, "the log did not grow"
