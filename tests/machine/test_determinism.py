"""One log, one state: whatever the hash seed, on whatever node, restarted at whatever point."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from tests.machine.harness import Node, said
from tests.machine.scenes import Scene, opening, past, spec, task_id
from tq.broker.engine.entries import unpack_entry
from tq.broker.machine.commands import (
    CODE_OF,
    CancelTask,
    ChangeCapacity,
    ClaimTasks,
    CloseSession,
    Command,
    DrainSessions,
    ExtendLeases,
    ForgetTasks,
    ImportTasks,
    OpenSession,
    RetryTask,
    SetPause,
    SettleTasks,
    SubmitTasks,
    Tick,
)
from tq.broker.machine.machine import Machine
from tq.broker.machine.restore import RESTORE_ORDER
from tq.broker.machine.state import TERMS_MAX, State
from tq.broker.tables import Table
from tq.task import ENDED_STATES, Cause
from tq.verbs import SettleItem


def busy_day(seed: int, entries: int = 150) -> Scene:
    """A broker that has seen everything, the same for the same seed."""
    rng = random.Random(seed)
    scene = Scene()
    scene.node.check_each = False
    for _ in range(entries):
        scene.now_ms += rng.choice((0, 1, 30, 900, 8_000, -500))
        scene.apply(*[_command(rng, scene) for _ in range(rng.choice((1, 1, 2, 4)))])
    return scene


def _command(rng: random.Random, scene: Scene) -> Command:
    state = scene.machine.state
    number, name = rng.randrange(60), rng.choice("abcdef")
    running = [head for head in state.heads.values() if head.hold]
    roll = rng.randrange(20)
    if roll < 7:
        depend = [rng.randrange(60)] if rng.random() < 0.3 else []
        fields = {
            "queue": rng.choice("xyz"),
            "priority": rng.choice((0, 150, 255)),
            "delay_ms": rng.choice((0, 0, 50)),
        }
        fields |= {"timeout_ms": rng.choice((1_000, 60_000)), "unique_key": rng.choice(("", "", "k"))}
        return SubmitTasks((spec(number, dependencies=depend, **fields), spec(number + 100, **fields)))
    if roll < 13 and running:
        head = rng.choice(running)
        assert head.hold is not None
        if roll == 7:
            return ExtendLeases(head.hold.session_id, ((head.task_id, head.hold.token, 500),))
        cause = rng.choice((0, 0, *map(int, Cause)))
        return SettleTasks(head.hold.session_id, (SettleItem(head.task_id, head.hold.token, cause),))
    others: list[Command] = [
        opening(name, rng.randrange(4), queues=tuple(rng.sample("xyz", 2))),
        opening(name, rng.randrange(4), queues=("x", "y", "z")),
        CloseSession(name.encode(), rng.choice((Cause.RELEASED, Cause.LEASE_LOST))),
        ChangeCapacity(name.encode(), rng.randrange(3)),
        ClaimTasks(name.encode(), rng.randrange(3)),
        CancelTask(task_id(number), True),
        RetryTask(task_id(number), -1),
        ForgetTasks((task_id(number), task_id(number + 100))),
        ImportTasks(
            (past(number, state=rng.choice(ENDED_STATES), queue=rng.choice("xyz"), failures=number % 3),)
        ),
        SetPause(rng.choice("xyz"), rng.random() < 0.3, "why"),
        Tick(),
        Tick(),
    ]
    return rng.choice(others)


@pytest.mark.parametrize("seed", range(3))
def test_same_log_gives_the_same_state_and_rows(seed: int) -> None:
    scene = busy_day(seed)

    again = scene.replay()

    assert again.machine.digest() == scene.machine.digest()
    assert again.rows.tables == scene.node.rows.tables


@pytest.mark.parametrize("seed", range(10, 14))
def test_node_restarted_at_any_point_goes_on_as_if_it_had_not(seed: int) -> None:
    scene = busy_day(seed)
    first = Node()
    first.check_each = False
    restarted: list[Node] = []
    for position, data in enumerate(scene.log):
        entry = unpack_entry(data)
        word = said(first.apply(position + 1, *entry))
        for node in restarted:
            assert said(node.apply(position + 1, *unpack_entry(data))) == word
            assert node.machine.digest() == first.machine.digest()
        if position % 10 == 0:
            restarted = [*restarted[-3:], first.restart()]
            restarted[-1].check_each = False


def test_digest_does_not_depend_on_the_hash_seed() -> None:
    program = "from tests.machine.test_determinism import busy_day; print(busy_day(7, 120).machine.digest())"
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]

    assert digests[0] == digests[1] != b""


def test_digest_tells_different_states_apart() -> None:
    first, second = Scene(), Scene()
    first.submit(spec(1))
    second.submit(spec(2))

    assert first.machine.digest() != second.machine.digest()


def test_numbers_of_commands_in_the_log_never_change() -> None:
    assert {
        SubmitTasks: 1,
        OpenSession: 2,
        CloseSession: 3,
        ChangeCapacity: 4,
        ClaimTasks: 5,
        SettleTasks: 6,
        ExtendLeases: 7,
        CancelTask: 8,
        RetryTask: 9,
        ForgetTasks: 10,
        SetPause: 11,
        Tick: 12,
        DrainSessions: 13,
        ImportTasks: 14,
    } == CODE_OF


def test_row_of_a_table_that_is_not_state_is_a_broken_invariant() -> None:
    assert Table.PAYLOAD not in RESTORE_ORDER
    machine = Machine(Node().rows)

    with pytest.raises(AssertionError, match="not part of the state"):
        machine.restore(Table.PAYLOAD, 1, b"")


def test_entries_go_forward_only() -> None:
    scene = Scene()
    scene.submit(spec(1))

    with pytest.raises(AssertionError, match="applied after"):
        scene.machine.apply(1, scene.now_ms, [])


def test_memory_of_terms_is_bounded_and_tasks_alike_share_theirs() -> None:
    scene = Scene()
    scene.node.check_each = False
    scene.submit(spec(1), spec(2))
    assert scene.head(1).terms is scene.head(2).terms

    scene.submit(*[spec(number + 10, timeout_ms=number + 1) for number in range(TERMS_MAX)])

    assert len(scene.machine.state._terms) <= TERMS_MAX
    assert scene.head(10).terms.timeout_ms == 1


def test_state_of_a_broken_machine_is_noticed() -> None:
    scene = Scene()
    scene.submit(spec(1))
    state: State = scene.machine.state
    state.totals[0] += 1

    with pytest.raises(AssertionError, match="totals"):
        scene.machine.check()
