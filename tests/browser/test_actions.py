"""Every action of the dashboard does what it says, to the broker and not only to the page."""

from __future__ import annotations

import pytest

from tests.browser.site import Site, Tab, eventually, working
from tq import Task
from tq.errors import TaskNotFound

SLOWLY = 40
"""Dead letters of which one a second is retried, until it is stopped: far more than a slow browser lets through."""


def finished(tab: Tab, run: int = 1) -> int:
    """How many tasks the run that is shown has done, once it is done. run: which of this tab's."""
    panel = tab.find("progress").nth(run - 1)
    eventually(lambda: panel.get_attribute("data-state") == "done", "the run does not end")
    return int(panel.get_attribute("data-done") or -1)


def test_a_task_is_submitted_by_hand(tab: Tab, site: Site) -> None:
    tab.open("/tasks?queue=by-hand", "tasks")
    tab.find("submit").click()

    tab.confirm(task_type="nobody-serves", queue="by-hand", payload='{"a": 1}', priority="high")

    (task_id,) = eventually(lambda: tab.rows("tasks"), "the new task is not listed")
    task = site.client.get_task(task_id, with_payload=True)
    assert (task.view.task_type, task.view.queue, task.view.priority) == ("nobody-serves", "by-hand", 200)
    assert task.view.payload == b'{"a": 1}'


def test_a_waiting_task_is_cancelled_and_retried_from_its_page(tab: Tab, site: Site) -> None:
    task_id = site.client.submit_task("nobody-serves", queue="one")
    tab.open(f"/tasks/{task_id}", "task")

    tab.find("cancel").click()
    tab.confirm()
    tab.find("retry").wait_for()
    assert site.status(task_id) == "cancelled"

    tab.find("retry").click()
    tab.confirm(max_retries="7")
    tab.find("cancel").wait_for()
    task = site.client.get_task(task_id)
    assert (task.status, task.view.max_retries) == ("pending", 7)


def test_a_running_task_is_stopped(tab: Tab, site: Site) -> None:
    task_id = site.client.submit_task("sleep", b"600")
    site.wait_for_status("in_progress", task_id)
    tab.open(f"/tasks/{task_id}", "task")

    tab.find("cancel").click()
    tab.confirm()

    site.wait_for_status("cancelled", task_id)


def test_a_question_about_a_task_is_taken_back_once_the_task_has_ended(tab: Tab, site: Site) -> None:
    task_id = site.client.submit_task("echo", delay="1h")
    tab.open(f"/tasks/{task_id}", "task")
    tab.find("cancel").click()
    tab.page.locator("dialog[open]").wait_for()

    site.client.cancel_task(task_id)

    tab.page.locator("dialog").wait_for(state="detached")
    tab.find("toast").get_by_text("The task is cancelled now: nothing was done").wait_for()


def test_a_clone_carries_the_same_payload_and_waits_for_the_same_tasks(tab: Tab, site: Site) -> None:
    before = site.client.submit_task("nobody-serves", queue="before-the-clones")
    first = site.client.submit_task(
        "nobody-serves", b"\x00\xff\x01", queue="clones", priority=7, dependencies=[before]
    )
    tab.open(f"/tasks/{first}", "task")

    tab.find("clone").click()
    tab.confirm()

    eventually(lambda: site.client.list_tasks(queue="clones").total == 2, "there is no clone")
    clone = site.client.list_tasks(queue="clones").tasks[0]
    found = site.client.get_task(clone.task_id, with_payload=True).view
    assert clone.task_id != first
    assert (found.payload, found.priority) == (b"\x00\xff\x01", 7)
    assert site.ask("GET", f"/tasks/{clone.task_id}")["dependencies"] == [before]


def test_selected_tasks_are_cancelled_and_the_others_are_not(tab: Tab, site: Site) -> None:
    ids = site.client.submit_tasks([Task("nobody-serves", queue="some") for _ in range(3)])
    tab.open("/tasks?queue=some", "tasks")
    for task_id in ids[:2]:
        tab.row("tasks", task_id).locator("input[type=checkbox]").check()

    tab.find("bulk-bar").locator("[data-test=cancel]").click()
    tab.confirm()

    assert finished(tab) == 2
    assert [site.status(task_id) for task_id in ids] == ["cancelled", "cancelled", "pending"]


