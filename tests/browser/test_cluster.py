"""The cluster page on three real brokers: who leads is seen and handed over, and a node that is away is told of."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Locator

from tests.browser.site import Tab
from tests.replication.brokers import Brokers

SOON_MS = 20_000
"""The leader steps down within two seconds, and the node is asked every two; a browser beside others takes its time."""


def has_role(tab: Tab, node: str, role: str) -> Locator:
    return tab.row("members", node).locator(f"[data-status={role}]")


def test_leadership_is_handed_over_from_the_page_and_nodes_that_die_are_told_of_down_to_the_last(
    browser: Browser, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        brokers = Brokers(tmp_path, stack)
        first = brokers.leader()
        second, third = brokers.followers()
        # At a follower: it passes on what only the leader can do, and leads at the end.
        tab = Tab(browser, f"http://{brokers.door(third, 'rest')}")
        stack.callback(tab.close)
        tab.may_fail = True  # between two leaders the node's health is a 503
        tab.open("/cluster", "cluster")
        has_role(tab, first, "leader").wait_for()
        assert sorted(tab.rows("members")) == ["n1", "n2", "n3"]
        assert tab.row("members", first).locator("[data-test=transfer]").is_disabled()

        tab.row("members", third).locator("[data-test=transfer]").click()
        tab.confirm()

        has_role(tab, third, "leader").wait_for()
        has_role(tab, first, "follower").wait_for()
        assert brokers.members(second)[third]["role"] == "leader"
        for node in (first, second, third):
            assert tab.row("members", node).locator("[data-test=commit-lag]").inner_text().isdigit()

        brokers.kill(first)
        has_role(tab, first, "unreachable").wait_for()
        assert tab.row("members", first).locator("[data-test=transfer]").count() == 0
        tab.open("/", "overview")
        tab.find("health").get_by_text(f"Node {first} does not answer").wait_for()
        assert f"2 of 3 nodes, led by {third}" in tab.find("health").inner_text()

        brokers.kill(second)
        without_a_quorum(tab, (first, second))

        brokers.restart(first)
        tab.find("leaderless").wait_for(state="detached")
        tab.find("transfer").first.wait_for()
        tab.check()


def without_a_quorum(tab: Tab, away: tuple[str, str]) -> None:
    """The last of three nodes says so in words, at once and after a reload, on every page."""
    tab.find("leaderless").get_by_text("there is no leader").wait_for(timeout=SOON_MS)
    tab.find("health").get_by_text("no quorum: 2 are needed").wait_for(timeout=SOON_MS)
    assert tab.find("live").inner_text() == "No leader"
    tab.page.reload()
    tab.find("health").get_by_text("no quorum: 2 are needed").wait_for(timeout=SOON_MS)
    for node in away:
        assert f"Node {node} does not answer" in tab.find("health").inner_text()
    tab.open("/tasks")
    tab.find("unreadable").wait_for(timeout=SOON_MS)
    assert tab.find("error").count() == 0

    tab.open("/cluster", "cluster")
    has_role(tab, away[0], "unreachable").wait_for()
    assert tab.find("transfer").count() == 0
    assert "not known" in tab.row("members", away[0]).locator("td").nth(2).inner_text()
