"""Who may do what, at every door: each verb, with no key, a wrong one, each permission alone, and all of them."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.access.doors import CALLS, DOORS, UNARY, WORK_PARTS, Recorder, Verb, behind
from tests.access.keyring import key, keyring
from tests.access.samples import SAMPLES
from tests.doors.serving import run
from tq.broker.access import PERMISSION_OF, Permission
from tq.verbs import (
    AddNode,
    Backup,
    Cancel,
    CancelMany,
    Claim,
    Deregister,
    DrainWorker,
    Extend,
    ForgetMany,
    GetCluster,
    GetHealth,
    GetSeries,
    GetStats,
    GetTask,
    GroupDeadLetters,
    Heartbeat,
    Import,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    PauseQueue,
    Ping,
    Purge,
    Register,
    RemoveNode,
    Request,
    ResumeQueue,
    Retry,
    RetryMany,
    SetCapacity,
    Settle,
    Submit,
    TransferLeadership,
    Watch,
)

VERBS: frozenset[Verb] = frozenset(get_args(Request))

RULES: dict[str, frozenset[Verb]] = {
    "submit_tasks": frozenset({Submit, Retry, RetryMany}),
    "read_tasks": frozenset(
        {
            GetTask,
            Watch,
            ListTasks,
            GetStats,
            ListWorkers,
            GetCluster,
            GetSeries,
            ListQueues,
            ListFailures,
            GroupDeadLetters,
        }
    ),
    "cancel_tasks": frozenset({Cancel, CancelMany}),
    "work_tasks": frozenset({Register, Heartbeat, SetCapacity, Claim, Settle, Extend, Deregister}),
    "admin": frozenset(
        {
            Purge,
            PauseQueue,
            ResumeQueue,
            Backup,
            AddNode,
            RemoveNode,
            TransferLeadership,
            DrainWorker,
            ForgetMany,
            Import,
        }
    ),
    "": frozenset({Ping, GetHealth}),
}
"""permission -> what it alone opens; empty = what any key may. Written down here a second time on purpose."""

WITHOUT_A_KEY = {"rest": frozenset({Ping, GetHealth})}
"""door -> what it answers to those who give no key or a wrong one: load balancers have none"""

NO_KEY, WRONG_KEY = None, "not-a-key"
HOLDERS: dict[str, str | None] = {
    "no key": NO_KEY,
    "a wrong key": WRONG_KEY,
    **{str(permission): f"token-of-{permission}" for permission in Permission},
}
CASES = [
    pytest.param(name, verb, id=f"{name}-{verb.__name__}")
    for name, door in DOORS.items()
    for verb in sorted(VERBS - door.lacks, key=lambda verb: verb.__name__)
]


def test_every_verb_has_one_rule_here_and_the_same_in_the_broker() -> None:
    assert sum(len(verbs) for verbs in RULES.values()) == len(VERBS)
    assert {verb: word or None for word, verbs in RULES.items() for verb in verbs} == PERMISSION_OF


def test_every_verb_has_a_sample() -> None:
    assert SAMPLES.keys() == VERBS


@pytest.mark.parametrize("name", DOORS)
def test_every_verb_is_sent_through_the_door_or_said_to_be_absent(name: str) -> None:
    sent = {
        "tcp": VERBS,
        "rest": frozenset(CALLS) | {Ping, Watch},
        "grpc": frozenset(UNARY) | frozenset(WORK_PARTS),
    }

    assert sent[name] == VERBS - DOORS[name].lacks


@pytest.mark.parametrize(("name", "verb"), CASES)
def test_a_verb_passes_with_its_permission_and_with_no_other(name: str, verb: Verb) -> None:
    async def scenario() -> None:
        keys = [key(permission, f"token-of-{permission}", [permission]) for permission in Permission]
        recorder, found = Recorder(), dict[str, str]()
        async with DOORS[name].open(behind(keyring(*keys), recorder)) as opened:
            for holder, token in HOLDERS.items():
                recorder.seen.clear()
                code = await opened.send(verb, token)
                is_refused = code in ("AUTHENTICATION_FAILED", "PERMISSION_DENIED")
                assert not (is_refused and recorder.seen), f"{holder} was refused, and got through"
                found[holder] = code if is_refused else "passes"

        assert found == {holder: expected(name, verb, holder) for holder in HOLDERS}

    run(scenario())


def expected(name: str, verb: Verb, holder: str) -> str:
    if holder in ("no key", "a wrong key"):
        return "passes" if verb in WITHOUT_A_KEY.get(name, ()) else "AUTHENTICATION_FAILED"
    return "passes" if verb in RULES[""] | RULES[holder] or holder == "admin" else "PERMISSION_DENIED"