def test_all_that_match_are_changed_not_only_those_of_the_page(tab: Tab, site: Site) -> None:
    site.client.submit_tasks([Task("nobody-serves", queue="all") for _ in range(120)])
    tab.open("/tasks?queue=all", "tasks")
    tab.find("select-page").check()
    tab.find("select-all").click()

    tab.find("bulk-bar").locator("[data-test=cancel]").click()
    tab.confirm()

    assert finished(tab) == 120
    assert site.client.list_tasks(queue="all", status="pending").total == 0
    assert site.client.list_tasks(queue="all", status="cancelled").total == 120


def test_a_group_of_dead_letters_is_retried_with_more_retries_and_only_it(tab: Tab, site: Site) -> None:
    mine = [site.client.submit_task("fail", f"mine {n}".encode(), max_retries=0) for n in range(3)]
    other = site.client.submit_task("fail", b"theirs", max_retries=0)
    site.wait_for_status("dead_letter", *mine, other)
    tab.open("/dlq", "dlq")
    groups = site.ask("GET", "/dead-letters")["groups"]
    (group,) = [one["fingerprint"] for one in groups if "mine" in one["error"]]

    tab.row("groups", group).locator("[data-test=retry]").click()
    tab.confirm(max_retries="50")

    assert finished(tab) == 3
    assert {site.client.get_task(task_id).view.max_retries for task_id in mine} == {50}
    assert site.status(other) == "dead_letter"
    site.ask("POST", "/tasks/bulk/cancel", {"task_ids": mine, "force": True})


def test_a_retry_of_all_keeps_to_its_rate_and_can_be_stopped(tab: Tab, site: Site) -> None:
    ids = [site.client.submit_task("fail", b"slowly", max_retries=0, queue="rated") for _ in range(SLOWLY)]
    with working(site, "rated-worker", "--queues", "rated"):
        site.wait_for_status("dead_letter", *ids)
    tab.open("/dlq?queue=rated", "dlq")

    tab.find("retry-all").click()
    assert "cancelled" not in tab.find("bulk-retry").inner_text()
    tab.confirm(rate="1", max_retries="3")
    tab.page.locator("[data-test=progress][data-state=running]").wait_for()
    eventually(
        lambda: int(tab.find("progress").last.get_attribute("data-done") or 0) >= 2, "nothing was retried"
    )
    tab.find("stop").click()

    tab.page.locator("[data-test=progress][data-state=stopped]").wait_for()
    assert 1 < site.client.list_tasks(queue="rated", status="pending").total < SLOWLY


def test_a_group_of_dead_letters_is_deleted_and_one_of_another_is_retried_alone(tab: Tab, site: Site) -> None:
    gone = [site.client.submit_task("fail", f"gone {n}".encode(), max_retries=0) for n in range(2)]
    kept = [site.client.submit_task("fail", f"kept {n}".encode(), max_retries=0) for n in range(2)]
    site.wait_for_status("dead_letter", *gone, *kept)
    groups = site.ask("GET", "/dead-letters")["groups"]
    of = {word: one["fingerprint"] for one in groups for word in ("gone", "kept") if word in one["error"]}
    tab.open(f"/dlq?group={of['kept']}", "dlq")

    tab.row("groups", of["gone"]).locator("[data-test=delete]").click()
    tab.confirm(typed="2")
    assert finished(tab) == 2
    tab.row("groups", of["gone"]).wait_for(state="detached")
    with pytest.raises(TaskNotFound):
        site.client.get_task(gone[0])

    site.client.pause_queue("default")
    tab.row("dead", kept[0]).locator("[data-test=retry]").click()
    tab.confirm(max_retries="1")
    assert finished(tab, 2) == 1
    assert [site.status(task_id) for task_id in kept] == ["pending", "dead_letter"]
    site.client.cancel_task(kept[0])
    site.client.resume_queue("default")


