"""Dead letters by what went wrong, and changes of many tasks at once."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.failing import fail
from tests.engine.harness import Engine, FakePeer, spec, with_engine
from tq.broker.engine import dead_groups, dead_letters, dead_rows
from tq.broker.engine.dead_rows import fingerprint_of
from tq.errors import BadRequest
from tq.ids import to_text
from tq.task import CANCELLED, COMPLETED, DEAD_LETTER, IN_PROGRESS, PENDING, SCHEDULED
from tq.verbs import (
    CancelMany,
    Changed,
    DeadLetters,
    ForgetMany,
    GroupDeadLetters,
    ListTasks,
    RetryMany,
    TaskPage,
)

WAIT_S = 60.0
WALK_STEPS_MAX = 10


async def groups(engine: Engine, request: GroupDeadLetters | None = None) -> DeadLetters:
    found = await engine.call(request or GroupDeadLetters())
    assert isinstance(found, DeadLetters)
    return found


async def total(engine: Engine, state: int) -> int:
    page = await engine.call(ListTasks(state=state, limit=1))
    assert isinstance(page, TaskPage)
    return page.total


# ---------------------------------------------------------------- groups of dead letters


def test_dead_letters_are_grouped_by_type_queue_and_error_without_what_varies() -> None:
    async def scenario(engine: Engine) -> None:
        ids = await fail(engine, *[spec() for _ in range(3)], error="host 10.0.0.{} is away")
        await fail(engine, spec(), error="disk full")
        found = await groups(engine)
        assert (found.total, found.scanned) == (4, 4)
        assert [(one.tasks, one.task_type, one.queue) for one in found.groups] == [
            (3, "echo", "default"),
            (1, "echo", "default"),
        ]
        away = found.groups[0]
        assert away.error == "fatal: host 10.0.0.2 is away"
        assert away.task_id == ids[2]
        assert 0 < away.first_ms <= away.last_ms
        page = await engine.call(ListTasks(fingerprint=away.fingerprint, limit=2))
        assert isinstance(page, TaskPage)
        assert [one.task_id for one in page.tasks] == ids[:0:-1]
        assert page.total == 3
        rest = await engine.call(ListTasks(fingerprint=away.fingerprint, limit=2, cursor=page.next_cursor))
        assert isinstance(rest, TaskPage)
        assert ([one.task_id for one in rest.tasks], rest.next_cursor) == ([ids[0]], 0)

    with_engine(scenario)


def test_groups_are_of_the_type_and_queue_that_was_asked_for() -> None:
    async def scenario(engine: Engine) -> None:
        await fail(engine, spec())
        for request in (GroupDeadLetters(task_type="other"), GroupDeadLetters(queue="other")):
            assert await groups(engine, request) == DeadLetters((), 0, 0)
        assert (await groups(engine, GroupDeadLetters("echo", "default"))).scanned == 1

    with_engine(scenario)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven are many: steps of two rows, four looked at before the first answer."""
    for module in (dead_letters, dead_groups, dead_rows):
        monkeypatch.setattr(module, "STEP_ROWS", 2)
    monkeypatch.setattr(dead_groups, "QUICK_ROWS", 4)
    monkeypatch.setattr(dead_letters, "SEARCHED_ROWS_MAX", 2)


async def surveyed(engine: Engine, scanned: int) -> DeadLetters:
    """The groups, once so many were looked at."""
    async with asyncio.timeout(WAIT_S):
        # Nobody is told when a survey is through: asking shows it.
        while (found := await groups(engine)).scanned != scanned:  # noqa: ASYNC110
            await asyncio.sleep(0)
    return found


async def walked(engine: Engine, request: RetryMany | ForgetMany) -> None:
    """The change made to all that match, step by step."""
    cursor = 0
    for _ in range(WALK_STEPS_MAX):
        step = await engine.call(request._replace(cursor=cursor))
        assert isinstance(step, Changed)
        cursor = step.next_cursor
        if not cursor:
            break


