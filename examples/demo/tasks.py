"""The demo's tasks, as an application would write them. `tq-worker examples.demo.tasks:app` serves them."""

from __future__ import annotations

import hashlib
import os
import sysconfig
import time
import zlib
from pathlib import Path
from typing import TypedDict

from tq import App
from tq.worker.options import Retry

LIBRARY = Path(sysconfig.get_path("stdlib"))
PASSED_OVER = frozenset({"__pycache__", "site-packages", "dist-packages"})
"""What stands below the library's directory and is no part of it."""

app = App()


class Digest(TypedDict):
    """What is found out about one file."""

    sha256: str
    bytes: int
    lines: int
    compressed_bytes: int


@app.task(queue="demo", kind="thread", timeout=120)
def digest_file(name: str) -> Digest:
    """Hash, count and compress one file of the standard library."""
    content = (LIBRARY / name).read_bytes()
    return Digest(
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        lines=content.count(b"\n"),
        compressed_bytes=len(zlib.compress(content)),
    )


@app.task(queue="demo", max_retries=2, retry=Retry("fixed", base="200ms"))
def read_missing_file(name: str) -> Digest:
    """Fails each time: nothing in the library has this name."""
    raise FileNotFoundError(f"{name} is not in the standard library")


@app.task(queue="demo", kind="thread", timeout=1, max_retries=0)
def read_endless_file() -> Digest:
    """Never gets to the end, so its time limit ends it."""
    deadline = time.monotonic() + 3600
    while time.monotonic() < deadline:
        pass
    raise AssertionError("the time limit did not end this task")


def library_files() -> list[str]:
    """Every file of the standard library, by its path below LIBRARY, sorted."""
    found = []
    for directory, directories, names in os.walk(LIBRARY):
        directories[:] = [name for name in directories if name not in PASSED_OVER]
        found += [Path(directory, name).relative_to(LIBRARY).as_posix() for name in names]
    return sorted(found)
