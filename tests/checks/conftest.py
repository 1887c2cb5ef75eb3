"""The checks read every source file as a syntax tree."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _uncollected() -> Iterator[None]:
    """No garbage of earlier tests is collected while a tree is made: what its finalizers do, CPython 3.11's parser takes for
    a recursion of its own and gives up ("AST constructor recursion depth mismatch", python/cpython#106905)."""
    was_enabled = gc.isenabled()
    gc.disable()
    yield
    if was_enabled:
        gc.enable()
