"""Tables show what a person needs, whole, aligned, and without a client's markup or escape codes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tq.admin import tables
from tq.admin.layout import Grid, Lines, View, Word
from tq.admin.paint import painted
from tq.task import LIVE_STATES, STATUS_OF_STATE, Attempt, Cause, TaskView
from tq.verbs import BackedUp, Cluster, Health, Member, QueueStats, Stats, TaskPage, Workers, WorkerView

NOW_MS = 1_700_000_192_000
TASK_ID = bytes(range(16))
ID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def task(**fields: object) -> TaskView:
    plain = TaskView(
        TASK_ID, "echo", "mail", 3, "waits for a worker", 150, NOW_MS - 192_000, NOW_MS, 0, 300_000, 3, 1, ""
    )
    return plain._replace(**fields)  # type: ignore[arg-type]


def text_of(view: View, *, width: int = 200, is_terminal: bool = False) -> str:
    out = io.StringIO()
    Console(
        file=out,
        width=width,
        force_terminal=is_terminal,
        highlight=False,
        color_system="standard" if is_terminal else None,
    ).print(painted(view))
    return out.getvalue()


def test_a_list_shows_ids_in_full_even_where_the_screen_is_narrow() -> None:
    page = TaskPage((task(task_type="t" * 50),), 7, 100, 0, 42)

    shown = text_of(tables.of_page(page, NOW_MS), width=60)

    assert ID_TEXT in shown
    assert "1 of 7 tasks; the next page: --cursor 42" in shown


def test_a_list_shows_ages_and_why_tasks_wait() -> None:
    shown = text_of(tables.of_page(TaskPage((task(),), 1, 100, 0, 0), NOW_MS))
    assert "3m 12s" in shown
    assert "waits for a worker" in shown
    assert "--cursor" not in shown


def test_columns_are_aligned() -> None:
    lines = text_of([Grid(("A", ">N"), [("x", "1"), ("long", "1000")])]).splitlines()
    assert [line.rstrip() for line in lines] == ["A        N", "x        1", "long  1000"]


def test_colours_are_for_terminals_only() -> None:
    view = tables.of_health(Health("degraded", True, "n", 0, 0, "strict", ("the disk is slow",)))
    assert "\x1b[" not in text_of(view)
    assert "\x1b[" in text_of(view, is_terminal=True)
    assert "the disk is slow" in text_of(view)


@pytest.mark.parametrize("evil", ["[red]boo[/red]", "\x1b[2Jboo", "boo\nforged line", "\x9b31mboo", "‮boo"])
def test_a_clients_text_is_neither_markup_nor_escape_codes(evil: str) -> None:
    page = TaskPage((task(task_type=evil, queue=evil, state_reason=evil),), 1, 100, 0, 0)

    shown = text_of(tables.of_page(page, NOW_MS))

    assert shown.count("boo") == 3
    assert len(shown.splitlines()) == 4
    assert not {"\x1b", "\x9b", "‮"} & set(shown)
    assert "[red]" in shown or "red" not in evil


def test_a_task_shows_attempts_error_payload_and_result() -> None:
    attempts = (
        Attempt(1, "w1", 5, NOW_MS - 10_000, NOW_MS - 8_000, Cause.ERROR, "Traceback:\nValueError: no"),
        Attempt(2, "w2", 9, NOW_MS - 1_000),
    )
    view = tables.of_task(
        task(attempts=attempts, error="Traceback:\nValueError: no", payload=b'{"a":1}', result=b"\xff"),
        NOW_MS,
    )

    shown = text_of(view)

    for part in (
        "w1",
        "2s",
        "error",
        "ValueError: no",
        "runs",
        'payload, 7 B\n{\n  "a": 1\n}',
        "result, 1 B\nff",
    ):
        assert part in shown
    assert "unique key" not in shown


def test_every_status_a_task_can_have_has_a_colour() -> None:
    assert {STATUS_OF_STATE[state] for state in LIVE_STATES} <= set(tables.STYLES)
    assert set(STATUS_OF_STATE.values()) <= set(tables.STYLES)


def test_depths_are_bars_in_proportion() -> None:
    queues = (QueueStats("mail", 10, 0, 0, 0, 0, 0, 5), QueueStats("bulk", 5, 0, 0, 0, 0, 0, 5, paused=True))
    stats = Stats(15, *([0] * 13), 10, 5, 0, queues=queues)

    lines = text_of(tables.of_depths(stats)).splitlines()

    mail = next(line for line in lines if line.startswith("mail"))
    bulk = next(line for line in lines if line.startswith("bulk"))
    assert mail.count("█") == 2 * bulk.count("█") == 40
    assert bulk.rstrip().endswith("paused")


def test_stats_say_why_a_queue_does_not_move() -> None:
    queues = (QueueStats("mail", 10, 0, 0, 0, 0, 0, 5, True, "upgrade", ("resize",)),)
    shown = text_of(tables.of_stats(Stats(10, *([0] * 16), queues=queues)))
    assert "paused: upgrade; no worker serves resize" in shown


def test_no_workers_no_queues_and_no_tasks_are_said_in_words() -> None:
    assert "no worker is connected" in text_of(tables.of_workers(Workers(()), NOW_MS))
    assert "no queue has tasks" in text_of(tables.of_depths(Stats(*([0] * 17), queues=())))
    assert "0 of 0 tasks" in text_of(tables.of_page(TaskPage((), 0, 100, 0, 0), NOW_MS))
    assert "QUEUE" not in text_of(tables.of_stats(Stats(*([0] * 17), queues=())))


def test_workers_and_members_are_shown_with_what_matters() -> None:
    worker = WorkerView(
        "w1", TASK_ID, "h", 7, "0", "active", 4, ("a", "b"), ("t",), (TASK_ID,), 5, 1024**2, NOW_MS - 3_000, 1
    )
    assert all(
        word in text_of(tables.of_workers(Workers((worker,)), NOW_MS))
        for word in ("w1", "1/4", "a, b", "3s", "1.0 MB")
    )
    cluster = Cluster(
        (Member("n1", "h:1", "leader", 3, 10, 10, is_self=True), Member("n2", "h:2", "follower", 3, 9, 9, 1)),
        "h:1",
    )
    assert all(word in text_of(tables.of_cluster(cluster)) for word in ("n1 *", "leader", "n2"))
    assert "on the broker's disk" in text_of(tables.of_backup(BackedUp("/b", 1, 2048, 3)))


def test_a_word_and_lines_stand_by_themselves() -> None:
    assert text_of([Word("a"), Lines("b\tc")]).split() == ["a", "b", "c"]
