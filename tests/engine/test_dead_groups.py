"""The groups of dead letters by themselves, over rows that come and go between two steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.engine.harness import FakePeer
from tq.broker.engine import dead_groups
from tq.broker.engine.dead_groups import DeadGroups
from tq.broker.engine.dead_rows import DeadRow
from tq.broker.machine.kinds import Kind
from tq.errors import TqError
from tq.verbs import DeadLetters, GroupDeadLetters, Reply

ROWS = [DeadRow(seq, bytes(16), 1, 1_000, "fatal: x", "fatal: x") for seq in (2, 1)]


class Rows:
    """`DeadRows` in memory, answered at once. left: what is there; surveyed: the kinds of each step of a survey."""

    def __init__(self, left: list[DeadRow]) -> None:
        self.left = left
        self.surveyed: list[list[int]] = []
        self.after_walk: Callable[[], None] = lambda: None

    def kinds(self, task_type: str, queue: str) -> tuple[list[int], int]:
        return ([1] if self.left else [], len(self.left))

    def walk(
        self, kinds: Sequence[int], cursor: int, take: Callable[[list[DeadRow] | TqError], bool], peer: object
    ) -> None:
        rows = list(self.left)
        self.after_walk()
        take(rows)

    def step(
        self, kinds: Sequence[int], cursor: int, done: Callable[[list[DeadRow] | TqError], None], peer: None
    ) -> None:
        self.surveyed.append(list(kinds))
        done([row for row in self.left if not cursor or row.seq < cursor])


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are a step, and as many as are looked at before the first answer."""
    monkeypatch.setattr(dead_groups, "STEP_ROWS", 2)
    monkeypatch.setattr(dead_groups, "QUICK_ROWS", 2)


def asked(groups: DeadGroups) -> DeadLetters:
    replies: list[Reply | TqError] = []
    groups.ask(FakePeer(), GroupDeadLetters(), replies.append)
    (reply,) = replies
    assert isinstance(reply, DeadLetters)
    return reply


def groups_over(rows: Rows) -> DeadGroups:
    kinds = {1: Kind(1, "default", "echo")}
    return DeadGroups(rows, kinds, lambda: 0, lambda seconds, then: then())  # type: ignore[arg-type]


def test_nothing_is_surveyed_when_all_have_gone_since_the_survey_whose_answer_is_told() -> None:
    rows = Rows(ROWS)
    groups = groups_over(rows)
    asked(groups)
    assert asked(groups).total == 2
    assert rows.surveyed
    rows.left, rows.surveyed = [], []

    assert asked(groups) == DeadLetters((), 0, 0)
    assert rows.surveyed == []

    rows.left = ROWS
    asked(groups)
    assert rows.surveyed, "what came later is surveyed again"


def test_nothing_is_surveyed_when_all_went_while_the_newest_were_looked_at() -> None:
    rows = Rows(ROWS)
    rows.after_walk = lambda: setattr(rows, "left", [])

    assert asked(groups_over(rows)).scanned == 2
    assert rows.surveyed == []