@pytest.mark.usefixtures("few")
def test_of_very_many_dead_letters_the_newest_are_told_at_once_and_all_after_a_while() -> None:
    async def scenario(engine: Engine) -> None:
        await fail(engine, *[spec() for _ in range(3)], error="rare")
        await fail(engine, *[spec() for _ in range(4)], error="usual")

        first = await groups(engine)
        assert (first.total, first.scanned) == (7, 4)
        assert [one.tasks for one in first.groups] == [4]

        found = await surveyed(engine, 7)
        assert found.total == 7
        assert [(one.tasks, one.error) for one in found.groups] == [(4, "fatal: usual"), (3, "fatal: rare")]

    with_engine(scenario)


@pytest.mark.usefixtures("few")
def test_what_leaves_while_all_are_looked_at_is_not_among_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("REST_S_MIN", "REST_S_MAX"):
        monkeypatch.setattr(dead_groups, bound, 0.2)

    async def scenario(engine: Engine) -> None:
        await fail(engine, *[spec() for _ in range(6)], error="rare")
        await fail(engine, *[spec() for _ in range(4)], error="usual")
        (usual,) = (await groups(engine)).groups  # and begins to look at all of them, with rests in between

        await walked(engine, ForgetMany(state=DEAD_LETTER, fingerprint=usual.fingerprint, limit=10))

        found = await surveyed(engine, 6)
        assert [(one.tasks, one.error) for one in found.groups] == [(6, "fatal: rare")]

    with_engine(scenario)


@pytest.mark.usefixtures("few")
def test_a_group_that_was_retried_or_forgotten_shrinks_at_once_and_the_total_is_as_of_now() -> None:
    async def scenario(engine: Engine) -> None:
        await fail(engine, *[spec() for _ in range(3)], error="rare")
        await fail(engine, *[spec() for _ in range(4)], error="usual")
        usual, rare = (await surveyed(engine, 7)).groups

        await walked(engine, RetryMany(state=DEAD_LETTER, fingerprint=rare.fingerprint, limit=10))
        found = await groups(engine)
        assert ([one.error for one in found.groups], found.total) == ([usual.error], 4)

        await engine.call(ForgetMany(state=DEAD_LETTER, fingerprint=usual.fingerprint, limit=1))
        found = await groups(engine)
        assert ([one.tasks for one in found.groups], found.total, found.scanned) == ([3], 3, 3)
        await engine.call(ForgetMany(state=DEAD_LETTER, limit=10))
        assert await groups(engine) == DeadLetters((), 0, 0)

    with_engine(scenario)


@pytest.mark.usefixtures("few")
def test_short_pages_of_a_group_lead_on_to_all_of_it() -> None:
    async def scenario(engine: Engine) -> None:
        ids = await fail(engine, *[spec() for _ in range(3)], error="rare")
        await fail(engine, *[spec() for _ in range(4)], error="usual")
        rare = fingerprint_of(1, "fatal: rare")
        seen: list[bytes] = []
        cursor = 0
        for _ in range(WALK_STEPS_MAX):
            page = await engine.call(ListTasks(fingerprint=rare, limit=10, cursor=cursor))
            assert isinstance(page, TaskPage)
            seen += [one.task_id for one in page.tasks]
            cursor = page.next_cursor
            if not cursor:
                break
        assert seen == ids[::-1]

    with_engine(scenario)


@pytest.mark.usefixtures("few")
def test_a_group_is_found_at_once_under_many_dead_letters_of_other_types() -> None:
    async def scenario(engine: Engine) -> None:
        rare = await fail(engine, *[spec() for _ in range(2)], error="rare")
        await fail(engine, *[spec("other") for _ in range(6)], error="usual")
        found = await surveyed(engine, 8)
        (group,) = [one.fingerprint for one in found.groups if one.task_type == "echo"]

        page = await engine.call(ListTasks(fingerprint=group, limit=10))

        assert isinstance(page, TaskPage)
        assert [one.task_id for one in page.tasks] == rare[::-1]

    with_engine(scenario)


