"""The cluster page on three real brokers: who leads is seen and handed over, and a node that is away is told of."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Locator

from tests.browser.site import Tab
from tests.replication.brokers import Brokers

SOON_MS = 6_000
"""The leader steps down within two seconds, and the node is asked every two."""


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
        tab.may_fail = True  # between two leaders the node's health is a 503
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
        assert tab.row("members", first).locator("[data-test=transfer]").count() == 0
        tab.open("/", "overview")
        tab.find("health").get_by_text(f"Node {first} does not answer").wait_for()
        assert f"2 of 3 nodes, led by {second}" in tab.find("health").inner_text()
        tab.check()


def test_a_node_without_a_quorum_says_so_in_words_at_once_and_after_a_reload(
    browser: Browser, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        brokers = Brokers(tmp_path, stack)
        alone, *others = brokers.leader(), *brokers.followers()
        tab = Tab(browser, f"http://{brokers.door(alone, 'rest')}")
        stack.callback(tab.close)
        tab.may_fail = True
        tab.open("/", "overview")
        tab.find("health").get_by_text(f"3 of 3 nodes, led by {alone}").wait_for()

        for node in others:
            brokers.kill(node)

        tab.find("leaderless").get_by_text("there is no leader").wait_for(timeout=SOON_MS)
        tab.find("health").get_by_text("no quorum: 2 are needed").wait_for(timeout=SOON_MS)
        assert tab.find("live").inner_text() == "No leader"
        tab.page.reload()
        tab.find("health").get_by_text("no quorum: 2 are needed").wait_for(timeout=SOON_MS)
        for node in others:
            assert f"Node {node} does not answer" in tab.find("health").inner_text()
        tab.open("/tasks")
        tab.find("unreadable").wait_for(timeout=SOON_MS)
        assert tab.find("error").count() == 0

        tab.open("/cluster", "cluster")
        has_role(tab, others[0], "unreachable").wait_for()
        assert tab.find("transfer").count() == 0
        assert "not known" in tab.row("members", others[0]).locator("td").nth(2).inner_text()

        brokers.restart(others[0])
        tab.find("leaderless").wait_for(state="detached")
        tab.find("transfer").first.wait_for()
        tab.check()
