"""The demo, as `make demo` runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
DEMO_SECONDS_MAX = 240


@pytest.mark.timeout(DEMO_SECONDS_MAX + 30)
def test_the_demo_ends_with_every_task_as_it_must_be_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.demo"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    demo = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEMO_SECONDS_MAX
    )

    last = demo.stdout.splitlines()[-1]
    found = re.fullmatch(
        r"demo: (\d+) tasks, (\d+) completed, (\d+) dead-lettered as expected, 0 lost, 0 wrong", last
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert found, last
    total, completed, dead_lettered = map(int, found.groups())
    assert total == completed + dead_lettered
    assert total > 1000
    assert dead_lettered == 4
    assert list(tmp_path.iterdir()) == []
    assert [process for process in psutil.process_iter(["cmdline"]) if _names(process, tmp_path)] == []


def test_make_demo_runs_the_demo() -> None:
    dry = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert dry.stdout.splitlines()[-1].endswith("-m examples.demo")


def _names(process: psutil.Process, directory: Path) -> bool:
    return any(str(directory) in argument for argument in process.info["cmdline"] or ())