def test_askers_at_one_time_share_the_looking() -> None:
    async def scenario(engine: Engine) -> None:
        await fail(engine, spec())
        found = await asyncio.gather(*(engine.begin(GroupDeadLetters(), FakePeer()) for _ in range(5)))
        assert len({id(one) for one in found}) == 1

    with_engine(scenario)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("no user 4711", "no user 12", True),
        ("no file '/a/b'", "no file '/c'", True),
        (f"task {to_text(bytes(16))} gone", f"task {to_text(b'x' * 16)} gone", True),
        ("at 0x7f00ab", "at 0x11ff", True),
        ("no user", "no group", False),
    ],
    ids=["numbers", "quotes", "uuids", "addresses", "words"],
)
def test_errors_are_alike_but_for_what_varies(one: str, other: str, alike: bool) -> None:
    assert (fingerprint_of(1, one) == fingerprint_of(1, other)) is alike
    assert fingerprint_of(1, one) != fingerprint_of(2, one)


# ---------------------------------------------------------------- many at once


def test_tasks_are_cancelled_by_id_and_what_cannot_be_is_skipped() -> None:
    async def scenario(engine: Engine) -> None:
        ids = await engine.submit(spec(), spec(), spec(delay_ms=1_000))
        await engine.call(CancelMany((ids[0],)))
        found = await engine.call(CancelMany((*ids, bytes(16))))
        assert found == Changed(2, 2, 0)
        assert await total(engine, CANCELLED) == 3

    with_engine(scenario)


def test_a_walk_cancels_all_that_match_step_by_step_and_ends() -> None:
    async def scenario(engine: Engine) -> None:
        await engine.submit(*[spec(queue="mail") for _ in range(5)], spec(queue="other"))
        steps = []
        cursor = 0
        for _ in range(10):
            step = await engine.call(CancelMany(queue="mail", limit=2, cursor=cursor))
            assert isinstance(step, Changed)
            steps.append((step.done, step.skipped))
            cursor = step.next_cursor
            if not cursor:
                break
        assert steps == [(2, 0), (2, 0), (1, 0)]
        assert (await total(engine, PENDING), await total(engine, CANCELLED)) == (1, 5)
        assert await engine.call(CancelMany(queue="nobody's")) == Changed(0, 0, 0)

    with_engine(scenario)


def test_running_tasks_are_cancelled_with_force_only() -> None:
    async def scenario(engine: Engine) -> None:
        worker = await engine.worker()
        await engine.submit(spec())
        await worker.delivered(1)
        assert await engine.call(CancelMany()) == Changed(0, 1, 0)
        assert await engine.call(CancelMany(state=IN_PROGRESS, force=True)) == Changed(1, 0, 0)

    with_engine(scenario)


def test_a_group_is_retried_with_more_retries_and_only_it() -> None:
    async def scenario(engine: Engine) -> None:
        mine = await fail(engine, spec(), spec(), error="mine {}")
        (other,) = await fail(engine, spec(), error="theirs")
        found = await groups(engine)
        (group,) = [one.fingerprint for one in found.groups if "mine" in one.error]
        step = await engine.call(RetryMany(fingerprint=group, max_retries=9))
        assert step == Changed(2, 0, 0)
        pending = await engine.call(ListTasks(state=PENDING))
        assert isinstance(pending, TaskPage)
        assert {(one.task_id, one.max_retries) for one in pending.tasks} == {(one, 9) for one in mine}
        assert await engine.call(RetryMany((*mine, other))) == Changed(1, 2, 0)

    with_engine(scenario)


def test_ended_tasks_are_forgotten_and_live_ones_are_not() -> None:
    async def scenario(engine: Engine) -> None:
        failed = await fail(engine, spec(), spec(), error="old")
        (live,) = await engine.submit(spec("nobody"))
        assert await engine.call(ForgetMany((failed[0], live))) == Changed(1, 1, 0)
        assert await engine.call(ForgetMany(state=DEAD_LETTER)) == Changed(1, 0, 0)
        assert await engine.call(ForgetMany()) == Changed(0, 0, 0)
        assert await total(engine, PENDING) == 1

    with_engine(scenario)


def test_a_status_that_the_change_is_not_for_is_refused() -> None:
    async def scenario(engine: Engine) -> None:
        for request in (CancelMany(state=COMPLETED), RetryMany(state=PENDING), ForgetMany(state=SCHEDULED)):
            with pytest.raises(BadRequest):
                await engine.call(request)

    with_engine(scenario)
