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
DEEP_S_MAX, DEEP_LOOKS = 3.0, 2
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
    assert "All 120 sorted by priority; sorted anew every 15 s" in tab.find("order-note").inner_text()

    tab.page.locator("select[name=sort]").select_option("created")
    tab.row("tasks", ids[0]).wait_for()
    assert tab.rows("tasks") == ids[:PAGE]


def test_an_order_over_too_many_tasks_says_how_far_it_reaches(tab: Tab, site: Site) -> None:
    site.client.submit_tasks([Task("unserved", queue="many", priority=n % 256) for n in range(SORTED_MAX)])
    newest = site.client.submit_tasks([Task("unserved", queue="many", priority=n) for n in (7, 9, 8)])

    tab.open("/tasks?queue=many&sort=-priority", "tasks")

    assert "within this page" in tab.find("order-note").inner_text()
    assert tab.rows("tasks")[-3:] == [newest[1], newest[2], newest[0]]


@pytest.mark.parametrize(
    ("page", "query", "named"),
    [
        ("tasks", "status=garbage", "status “garbage” is none of pending"),
        ("tasks", "status=pending&status=failed", "status is given 2 times"),
        ("tasks", "queue=" + "q" * 300, "is longer than 255 characters"),
        ("tasks", "cursor=garbage", "is no place in the list"),
        ("tasks", "sort=constructor", "sort “constructor” is none of -created"),
        ("tasks", "type=x", "“type” is not known here; known are status, task_type, queue"),
        ("tasks", "page=-5", "“page” is not known here"),
        ("dlq", "group=zzz", "group “zzz” is no group"),
        ("dlq", "cursor=0", "is no place in the list"),
    ],
    ids=range(9),
)
def test_what_an_address_asks_for_and_cannot_be_is_named_beside_the_filters_and_nothing_is_listed(
    tab: Tab, site: Site, page: str, query: str, named: str
) -> None:
    site.client.submit_task("unserved", queue="odd")

    tab.open(f"/{page}?{query}", page)

    assert named in tab.find("notice-asked").inner_text()
    assert tab.page.locator(".filters input[name=queue]").count() == 1
    assert tab.page.locator("main table").count() == 0
    tab.find("clear-asked").click()
    tab.find("match-count").wait_for()
    assert tab.page.url == f"{tab.origin}/{page}"


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
    flat = site.client.submit_task("unserved", b"[" + b"1," * levels + b"1]", queue="deep")

    def shown(task: str) -> tuple[str, float]:
        """Its payload without blanks, and the seconds it took to see it."""
        tab.open("/queues", "queues")
        began = monotonic()
        tab.open(f"/tasks/{task}", "task")
        text = tab.find("payload").locator("pre").text_content()
        return "".join((text or "").split()), monotonic() - began

    # The best of some: what a browser takes that has to wait for a processor says nothing.
    looks = [(shown(task_id), shown(flat)) for _ in range(DEEP_LOOKS)]
    assert {text for (text, _), _ in looks} == {"[" * levels + "]" * levels}
    assert min(deep for (_, deep), _ in looks) < DEEP_S_MAX + min(usual for _, (_, usual) in looks)
