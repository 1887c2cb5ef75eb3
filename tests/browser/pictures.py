"""Takes the pictures of docs/dashboard.md: `python -m tests.browser.pictures DIRECTORY`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, FloatRect

from tests.browser.site import WORKER, Site, Tab, browsing, eventually, serving, working
from tq import Task

WINDOW = {"width": 1280, "height": 800}
HEIGHT_MIN, SHORT, TALL = 300, 540, 800
"""A picture ends where its page does, between these: a list is told by its first rows, and pictures are kept small."""
BOTTOM = "() => document.querySelector('main').lastElementChild.getBoundingClientRect().bottom + 24"
ROOT = Path(__file__).parents[2]
NEUTRAL = """(root) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.nodeValue = texts.currentNode.nodeValue.replaceAll(root, '/srv/tq');
}"""
"""Tracebacks name where the program lies, which is nobody's business."""
MAILS = 400


def main() -> int:
    """Write one picture a page into the directory named on the command line."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    with browsing() as browser:
        take(browser, directory)
    return 0


def take(browser: Browser, directory: Path) -> None:
    """Write them, of a broker and workers of their own."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(Path(scratch)) as site,
        working(site, WORKER, "--queues", "mail,reports"),
        working(site, "worker-2", "--queues", "mail"),
    ):
        picture(browser, site, directory, work(site))


def work(site: Site) -> str:
    """A broker's ordinary afternoon; the id of a task that failed."""
    client = site.client
    client.submit_tasks([Task("echo", b'{"to": "ada@example.org"}', queue="mail") for _ in range(MAILS)])
    failed = [
        client.submit_task(
            "fail",
            f"ConnectionError: smtp-{n}.example.org:25 does not answer".encode(),
            queue="mail",
            max_retries=1,
            retry=["0.05s"],
            metadata={"tenant": "acme"},
        )
        for n in range(5)
    ]
    for n in range(2):
        client.submit_task(
            "fail", f"ValueError: no rate for 'CHF-{n}'".encode(), queue="reports", max_retries=0
        )
    client.submit_tasks([Task("sleep", b"600", queue="reports") for _ in range(3)])
    client.submit_tasks(
        [Task("render_pdf", b'{"order": 4711}', queue="reports", priority="high") for _ in range(18)]
    )
    client.submit_tasks([Task("echo", b"", queue="mail", delay="2h") for _ in range(12)])
    client.pause_queue("newsletter", "the provider is down until 17:00")
    client.submit_tasks([Task("echo", b"", queue="newsletter", priority="low") for _ in range(40)])
    site.wait_for_status("dead_letter", *failed)
    eventually(lambda: client.stats().completed_count >= MAILS, "the mails are not sent")
    return failed[-1]


def picture(browser: Browser, site: Site, directory: Path, task_id: str) -> None:
    tab = Tab(browser, site.origin, viewport=WINDOW, color_scheme="light")
    pages = {
        "overview": "/",
        "tasks": "/tasks",
        "task": f"/tasks/{task_id}",
        "workers": "/workers",
        "queues": "/queues",
        "dlq": "/dlq",
        "cluster": "/cluster",
    }
    for name, path in pages.items():
        tab.open(path, name)
        tab.wait_for("() => document.body.dataset.live === 'live'")
        tab.page.evaluate(NEUTRAL, str(ROOT))
        bottom = int(tab.page.evaluate(BOTTOM))
        height = min(max(bottom, HEIGHT_MIN), TALL if name in ("overview", "task") else SHORT)
        clip: FloatRect = {"x": 0, "y": 0, "width": WINDOW["width"], "height": height}
        tab.page.screenshot(path=directory / f"dashboard-{name}.png", clip=clip)
    tab.close()


if __name__ == "__main__":
    raise SystemExit(main())
