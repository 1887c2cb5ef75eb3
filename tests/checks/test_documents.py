"""What the documents promise exists, and what exists is documented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from tests.checks.sources import ROOT, name_of, sources, text_of
from tq import errors, verbs

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE_TARGET = re.compile(r"^([a-z]+):.*## ", re.MULTILINE)


def links_of(path: Path) -> list[str]:
    """The targets inside the repository, without their anchors."""
    targets = (target.partition("#")[0] for target in LINK.findall(text_of(path)))
    return [
        target for target in targets if target and "://" not in target and not target.startswith("mailto:")
    ]


def test_every_link_in_a_document_leads_somewhere() -> None:
    broken = [
        f"{name_of(path)} -> {target}"
        for path in sources("*.md")
        for target in links_of(path)
        if not (path.parent / target).exists()
    ]

    assert not broken


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / target).resolve() for target in links_of(index)}
    pages = set(sources("docs/*.md", "tq/*/DESIGN.md", "CHANGELOG.md", "CONTRIBUTING.md"))

    assert {name_of(page) for page in pages - listed - {index}} == set()


def test_every_verb_has_its_place_on_the_protocol_page() -> None:
    page = text_of(ROOT / "docs" / "protocol.md")
    names = [kind.__name__ for union in (verbs.Request, verbs.Reply, verbs.Push) for kind in get_args(union)]

    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


def test_every_error_code_is_on_the_protocol_page() -> None:
    page = text_of(ROOT / "docs" / "protocol.md")

    assert [code for code in errors.BY_CODE if not re.search(rf"\b{code}\b", page)] == []


def test_every_make_target_a_document_names_exists() -> None:
    targets = set(MAKE_TARGET.findall(text_of(ROOT / "Makefile")))
    named = {
        (name_of(path), target)
        for path in sources("*.md")
        for target in re.findall(r"`make ([a-z]+)", text_of(path))
    }

    assert {pair for pair in named if pair[1] not in targets} == set()


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "## [Unreleased]" in text_of(ROOT / "CHANGELOG.md")
