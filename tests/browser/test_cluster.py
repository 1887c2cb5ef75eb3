"""The cluster page on three real brokers: who leads is seen and handed over, and a node that is away is told of."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Locator

from tests.browser.site import Tab
from tests.replication.brokers import Brokers


def has_role(tab: Tab, node: str, role: str) -> Locator:
    return tab.row("members", node).locator(f"[data-status={role}]")


def test_leadership_is_handed_over_from_the_page_and_a_node_that_dies_is_told_of(
    browser: Browser, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        brokers = Brokers(tmp_path, stack)
        first = brokers.leader()
        second, third = brokers.followers()
        # At a follower: it passes on what only the leader can do.
        tab = Tab(browser, f"http://{brokers.door(third, 'rest')}")
        stack.callback(tab.close)
        tab.open("/cluster", "cluster")
        has_role(tab, first, "leader").wait_for()
        assert sorted(tab.rows("members")) == ["n1", "n2", "n3"]
        assert tab.row("members", first).locator("[data-test=transfer]").is_disabled()

        tab.row("members", second).locator("[data-test=transfer]").click()
        tab.confirm()

        has_role(tab, second, "leader").wait_for()
        has_role(tab, first, "follower").wait_for()
        assert brokers.members(second)[second]["role"] == "leader"
        for node in (first, second, third):
            assert tab.row("members", node).locator("[data-test=commit-lag]").inner_text().isdigit()

        brokers.kill(first)
        has_role(tab, first, "unreachable").wait_for()
        assert tab.row("members", first).locator("[data-test=transfer]").is_disabled()
        tab.open("/", "overview")
        tab.find("health").get_by_text(f"Node {first} does not answer").wait_for()
        assert f"2 of 3 nodes, led by {second}" in tab.find("health").inner_text()
        tab.check()
