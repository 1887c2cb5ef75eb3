"""The pictures of docs/dashboard.md are what these tests see: `make pictures` takes them anew."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.pictures import take

PAGE = Path(__file__).parents[2] / "docs" / "dashboard.md"
PNG = b"\x89PNG\r\n"


def test_every_page_has_a_picture_and_the_documentation_shows_it(browser: Browser, tmp_path: Path) -> None:
    take(browser, tmp_path)

    taken = {path.name for path in tmp_path.iterdir()}
    shown = re.findall(r"!\[.+\]\(images/(dashboard-\w+\.png)\)", PAGE.read_text())
    assert len(taken) == 7
    assert set(shown) == taken
    assert all((PAGE.parent / "images" / name).read_bytes().startswith(PNG) for name in shown)