def test_one_dead_letter_is_deleted_from_its_group(tab: Tab, site: Site) -> None:
    task_id = site.client.submit_task("fail", b"to be deleted", max_retries=0)
    site.wait_for_status("dead_letter", task_id)
    groups = site.ask("GET", "/dead-letters")["groups"]
    (group,) = [one["fingerprint"] for one in groups if "to be deleted" in one["error"]]
    tab.open(f"/dlq?group={group}", "dlq")

    tab.row("dead", task_id).locator("[data-test=delete]").click()
    tab.confirm()

    assert finished(tab) == 1
    with pytest.raises(TaskNotFound):
        site.client.get_task(task_id)


def test_a_queue_is_paused_with_a_reason_resumed_and_purged(tab: Tab, site: Site) -> None:
    site.client.submit_tasks([Task("nobody-serves", queue="door") for _ in range(4)])
    tab.open("/queues", "queues")
    row = tab.row("queues", "door")

    row.locator("[data-test=pause]").click()
    tab.confirm(reason="painting")
    row.get_by_text("painting").wait_for()
    (found,) = [one for one in site.ask("GET", "/queues")["queues"] if one["queue"] == "door"]
    assert (found["paused"], found["paused_reason"]) == (True, "painting")

    row.locator("[data-test=resume]").click()
    row.locator("[data-test=pause]").wait_for()

    row.locator("[data-test=purge]").click()
    confirm = tab.page.locator('dialog[open] [data-test="confirm"]')
    assert confirm.is_disabled()
    tab.page.locator('dialog[open] [name="typed"]').fill("doo")
    assert confirm.is_disabled()
    tab.confirm(typed="door")
    assert finished(tab) == 4
    assert site.client.list_tasks(queue="door").total == 0


def test_a_worker_is_drained_and_leaves_once_it_runs_nothing(tab: Tab, site: Site) -> None:
    with working(site, "leaver", "--queues", "leaving") as worker:
        task_id = site.client.submit_task("sleep", b"600", queue="leaving")
        site.wait_for_status("in_progress", task_id)
        tab.open("/workers", "workers")
        (session,) = [
            one["session_id"]
            for one in site.ask("GET", "/workers")["workers"]
            if one["worker_id"] == "leaver"
        ]

        tab.row("workers", session).locator("[data-test=drain]").click()
        tab.confirm()
        tab.row("workers", session).get_by_text("draining").first.wait_for()
        assert site.status(task_id) == "in_progress"

        site.client.cancel_task(task_id, force=True)
        assert worker.wait() == 0
    tab.row("workers", session).wait_for(state="detached")


def test_an_action_that_the_broker_refuses_says_why_and_changes_nothing(tab: Tab, site: Site) -> None:
    tab.may_fail = True
    tab.open("/tasks", "tasks")
    tab.find("submit").click()
    tab.page.locator('dialog[open] [name="task_type"]').fill("t")
    tab.page.locator('dialog[open] [name="priority"]').fill("300")

    tab.page.locator('dialog[open] [data-test="confirm"]').click()

    tab.find("problem").get_by_text("priority").wait_for()
    tab.page.keyboard.press("Escape")
    tab.page.locator("dialog[open]").wait_for(state="detached")


def test_a_queue_whose_name_cannot_be_seen_is_purged_by_typing_what_is_shown(tab: Tab, site: Site) -> None:
    name = " odd\u200b\u202e  name"
    task_id = site.client.submit_task("nobody-serves", queue=name)
    tab.open("/queues", "queues")
    shown = tab.row("queues", name).get_by_role("link").first.inner_text()
    assert shown == "\\u{20}odd\\u{200b}\\u{202e} \\u{20}name"

    tab.row("queues", name).locator("[data-test=purge]").click()
    assert f"Type {shown} to confirm" in tab.page.locator("dialog[open]").inner_text()
    tab.confirm(typed=shown)

    eventually(lambda: is_gone(site, task_id), "the queue was not purged")


def is_gone(site: Site, task_id: str) -> bool:
    try:
        site.client.get_task(task_id)
    except TaskNotFound:
        return True
    return False
