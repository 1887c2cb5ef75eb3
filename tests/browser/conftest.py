"""One browser for all these tests, one broker and one worker for those of a file; a tab of its own for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.site import Site, Tab, browsing, serving, working


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("dashboard")) as found, working(found):
        yield found


@pytest.fixture
def tab(browser: Browser, site: Site) -> Iterator[Tab]:
    found = Tab(browser, site.origin)
    yield found
    found.check()
    found.close()
