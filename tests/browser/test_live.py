"""The feed is cut, the broker dies and comes back: the pages say so, and go on by themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, WebSocketRoute

from lab.ports import ReservedPort
from lab.processes import start_broker
from tests.browser.site import Site, Tab, eventually, serving
from tq import Client

RETRY_MS_MAX = 15_000
"""The longest wait between two attempts."""
STEP_MS = 500
POLL_MS = 4_000
QUIET_MS = 3_000
"""Longer than the least time between two readings of a list."""
ATTEMPTS_UNTIL_RARE = 6
"""So many attempts in vain, and the next one is more than a poll away."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A broker by itself, at a REST port that it can come back to."""
    with ReservedPort() as port, serving(tmp_path, "--rest-port", str(port.number)) as found:
        yield found


def test_a_page_is_stale_while_the_broker_is_away_and_goes_on_when_it_is_back(
    browser: Browser, site: Site
) -> None:
    tab = Tab(browser, site.origin)
    tab.may_fail = True
    site.client.submit_task("nobody-serves")
    # The files of the other pages are not fetched ahead: they are missing when the broker is away.
    tab.page.add_init_script("window.requestIdleCallback = () => 0")
    tab.open("/", "overview")
    tab.wait_for("() => document.body.dataset.live === 'live'")
    assert tab.find("count-pending").locator("b").inner_text() == "1"

    site.broker.kill()
    tab.wait_for("() => document.body.dataset.live === 'stale'")
    tab.find("stale").wait_for()
    assert tab.find("count-pending").locator("b").inner_text() == "1", "what was known stays to be seen"
    tab.page.get_by_role("navigation").get_by_role("link", name="Queues").click()
    tab.page.get_by_text("could not be fetched").wait_for()

    with start_broker(site.directory, "--rest-port", site.origin.rpartition(":")[2]) as broker:
        addresses = broker.wait_for_event("ready")["addresses"]
        assert isinstance(addresses, dict)
        with Client(str(addresses["tcp"])) as client:
            client.submit_task("nobody-serves")
            tab.shown("queues")
            tab.page.get_by_role("navigation").get_by_role("link", name="Overview").click()
            tab.shown("overview")
            eventually(
                lambda: tab.find("count-pending").locator("b").inner_text() == "2",
                "the page did not go on",
            )
            assert tab.find("stale").count() == 0
    tab.check()
    tab.close()


def test_without_the_feed_a_page_asks_by_itself(browser: Browser, site: Site) -> None:
    tab = Tab(browser, site.origin)
    tab.may_fail = True
    tab.page.route_web_socket("**/api/v1/events*", lambda route: route.close())
    tab.open("/", "overview")
    tab.wait_for("() => document.body.dataset.live === 'polling'")

    site.client.submit_task("nobody-serves")

    eventually(
        lambda: tab.find("count-pending").locator("b").inner_text() == "1", "the page did not ask again"
    )
    tab.check()
    tab.close()


def test_attempts_to_reach_the_feed_again_grow_rarer_up_to_a_bound(browser: Browser, site: Site) -> None:
    tab = Tab(browser, site.origin)
    tab.may_fail = True
    tab.page.clock.install()
    attempts: list[str] = []

    def refuse(route: WebSocketRoute) -> None:
        attempts.append(route.url)
        route.close()

    tab.page.route_web_socket("**/api/v1/events*", refuse)
    tab.open("/", "overview")
    tab.wait_for("() => document.body.dataset.live === 'polling'")

    waits = []
    for _ in range(7):
        seen, passed_ms = len(attempts), 0
        while len(attempts) == seen and passed_ms < 2 * RETRY_MS_MAX:
            tab.page.clock.run_for(STEP_MS)
            passed_ms += STEP_MS
        waits.append(passed_ms)

    assert max(waits[-2:]) >= RETRY_MS_MAX / 2
    assert max(waits) <= RETRY_MS_MAX + 4 * STEP_MS
    assert sum(waits) >= 4 * max(waits[:2]), f"they do not grow: {waits}"
    tab.check()
    tab.close()


def test_the_list_of_tasks_is_read_again_when_the_feed_tells_that_something_moved_and_not_before(
    browser: Browser, site: Site
) -> None:
    tab = Tab(browser, site.origin)
    feed: list[WebSocketRoute] = []
    tab.page.route_web_socket("**/api/v1/events*", lambda route: feed.append(route))
    tab.page.clock.install()
    tab.open("/tasks", "tasks")
    eventually(lambda: feed, "the page does not listen")
    stats = site.ask("GET", "/stats")
    # A page that is left alone for long asks, or dials again: it hears the same both ways.
    tab.page.route("**/api/v1/stats*", lambda route: route.fulfill(json=stats))

    def readings() -> int:
        return sum("/api/v1/tasks?" in url for url in tab.requests)

    def tell(pending: int) -> int:
        """How many times the list was read by the time the page has heard of so many tasks."""
        tab.page.clock.run_for(QUIET_MS)
        stats["pending_count"] = pending
        feed[-1].send(json.dumps({**stats, "type": "stats", "at": "2026-01-01T00:00:00Z"}))
        tab.page.locator("#nav b", has_text=re.compile(f"^{pending}$")).first.wait_for()
        tab.shown("tasks")
        return readings()

    def tell_until_it_is_read(pending: int) -> int:
        """The same, told again until it was read: there is a least time between two readings."""
        before = readings()
        return eventually(lambda: now if (now := tell(pending)) > before else 0, "the list is not read again")

    first = tell_until_it_is_read(1)
    assert tell(1) == first
    site.client.submit_task("nobody-serves")
    assert tell_until_it_is_read(2) == first + 1
    eventually(lambda: len(tab.rows("tasks")) == 1, "the new task is not shown")
    tab.check()
    tab.close()


def test_a_broker_that_is_back_is_listened_to_at_once(browser: Browser, site: Site) -> None:
    tab = Tab(browser, site.origin)
    tab.may_fail = True
    tab.page.clock.install()
    stats = {**site.ask("GET", "/stats"), "type": "stats", "at": "2026-01-01T00:00:00Z"}
    is_away = True

    def dial(route: WebSocketRoute) -> None:
        if is_away:
            route.close()
        else:
            route.send(json.dumps(stats))

    tab.page.route_web_socket("**/api/v1/events*", dial)
    tab.page.route("**/api/v1/stats", lambda route: route.abort() if is_away else route.continue_())
    tab.open("/cluster", "cluster")
    for _ in range(ATTEMPTS_UNTIL_RARE):
        tab.page.clock.run_for(RETRY_MS_MAX)
    tab.wait_for("() => document.body.dataset.live === 'stale'")

    is_away = False
    tab.page.clock.run_for(POLL_MS)

    tab.wait_for("() => document.body.dataset.live === 'live'")
    tab.check()
    tab.close()
