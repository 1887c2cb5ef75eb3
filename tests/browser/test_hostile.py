"""What is in the data stays data, and everything can be done without a mouse, on a phone, by everybody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route

from tests.browser.site import WORKER, Site, Tab
from tq import Task

EVIL = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>\"'>"
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
AXE_OPTIONS: dict[str, dict[str, Any]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},
}
"""Of a page that was looked at in full, only the colours are others."""
SERIOUS = ("serious", "critical")
PHONE = {"width": 360, "height": 740}
TURNED = "\u202e\u200b"
"""Turns what stands after it around, and hides."""
FREE = {"error", "state_reason", "paused_reason", "worker_id", "host", "version", "metadata"}
"""Texts that others than the broker write."""


@pytest.fixture(scope="module")
def evil(site: Site) -> str:
    """A failed task whose every text is hostile; its id. Around it one of everything there is to show."""
    client = site.client
    task_id = client.submit_task("fail", EVIL.encode(), max_retries=0, metadata={EVIL: EVIL}, unique_key=EVIL)
    client.submit_task(EVIL, EVIL.encode(), queue=EVIL)
    client.pause_queue(EVIL, EVIL)
    done = client.submit_task("echo", f'{{"{EVIL[:4]}": "<script>window.hacked=1</script>"}}'.encode())
    later = client.submit_task("echo", b"", delay="1h")
    client.submit_task("echo", b"", dependencies=[later])
    client.submit_tasks([Task("fail", f"timeout {n} of db".encode(), max_retries=0) for n in range(3)])
    client.submit_task("sleep", b"600")
    site.wait_for_status("completed", done)
    site.wait_for_status("dead_letter", task_id)
    return task_id


def turned(document: Any, name: str = "") -> Any:
    """A document of the broker in which every text from outside ends in what cannot be seen."""
    if isinstance(document, dict):
        return {
            turned(key, "key") if name == "metadata" else key: turned(
                value, name if name == "metadata" else key
            )
            for key, value in document.items()
        }
    if isinstance(document, list):
        return [turned(value, name) for value in document]
    return document + TURNED if isinstance(document, str) and name in FREE | {"key"} else document


def paths(evil: str, site: Site) -> list[tuple[str, str]]:
    """(page, address) of every page, with what it can show in detail."""
    (done,) = [one.task_id for one in site.client.list_tasks(status="completed").tasks[:1]]
    group = site.ask("GET", "/dead-letters")["groups"][0]["fingerprint"]
    return [
        ("overview", "/"),
        ("tasks", "/tasks"),
        ("task", f"/tasks/{evil}"),
        ("task", f"/tasks/{done}"),
        ("workers", f"/workers?worker={WORKER}"),
        ("queues", "/queues"),
        ("dlq", f"/dlq?group={group}"),
        ("cluster", "/cluster"),
    ]


def test_hostile_texts_are_shown_as_they_are_and_run_nowhere(tab: Tab, site: Site, evil: str) -> None:
    for name, path in paths(evil, site):
        tab.open(path, name)
        assert tab.page.evaluate("() => window.hacked") is None
        assert tab.page.locator("img[src='x']").count() == 0

    tab.open(f"/tasks/{evil}", "task")
    assert EVIL in tab.find("payload").first.inner_text()
    assert "<script>" in tab.find("error-text").first.inner_text()
    tab.open("/queues", "queues")
    assert EVIL in tab.rows("queues")


def test_no_text_hides_anything_or_turns_around_what_stands_beside_it(
    tab: Tab, site: Site, evil: str
) -> None:
    def turn(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=turned(answer.json()))

    tab.page.route(re.compile("/api/v1/(tasks|workers|queues|failures|dead-letters)"), turn)
    for name, path in paths(evil, site):
        tab.open(path + (TURNED if "worker=" in path else ""), name)
        shown = str(tab.page.evaluate("() => document.title + document.body.innerText"))
        assert ("\\u{202e}" in shown) == (name != "cluster"), name
        assert not set(TURNED) & set(shown), name
    tab.page.unroute_all(behavior="wait")


def test_the_policy_lets_no_script_run_but_the_pages_own(tab: Tab) -> None:
    tab.open("/", "overview")

    blocked = tab.page.evaluate("""() => {
        const tries = {};
        const attempt = (name, act) => { try { act(); tries[name] = 'done'; } catch { tries[name] = 'refused'; } };
        const element = document.createElement('div');
        attempt('html', () => { element.innerHTML = '<b>x</b>'; });
        attempt('script', () => { document.createElement('script').textContent = 'window.hacked = 1'; });
        attempt('handler', () => { element.setAttribute('onclick', 'window.hacked = 1'); element.click(); });
        return tries;
    }""")

    assert {blocked["html"], blocked["script"]} == {"refused"}
    assert tab.page.evaluate("() => window.hacked") is None
    assert any("Content Security Policy" in error or "Trusted" in error for error in tab.errors)
    tab.errors.clear()


def test_axe_finds_nothing_serious_on_any_page_light_or_dark(browser: Browser, site: Site, evil: str) -> None:
    tab = Tab(browser, site.origin, bypass_csp=True)
    tab.page.add_init_script(path=AXE)
    found = []
    for name, path in paths(evil, site):
        tab.open(path, name)
        for scheme in ("light", "dark"):
            tab.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            result = tab.page.evaluate("(options) => axe.run(document, options)", AXE_OPTIONS[scheme])
            found += [
                (name, scheme, one["id"], one["nodes"][0]["html"][:200])
                for one in result["violations"]
                if one["impact"] in SERIOUS
            ]
    tab.close()

    assert found == []


def test_on_a_phone_no_page_is_too_wide_and_its_link_is_in_sight(
    browser: Browser, site: Site, evil: str
) -> None:
    tab = Tab(browser, site.origin, viewport=PHONE, is_mobile=True, has_touch=True)
    wide = []
    for name, path in paths(evil, site):
        tab.open(path, name)
        width = tab.page.evaluate("() => document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide.append((name, width))
        here = tab.page.locator("#nav [aria-current=page]").bounding_box()
        assert here is not None
        assert here["x"] >= 0
        assert here["x"] + here["width"] < PHONE["width"] + 1
    tab.check()
    tab.close()

    assert wide == []


def test_a_task_is_found_cancelled_and_retried_with_the_keyboard_alone(tab: Tab, site: Site) -> None:
    task_id = site.client.submit_task("nobody-serves", queue="keys")
    keys = tab.page.keyboard
    tab.open("/", "overview")

    keys.press("g")
    keys.press("t")
    tab.shown("tasks")
    keys.press("/")
    keys.type(task_id)
    keys.press("Enter")
    tab.shown("task")
    tab_to(tab, "cancel")
    keys.press("Enter")
    tab.page.locator("dialog[open]").wait_for()
    tab_to(tab, "confirm")
    keys.press("Enter")
    site.wait_for_status("cancelled", task_id)

    tab.find("retry").wait_for()
    tab_to(tab, "retry")
    keys.press("Enter")
    tab.page.locator("dialog[open]").wait_for()
    keys.press("Escape")
    tab.page.locator("dialog[open]").wait_for(state="detached")
    assert site.status(task_id) == "cancelled"
    assert tab.page.evaluate("() => document.activeElement.dataset.test") == "retry"


def tab_to(tab: Tab, test: str, presses_max: int = 60) -> None:
    """Press Tab until the element with this data-test has the focus, and check that the focus can be seen."""
    for _ in range(presses_max):
        if tab.page.evaluate("() => document.activeElement?.dataset?.test ?? ''") == test:
            break
        tab.page.keyboard.press("Tab")
    else:
        raise AssertionError(f"{test!r} is not reached with {presses_max} presses of Tab")
    seen = tab.page.evaluate(
        "() => { const s = getComputedStyle(document.activeElement);"
        " return s.outlineStyle !== 'none' || s.boxShadow !== 'none'; }"
    )
    assert seen, f"the focus on {test!r} cannot be seen"
