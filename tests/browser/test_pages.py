"""Every page shows what the broker holds, at an address that can be shared and reloaded."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser

from tests.browser.site import WORKER, Site, Tab, eventually
from tq import Task

PAGES = ("overview", "tasks", "workers", "queues", "dlq", "cluster")


def test_every_page_is_reached_by_its_link_and_by_its_address(tab: Tab) -> None:
    tab.open("/", "overview")
    for name, link in zip(
        PAGES, ("Overview", "Tasks", "Workers", "Queues", "Dead letters", "Cluster"), strict=True
    ):
        tab.page.get_by_role("navigation").get_by_role("link", name=link).first.click()
        tab.shown(name)
        assert tab.page.url == tab.origin + ("/" if name == "overview" else f"/{name}")
        tab.page.reload()
        tab.shown(name)


def test_an_address_that_is_no_page_says_so(tab: Tab) -> None:
    tab.open("/nowhere", "missing")


def test_overview_counts_draws_and_names_what_failed(tab: Tab, site: Site) -> None:
    done = site.client.submit_task("echo", b"hi")
    failed = site.client.submit_task("fail", b"it broke", max_retries=0)
    site.wait_for_status("completed", done)
    site.wait_for_status("dead_letter", failed)

    tab.open("/", "overview")

    assert int(tab.find("count-completed").locator("b").inner_text()) >= 1
    assert "retrying" in tab.find("count-failed").inner_text()
    tab.page.locator(f'table[data-test=failures] [data-id^="{failed}"]').get_by_text("it broke").wait_for()
    for chart in ("chart-throughput", "chart-depth"):
        tab.page.locator(f"svg[data-test={chart}]").wait_for()
    assert re.fullmatch(
        r"≈ [\d.]+ m?s p50 ≈ [\d.]+ m?s p99 over the last 5 minutes", tab.find("run-time").inner_text()
    )
    assert tab.find("active-workers").inner_text().startswith("1")
    assert tab.find("health").is_visible()


def test_tasks_are_filtered_by_the_address_and_paged(tab: Tab, site: Site) -> None:
    ids = site.client.submit_tasks([Task("nobody-serves", queue="paged") for _ in range(60)])

    tab.open("/tasks?queue=paged&status=pending", "tasks")
    assert tab.rows("tasks") == ids[::-1][:50]
    assert tab.find("match-count").inner_text().startswith("60")

    tab.find("next").click()
    tab.row("tasks", ids[0]).wait_for()
    assert tab.rows("tasks") == ids[::-1][50:]
    assert "cursor=" in tab.page.url
    tab.page.reload()
    tab.shown("tasks")
    assert tab.rows("tasks") == ids[::-1][50:]

    tab.open("/tasks?queue=paged&sort=created", "tasks")
    assert tab.rows("tasks") == ids[:50]
    tab.open("/tasks?queue=paged&status=completed", "tasks")
    assert tab.rows("tasks") == []


def test_back_leads_to_where_the_visitor_was_and_takes_an_open_question_away(tab: Tab, site: Site) -> None:
    ids = site.client.submit_tasks([Task("nobody-serves", queue="returns") for _ in range(40)])
    tab.open("/tasks?queue=returns", "tasks")
    link = tab.row("tasks", ids[2]).locator("a.id")
    link.focus()
    top = tab.page.evaluate("() => scrollY")
    link.press("Enter")
    tab.shown("task")
    tab.find("cancel").click()
    tab.page.locator("dialog[open]").wait_for()

    tab.page.go_back()

    tab.shown("tasks")
    tab.wait_for("id => document.activeElement?.getAttribute('href') === `/tasks/${id}`", ids[2])
    assert tab.page.locator("dialog").count() == 0
    assert tab.page.evaluate("() => scrollY") == top > 0


def test_a_name_that_cannot_be_seen_is_shown_and_asked_for_by_its_escapes(tab: Tab, site: Site) -> None:
    name, shown = " un\u200bseen", "\\u{20}un\\u{200b}seen"
    task_id = site.client.submit_task(name, queue=name)
    queue = tab.page.locator("input[name=queue]")
    tab.open("/tasks", "tasks")

    queue.fill(shown)
    queue.press("Enter")
    tab.wait_for("() => document.querySelectorAll('main tbody tr').length === 1")
    assert tab.rows("tasks") == [task_id]
    tab.page.reload()
    tab.shown("tasks")
    assert queue.input_value() == shown

    tab.page.locator("#search [name=q]").fill(shown)
    tab.page.keyboard.press("Enter")
    tab.wait_for("name => new URLSearchParams(location.search).get('task_type') === name", name)
    tab.shown("tasks")
    assert tab.rows("tasks") == [task_id]


def test_a_page_without_filters_names_what_its_address_asks_for_in_vain(tab: Tab) -> None:
    for page, query, named in (
        ("overview", "x=1", "“x” is not known here; this page is asked for nothing"),
        ("workers", "queue=mail", "“queue” is not known here; known are worker, sort"),
        ("queues", "queue=mail", "“queue” is not known here; known are sort"),
        ("queues", "sort=constructor", "sort “constructor” is none of -queue"),
        ("cluster", "node=n1", "“node” is not known here"),
    ):
        tab.open(f"/{'' if page == 'overview' else page}?{query}", page)
        assert named in tab.find("notice-asked").inner_text()
        tab.find("clear-asked").click()
        tab.find("notice-asked").wait_for(state="detached")
        tab.shown(page)


def test_a_task_is_found_by_its_id(tab: Tab, site: Site) -> None:
    task_id = site.client.submit_task("echo", b"find me")
    tab.open("/", "overview")

    tab.page.locator("#search [name=q]").fill(task_id)
    tab.page.keyboard.press("Enter")

    tab.shown("task")
    assert tab.page.url.endswith(f"/tasks/{task_id}")
    assert tab.find("task-id").inner_text() == task_id


def test_a_part_of_an_id_leads_to_the_task_on_the_page_that_has_it_or_asks_for_all_of_it(
    tab: Tab, site: Site
) -> None:
    task_id = site.client.submit_task("echo", b"", queue="parts", delay="1h")
    short = f"{task_id[:8]}…{task_id[-6:]}"

    tab.open("/queues", "queues")
    for part in (short, task_id[:13], task_id[:8]):
        tab.page.locator("#search [name=q]").fill(part)
        tab.page.keyboard.press("Enter")
        tab.page.get_by_text("found by all 36 characters").last.wait_for()
        assert tab.page.url == f"{tab.origin}/queues"

    tab.open("/tasks?queue=parts", "tasks")
    tab.page.locator("#search [name=q]").fill(short)
    tab.page.keyboard.press("Enter")
    tab.shown("task")
    assert tab.page.url.endswith(f"/tasks/{task_id}")


def test_a_chart_has_a_gap_where_nothing_is_known(tab: Tab, site: Site) -> None:
    tab.open("/", "overview")
    chart = tab.page.locator("svg[data-test=chart-throughput]")
    bars = chart.locator(".layer.completed rect").count()
    known = sum(number is not None for number in site.ask("GET", "/series")["submitted"])

    chart.focus()
    for _ in range(50):
        tab.page.keyboard.press("ArrowLeft")

    tab.page.locator(".chart .legend").first.get_by_text("not known").first.wait_for()
    assert 0 < bars <= known + 1 < 20
    assert "completed not known" in (chart.get_attribute("aria-label") or "")


def test_no_column_of_the_queues_is_covered_on_a_small_laptop(browser: Browser, site: Site) -> None:
    site.client.submit_task("nobody-serves", queue="a-name-of-some-length")
    tab = Tab(browser, site.origin, viewport={"width": 1280, "height": 800})
    tab.open("/queues", "queues")

    box = tab.page.locator(".table").first.evaluate("(node) => [node.scrollWidth, node.clientWidth]")
    tab.check()
    tab.close()

    assert box[0] <= box[1]


def test_a_task_shows_payload_result_and_every_attempt_with_its_error(tab: Tab, site: Site) -> None:
    done = site.client.submit_task("echo", b'{"to": "ada", "n": 12345678901234567890}')
    failed = site.client.submit_task("fail", b"no luck", max_retries=1, retry=["0.01s"])
    site.wait_for_status("completed", done)
    site.wait_for_status("dead_letter", failed)

    tab.open(f"/tasks/{done}", "task")
    assert "12345678901234567890" in tab.find("payload").first.inner_text()
    assert "ada" in tab.find("result").first.inner_text()

    tab.open(f"/tasks/{failed}", "task")
    attempts = tab.find("attempt").all()
    assert [one.get_attribute("data-outcome") for one in attempts] == ["error", "error"]
    assert all("no luck" in one.inner_text() for one in attempts)
    assert "failed 2 of 2 times" in tab.find("why").inner_text()


def test_a_waiting_task_says_why_it_does_not_run_and_links_what_it_waits_for(tab: Tab, site: Site) -> None:
    first = site.client.submit_task("echo", b"", delay="1h")
    second = site.client.submit_task("echo", b"", dependencies=[first])
    nobody = site.client.submit_task("nobody-serves", queue="lonely")

    tab.open(f"/tasks/{nobody}", "task")
    assert "no connected worker serves" in tab.find("why").inner_text()

    tab.open(f"/tasks/{second}", "task")
    assert "waiting for" in tab.find("why").inner_text()
    tab.find("dependencies").get_by_role("link").first.click()
    tab.wait_for("id => location.pathname === `/tasks/${id}`", first)
    tab.find("why").get_by_text("scheduled").wait_for()


def test_an_unknown_task_is_said_to_be_unknown(tab: Tab) -> None:
    tab.may_fail = True
    tab.open("/tasks/018f3c1e-7c2a-7b1e-9a55-3f1f6f3c2b10")
    tab.page.get_by_role("heading", name="No such task").wait_for()


def test_workers_show_what_they_serve_and_run(tab: Tab, site: Site) -> None:
    task_id = site.client.submit_task("sleep", b"600")
    site.wait_for_status("in_progress", task_id)

    tab.open(f"/workers?worker={WORKER}", "workers")

    (session,) = [one["session_id"] for one in site.ask("GET", "/workers")["workers"]]
    text = tab.row("workers", session).inner_text()
    assert WORKER in text
    assert "active" in text.lower()
    tab.find("worker-detail").wait_for()
    assert task_id in tab.rows("worker-tasks")
    site.client.cancel_task(task_id, force=True)


def test_queues_show_depths_and_a_banner_for_types_nobody_serves(tab: Tab, site: Site) -> None:
    site.client.submit_task("nobody-knows-this", queue="unserved")

    tab.open("/queues", "queues")

    assert "unserved" in tab.rows("queues")
    assert "nobody-knows-this" in tab.find("notice-unserved").inner_text()


def test_types_that_nobody_serves_are_counted_alike_on_both_pages_each_with_its_own_tasks(
    tab: Tab, site: Site
) -> None:
    site.client.submit_tasks([Task(f"kind-{n:03}", queue="kinds") for n in range(120)])
    site.client.submit_tasks([Task("kind-000", queue="kinds") for _ in range(2)])

    tab.open("/queues", "queues")
    box = tab.find("notice-unserved")
    on_queues = box.inner_text()
    tab.open("/", "overview")
    on_overview = tab.find("health").inner_text()

    assert box.count() <= 1
    assert "kind-000 on queue kinds (3 tasks wait)" in on_queues
    rest = re.search(r"serves (\d+) types .* and (\d+) more", on_queues)
    assert rest is not None
    assert int(rest[1]) >= 120
    assert int(rest[1]) == int(rest[2]) + 8
    assert f"{rest[1]} types" in on_overview
    assert f"and {rest[2]} more" in on_overview
    assert "waiting in it" not in on_overview


@pytest.mark.parametrize(
    ("pending", "came", "left", "text"),
    [
        (600, 60, 180, "~ 5m"),
        (600, 0, 6_000, "~ 6 s"),
        (600, 70, 60, "grows"),
        (600, 60, 0, "nothing leaves"),
        (0, 60, 60, "empty"),
        (600, None, None, "–"),
    ],
    ids=["minutes", "seconds", "grows", "stuck", "empty", "unknown"],
)
def test_a_queue_says_how_long_it_will_take(
    tab: Tab, pending: int, came: int | None, left: int | None, text: str
) -> None:
    counts = dict.fromkeys(("in_progress", "scheduled", "blocked", "retrying", "dead_letter"), 0)
    queue = {
        **counts,
        "queue": "mail",
        "pending": pending,
        "oldest_pending_age_ms": 1,
        "paused": False,
        "paused_reason": "",
        "unserved": [],
        "in_per_minute": came,
        "out_per_minute": left,
        "task_types": [],
    }
    tab.page.route("**/api/v1/queues", lambda route: route.fulfill(json={"queues": [queue]}))

    tab.open("/queues", "queues")

    assert text in tab.row("queues", "mail").locator("td").all_inner_texts()
    assert tab.row("queues", "mail").locator("[data-test=purge]").is_disabled() == (pending == 0)


def test_dead_letters_are_grouped_by_what_went_wrong(tab: Tab, site: Site) -> None:
    ids = [
        site.client.submit_task("fail", f"host 10.0.0.{n} is away".encode(), max_retries=0) for n in range(3)
    ]
    site.wait_for_status("dead_letter", *ids)

    tab.open("/dlq", "dlq")

    groups = site.ask("GET", "/dead-letters")["groups"]
    (group,) = [one for one in groups if "is away" in one["error"]]
    assert group["count"] == 3
    row = tab.row("groups", group["fingerprint"])
    assert "is away" in row.inner_text()
    assert "3" in row.inner_text()


def test_dead_letters_are_filtered_by_queue_and_the_filter_can_be_taken_away(tab: Tab, site: Site) -> None:
    cancelled = site.client.submit_task("echo", delay="1h")
    site.client.cancel_task(cancelled)
    ids = [
        site.client.submit_task("echo", queue=queue, dependencies=[cancelled]) for queue in ("other", "mine")
    ]
    site.wait_for_status("dead_letter", *ids)
    tab.open("/dlq", "dlq")

    queue = tab.page.locator("input[name=queue]")
    queue.fill("mine")
    queue.press("Enter")

    tab.wait_for("() => document.querySelectorAll('table[data-test=groups] tbody tr').length === 1")
    assert "queue=mine" in tab.page.url
    assert tab.find("match-count").inner_text() == "1 task in 1 group"
    tab.find("clear").click()
    tab.wait_for("() => document.querySelectorAll('table[data-test=groups] tbody tr').length > 1")
    assert "queue=" not in tab.page.url


def test_the_cluster_is_one_broker_that_leads_itself(tab: Tab) -> None:
    tab.open("/cluster", "cluster")
    (member,) = tab.rows("members")
    assert "standalone" in tab.row("members", member).inner_text().lower()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(tab: Tab, scheme: str) -> None:
    tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    tab.open("/", "overview")
    colour = "() => getComputedStyle(document.body).backgroundColor"
    first = tab.page.evaluate(colour)

    tab.find("theme").click()

    assert tab.page.evaluate(colour) != first


def test_numbers_move_without_a_reload(tab: Tab, site: Site) -> None:
    tab.open("/", "overview")
    tab.wait_for("() => document.body.dataset.live === 'live'")
    before = int(tab.find("count-scheduled").locator("b").inner_text())
    loads = tab.requests.count(tab.page.url)

    site.client.submit_task("echo", b"", delay="1h")

    eventually(
        lambda: int(tab.find("count-scheduled").locator("b").inner_text()) == before + 1,
        "the count did not move",
    )
    assert tab.requests.count(tab.page.url) == loads == 1


def test_an_open_task_changes_when_the_task_does(tab: Tab, site: Site) -> None:
    task_id = site.client.submit_task("echo", b"", delay="1h")
    tab.open(f"/tasks/{task_id}", "task")
    tab.wait_for("() => document.body.dataset.live === 'live'")

    site.client.cancel_task(task_id)

    tab.find("why").get_by_text("cancelled while it waited").wait_for()
