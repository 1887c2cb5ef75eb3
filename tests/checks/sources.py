"""The text of this repository, for the tests that read it."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE = frozenset(
    {
        ".git",
        ".hypothesis",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".venv",
        "__pycache__",
        "build",
        "data",
        "dist",
        "node_modules",
    }
)
"""Directories that hold what programs made."""


@cache
def sources(*patterns: str) -> tuple[Path, ...]:
    """The files whose path below the root matches one of the patterns (`*` matches slashes too), sorted."""
    return tuple(path for path in _files() if any(fnmatchcase(name_of(path), each) for each in patterns))


@cache
def _files() -> tuple[Path, ...]:
    found: list[Path] = []
    for directory, directories, names in os.walk(ROOT):
        directories[:] = [name for name in directories if name not in MADE]
        found += [Path(directory, name) for name in names]
    return tuple(sorted(found))


def name_of(path: Path) -> str:
    """The path as messages show it."""
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), filename=str(path))


def imports_of(path: Path) -> Iterator[str]:
    """The absolute names of the modules a file imports, in functions too; what only types need is left out."""
    tree = tree_of(path)
    type_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in type_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
