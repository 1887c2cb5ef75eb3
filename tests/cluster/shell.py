"""Programs of the system that namespaces and disks are made with."""

from __future__ import annotations

import subprocess

SECONDS_MAX = 60.0


def run(*command: str) -> str:
    """What it printed. Raises RuntimeError with what it complained of."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def try_to(*command: str) -> bool:
    """Whether it worked; for what may have been done already."""
    return subprocess.run(command, capture_output=True, timeout=SECONDS_MAX, check=False).returncode == 0
