"""A real broker with a real worker, a browser, and a tab that notes what must not happen in it."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, sync_playwright

from lab.processes import Process, start_broker, start_worker, wait_until
from tq import Client

WAIT_S = 60.0
"""Longest wait for anything to show; what is quick is not slowed down by it."""
WORKER = "worker-1"
LET_PASS = ("Failed to load resource", "WebSocket connection to")
"""What Chromium itself writes to the console about a call or a socket that failed; only where a test makes them fail."""

T = TypeVar("T")


@dataclass
class Site:
    """One broker and what stands around it. client: a client of it. key: for REST, empty = none."""

    directory: Path
    broker: Process
    origin: str
    address: str
    client: Client
    key: str = ""

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One call below /api/v1; its document."""
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.origin}/api/v1{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def status(self, task_id: str) -> str:
        return str(self.client.get_task(task_id).status)

    def wait_for_status(self, status: str, *task_ids: str) -> None:
        """Return once all these tasks have this status."""
        for task_id in task_ids:
            eventually(lambda: self.status(task_id) == status, f"task {task_id} is not {status}")  # noqa: B023


def eventually(condition: Callable[[], T | None], what: str) -> T:
    return wait_until(condition, WAIT_S, what=lambda: what, every=0.02)


@contextmanager
def serving(directory: Path, *arguments: str, key: str = "", config: str = "") -> Iterator[Site]:
    """A broker. arguments: more flags of tq-broker. config: text of a configuration file."""
    if config:
        (directory / "tq.yaml").write_text(config)
        arguments = (*arguments, "--config", str(directory / "tq.yaml"))
    with start_broker(directory, *arguments) as broker:
        found = broker.wait_for_event("ready")["addresses"]
        assert isinstance(found, dict)
        with Client(str(found["tcp"]), api_key=key) as client:
            yield Site(directory, broker, f"http://{found['rest']}", str(found["tcp"]), client, key)


@contextmanager
def working(site: Site, name: str = WORKER, *arguments: str) -> Iterator[Process]:
    """A worker with the built-in handlers; killed at the end, whatever it runs."""
    env = {"TQ_API_KEY": site.key} if site.key else None
    flags = ("--heartbeat-interval", "1", "--concurrency", "4", *arguments)
    with start_worker(site.directory, site.address, *flags, name=name, env=env) as worker:
        worker.wait_for_event("ready")
        try:
            yield worker
        finally:
            worker.kill()


@contextmanager
def browsing() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    assert path, "the dashboard's tests need Chromium; `make chromium` installs it"
    # Chromium's sandbox does not start for root; nothing but our own pages is opened.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*sandbox, "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield browser
        browser.close()


class Tab:
    """One tab of one visitor. `check` fails when a page did what no page may."""

    def __init__(self, browser: Browser, origin: str, **context: Any) -> None:
        """context: as for Playwright's `new_context`."""
        self._context = browser.new_context(reduced_motion="reduce", **context)
        self._context.set_default_timeout(WAIT_S * 1000)
        self.page: Page = self._context.new_page()
        self.origin = origin
        self.may_fail = False
        """Calls are made to fail: what Chromium itself writes about that is let pass."""
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if not (self.may_fail and message.text.startswith(LET_PASS)):
            self.errors.append(message.text)

    def check(self) -> None:
        host = urlsplit(self.origin).netloc
        foreign = [
            url for url in self.requests if urlsplit(url).netloc != host and not url.startswith("data:")
        ]
        assert self.errors == []
        assert foreign == []
        assert self.page.evaluate("() => window.hacked") is None, "a script in the data was run"

    def close(self) -> None:
        self._context.close()

    # ------------------------------------------------------------ moving

    def open(self, path: str, name: str = "") -> Locator:
        """Go to an address, and return `main` once the page has drawn. name: of the page, when it is to be checked."""
        self.page.goto(self.origin + path)
        return self.shown(name)

    def shown(self, name: str = "") -> Locator:
        wanted = f'main[data-page="{name}"][aria-busy="false"]' if name else 'main[aria-busy="false"]'
        main = self.page.locator(wanted)
        main.wait_for()
        return main

    def find(self, test: str) -> Locator:
        """By its data-test."""
        return self.page.locator(f'[data-test="{test}"]')

    def row(self, table: str, row: str) -> Locator:
        return self.page.locator(f'table[data-test="{table}"] [data-id="{row}"]')

    def rows(self, table: str) -> list[str]:
        found = self.page.locator(f'table[data-test="{table}"] [data-id]')
        return [str(row.get_attribute("data-id")) for row in found.all()]

    def confirm(self, **fields: str) -> None:
        """Fill in the open dialog and do what it asks about; returns when it has closed."""
        for name, value in fields.items():
            self.page.locator(f'dialog[open] [name="{name}"]').fill(value)
        self.page.locator('dialog[open] [data-test="confirm"]').click()
        self.page.locator("dialog[open]").wait_for(state="detached")

    def wait_for(self, script: str, argument: object = None) -> None:
        """Return once a script's value is true."""
        self.page.wait_for_function(script, arg=argument)


def labels(found: Sequence[Locator]) -> list[str]:
    return [one.inner_text().strip() for one in found]
