"""The task list: its orders reach as far as they say, and what is chosen in it is what is changed."""

from __future__ import annotations

from random import Random
from time import monotonic

import pytest

from tests.browser.site import Site, Tab
from tests.browser.test_actions import finished
from tq import Task
from tq.errors import TaskNotFound

PAGE = 50
SORTED_MAX = 1_000
SEED = 20261122
DEEP_S_MAX = 3.0
"""On a busy machine; indented as deep as it is, three thousand levels took six."""


def test_any_column_sorts_over_all_that_match_not_only_the_page(tab: Tab, site: Site) -> None:
    priorities = list(range(120))
    Random(SEED).shuffle(priorities)
    ids = site.client.submit_tasks([Task("unserved", queue="sorted", priority=one) for one in priorities])
    highest_first = [ids[priorities.index(one)] for one in sorted(priorities, reverse=True)]

    tab.open("/tasks?queue=sorted", "tasks")
    tab.page.get_by_role("columnheader", name="Priority").get_by_role("button").click()
    tab.row("tasks", highest_first[0]).wait_for()
    assert "sort=-priority" in tab.page.url
    assert tab.rows("tasks") == highest_first[:PAGE]

    tab.find("next").click()
    tab.row("tasks", highest_first[PAGE]).wait_for()
    tab.page.reload()
    tab.shown("tasks")
    assert tab.rows("tasks") == highest_first[PAGE : 2 * PAGE]
    assert tab.find("order-note").count() == 0

    tab.page.locator("select[name=sort]").select_option("created")
    tab.row("tasks", ids[0]).wait_for()
    assert tab.rows("tasks") == ids[:PAGE]


def test_an_order_over_too_many_tasks_says_how_far_it_reaches(tab: Tab, site: Site) -> None:
    site.client.submit_tasks([Task("unserved", queue="many", priority=n % 256) for n in range(SORTED_MAX)])
    newest = site.client.submit_tasks([Task("unserved", queue="many", priority=n) for n in (7, 9, 8)])

    tab.open("/tasks?queue=many&sort=-priority", "tasks")

    assert "within this page" in tab.find("order-note").inner_text()
    assert tab.rows("tasks")[-3:] == [newest[1], newest[2], newest[0]]


def test_an_order_that_is_none_is_the_usual_one(tab: Tab, site: Site) -> None:
    ids = site.client.submit_tasks([Task("unserved", queue="odd") for _ in range(3)])

    for sort in ("constructor", "-", "nonsense"):
        tab.open(f"/tasks?queue=odd&sort={sort}", "tasks")
        assert tab.rows("tasks") == ids[::-1]


def test_selected_tasks_are_retried_and_all_that_match_are_deleted_once_the_count_was_typed(
    tab: Tab, site: Site
) -> None:
    ids = site.client.submit_tasks([Task("unserved", queue="ended") for _ in range(60)])
    site.ask("POST", "/tasks/bulk/cancel", {"task_ids": ids})
    tab.open("/tasks?queue=ended&status=cancelled", "tasks")
    tab.row("tasks", ids[-1]).locator("input[type=checkbox]").check()

    tab.find("bulk-bar").locator("[data-test=retry]").click()
    tab.confirm()
    assert finished(tab) == 1
    assert site.status(ids[-1]) == "pending"
    tab.row("tasks", ids[-1]).wait_for(state="detached")

    tab.find("select-page").check()
    tab.find("select-all").click()
    tab.find("bulk-bar").locator("[data-test=delete]").click()
    assert tab.page.locator('dialog[open] [data-test="confirm"]').is_disabled()
    tab.confirm(typed="59")
    assert finished(tab, 2) == 59
    with pytest.raises(TaskNotFound):
        site.client.get_task(ids[0])
    assert site.status(ids[-1]) == "pending"


def test_a_long_payload_is_fetched_when_asked_for_and_shown_in_part(tab: Tab, site: Site) -> None:
    data = bytes(range(256)) * 400
    task_id = site.client.submit_task("unserved", data, queue="long")

    tab.open(f"/tasks/{task_id}", "task")
    assert "100 KB" in tab.find("payload").inner_text()
    assert tab.find("payload").get_attribute("data-form") is None
    tab.find("load-payload").click()

    tab.page.locator('[data-test=payload][data-form="hex"]').wait_for()
    text = tab.find("payload").inner_text()
    assert "000010  10 11 12 13" in text
    assert "000ff0  f0 f1" in text
    assert "001000" not in text
    assert "The first 4,096 of 102,400 bytes" in text


def test_a_payload_is_read_as_json_as_text_and_as_hex(tab: Tab, site: Site) -> None:
    task_id = site.client.submit_task("unserved", b'{"a":[1,2]}', queue="forms")
    tab.open(f"/tasks/{task_id}", "task")

    shown = {}
    for form in ("json", "text", "hex"):
        tab.find(f"as-{form}").click()
        tab.page.locator(f'[data-test=payload][data-form="{form}"]').wait_for()
        shown[form] = tab.find("payload").locator("pre").inner_text()

    assert shown["json"] == '{"a": [1, 2]}'
    assert shown["text"] == '{"a":[1,2]}'
    assert shown["hex"].startswith("000000  7b 22 61 22")


@pytest.mark.parametrize("levels", [3_000, 30_000])
def test_a_deeply_nested_payload_is_shown_as_soon_as_any_other(tab: Tab, site: Site, levels: int) -> None:
    task_id = site.client.submit_task("unserved", b"[" * levels + b"]" * levels, queue="deep")
    tab.open("/queues", "queues")

    began = monotonic()
    tab.open(f"/tasks/{task_id}", "task")
    text = tab.find("payload").locator("pre").text_content()

    assert "".join((text or "").split()) == "[" * levels + "]" * levels
    assert monotonic() - began < DEEP_S_MAX
