"""Every sequence of a few commands about two tasks and one worker, in entries of their own and in one."""

from __future__ import annotations

from itertools import product

import pytest

from tests.machine.harness import START_MS, Node, check_rows
from tests.machine.scenes import opening, past, spec, task_id
from tq.broker.machine.commands import (
    CancelTask,
    CloseSession,
    Command,
    ForgetTasks,
    ImportTasks,
    RetryTask,
    SettleTasks,
    SubmitTasks,
    Tick,
)
from tq.task import Cause
from tq.verbs import SettleItem

LENGTH = 4
LENGTH_IN_ONE = 3
SUBMIT_BOTH = SubmitTasks(
    (spec(1, unique_key="k", unique_ttl_ms=9), spec(2, dependencies=[1], expires_at_ms=START_MS + 9))
)
ALPHABET: dict[str, Command | None] = {
    "submit": SUBMIT_BOTH,
    "cancel": CancelTask(task_id(1), True),
    "retry": RetryTask(task_id(1), -1),
    "forget": ForgetTasks((task_id(1), task_id(2))),
    "import": ImportTasks((past(1), past(2, failures=1))),
    "close": CloseSession(b"w1", Cause.LEASE_LOST),
    "open": opening(),
    "done": None,
    "tick": Tick(),
}
"""None: settle all that is held, with the tokens of the moment."""


def command_of(node: Node, name: str) -> Command:
    command = ALPHABET[name]
    if command is not None:
        return command
    session = node.machine.state.sessions.get(b"w1")
    held = session.held.items() if session else ()
    return SettleTasks(b"w1", tuple(SettleItem(one, token, int(Cause.DONE)) for one, token in held))


def start() -> Node:
    node = Node()
    node.apply(1, START_MS, [opening(), SUBMIT_BOTH])
    return node


def walk(node: Node, index: int, names: tuple[str, ...]) -> None:
    """Go on from a node with every command, each on a node of its own restored from the rows."""
    for name in ALPHABET if len(names) < LENGTH else ():
        taken = (*names, name)
        try:
            branch = node.restart()
            branch.apply(index, START_MS + 4 * index, [command_of(branch, name)])
            check_rows(branch)
        except AssertionError as error:
            error.add_note(f"after {taken}")
            raise
        walk(branch, index + 1, taken)


@pytest.mark.timeout(600)
def test_every_sequence_of_entries_keeps_the_invariants_and_the_rows() -> None:
    walk(start(), 2, ())


def test_every_sequence_within_one_entry_keeps_the_invariants_and_the_rows() -> None:
    for names in product(ALPHABET, repeat=LENGTH_IN_ONE):
        node = start()
        try:
            node.apply(2, START_MS + 9, [command_of(node, name) for name in names])
            check_rows(node)
            node.restart()
        except AssertionError as error:
            error.add_note(f"in one entry: {names}")
            raise
