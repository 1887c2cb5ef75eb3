"""Keys are on: the dashboard asks for one, keeps it for the tab, and shows only what it may do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.access.broker_files import write_config
from tests.browser.site import Site, Tab, serving

TOKENS = {
    "ops": ("ops-token-1", "admin"),
    "viewer": ("viewer-token-2", "read_tasks"),
    "clerk": ("clerk-token-3", "submit_tasks, read_tasks"),
    "worker": ("worker-token-4", "work_tasks"),
}
"""key name -> its token, its permissions"""
CHANGING = ("cancel", "retry", "delete", "purge", "pause", "drain", "submit", "clone")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("keys")
    config = write_config(directory, TOKENS)
    with serving(directory, "--config", str(config), key="ops-token-1") as found:
        found.client.submit_task("nobody-serves", queue="mail")
        yield found


@pytest.fixture
def tab(browser: Browser, site: Site) -> Iterator[Tab]:
    found = Tab(browser, site.origin)
    found.may_fail = True
    yield found
    found.check()
    found.close()


def give(tab: Tab, token: str) -> None:
    tab.page.locator('dialog[data-test="key"][open] [name="key"]').fill(token)
    tab.page.locator('dialog[data-test="key"][open] [data-test="confirm"]').click()


def buttons(tab: Tab, path: str, name: str) -> set[str]:
    """The changing actions that a page offers."""
    tab.open(path, name)
    return {one for one in CHANGING if tab.find(one).count()}


def test_the_shell_is_served_without_a_key_and_nothing_is_shown_before_one_is_given(tab: Tab) -> None:
    tab.page.goto(tab.origin + "/queues")
    tab.page.locator('dialog[data-test="key"][open]').wait_for()
    assert tab.page.get_by_text("mail").count() == 0

    give(tab, "no-such-key")
    tab.page.get_by_text("does not know that key").wait_for()
    assert tab.page.get_by_text("mail").count() == 0

    give(tab, "ops-token-1")
    tab.shown("queues")
    assert tab.rows("queues") == ["mail"]
    tab.wait_for("() => document.body.dataset.live === 'live'")


def test_a_key_is_kept_for_the_tab_only_and_can_be_forgotten(tab: Tab, browser: Browser) -> None:
    tab.page.goto(tab.origin + "/queues")
    give(tab, "ops-token-1")
    tab.shown("queues")
    tab.page.reload()
    tab.shown("queues")
    assert tab.page.evaluate("() => JSON.stringify(localStorage)").count("ops-token-1") == 0
    assert "ops-token-1" not in " ".join(tab.requests)
    assert tab.page.context.cookies() == []

    other = tab.page.context.new_page()
    other.goto(tab.origin + "/queues")
    other.locator('dialog[data-test="key"][open]').wait_for()
    other.close()

    tab.find("forget").click()
    tab.page.locator('dialog[data-test="key"][open]').wait_for()


def test_a_key_is_shown_what_it_may_do_and_nothing_else(tab: Tab, browser: Browser, site: Site) -> None:
    task_id = site.client.submit_task("nobody-serves", queue="mail")
    found = {}
    for name in ("viewer", "clerk", "ops"):
        one = Tab(browser, site.origin)
        one.may_fail = True
        one.page.goto(one.origin + "/")
        give(one, TOKENS[name][0])
        one.shown("overview")
        found[name] = (
            buttons(one, f"/tasks/{task_id}", "task")
            | buttons(one, "/queues", "queues")
            | buttons(one, "/tasks", "tasks")
        )
        one.check()
        one.close()

    assert found == {
        "viewer": set(),
        "clerk": {"submit", "clone"},
        "ops": {"cancel", "clone", "submit", "pause", "purge"},
    }


def test_a_key_that_may_not_read_is_told_so(tab: Tab) -> None:
    tab.page.goto(tab.origin + "/tasks")
    give(tab, "worker-token-4")
    # The list may have been refused already, and says so until it is known who asks.
    told = tab.shown("locked")
    assert "worker lacks the permission read_tasks" in told.inner_text()
    assert "It may work as a worker" in told.inner_text()
    assert tab.rows("tasks") == []
    assert tab.page.get_by_role("navigation").get_by_role("link").count() == 0
