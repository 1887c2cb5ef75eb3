"""Sizes, names and words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.checks.sources import ROOT, name_of, sources, text_of, tree_of

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$|^tq/client/sync\.py$")
CATCH_ALL_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}

BANNED: dict[str, tuple[tuple[str, ...], str]] = {
    r"\b(TODO|FIXME|XXX|HACK)\b": ((), "open an issue, or do it"),
    r"\btime\.sleep\(": (
        ("lab/processes.py", "tests/worker/victim.py", "tq/broker/engine/applier.py"),
        "wait for a signal or a condition with a deadline",
    ),
    r"\bNotImplementedError\b": ((), "a stub is not a feature"),
    r"\bbreakpoint\(\)": ((), "left over from debugging"),
    r"^\s*except\s*:": ((), "name what is caught"),
    r"\bpytest\.mark\.(skip|xfail)\b": ((), "a test runs, or its fixture says what the machine lacks"),
    r"\b(import pickle|pickle\.loads?)\b": (("tests/",), "nothing from a wire or a disk is unpickled"),
    r"# type: ignore(?!\[)": ((), "name the error that is ignored"),
}
"""pattern -> (beginnings of the paths where it is allowed, what to do instead)"""
MACHINE_PATHS = re.compile(r"(?<![\w.])/(home|root|work|Users|mnt)/[\w.-]+")


def python_files() -> list[Path]:
    return [path for path in sources("*.py") if not GENERATED.search(name_of(path))]


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    long = {
        name_of(path): lines
        for path in python_files()
        if (lines := text_of(path).count("\n")) > FILE_LINES_MAX
    }

    assert not long, "ask of each what two things it holds"


def test_no_function_is_longer_than_seventy_lines() -> None:
    """Its signature is not counted: a command's is as long as its options are many."""
    long = [
        f"{name_of(path)}:{node.lineno} {node.name} {lines}"
        for path in python_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.body[0].lineno + 1) > FUNCTION_LINES_MAX
    ]

    assert not long


def test_no_module_is_a_box_for_everything() -> None:
    assert not [name_of(path) for path in python_files() if path.stem in CATCH_ALL_NAMES]


def test_every_module_of_tq_says_what_it_is_for() -> None:
    silent = [name_of(path) for path in sources("tq/*.py") if not ast.get_docstring(tree_of(path))]

    assert not silent


@pytest.mark.parametrize("pattern", BANNED)
def test_banned_word_stands_nowhere(pattern: str) -> None:
    allowed, instead = BANNED[pattern]
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in python_files()
        if path != Path(__file__) and not name_of(path).startswith(allowed)
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if re.search(pattern, line)
    ]

    assert not found, instead


def test_no_text_names_a_path_of_somebodys_machine() -> None:
    patterns = ("*.py", "*.md", "*.toml", "*.yaml", "*.yml", "*.txt", "Makefile", "*.sh")
    found = [
        f"{name_of(path)}: {match.group()}"
        for path in sources(*patterns)
        if path != Path(__file__)
        for match in MACHINE_PATHS.finditer(text_of(path))
    ]

    assert not found


def test_pins_are_names_and_versions_only() -> None:
    lines = text_of(ROOT / "constraints.txt").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]

    assert pins
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line)] == []
