"""What only the broker's own code knows of a data directory, asked in a process of its own.

`tq.admin` does not import the broker: it talks to brokers of any release, and starts sooner without it. The program
is `tq.broker.offline`, which prints one JSON object a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tq.admin.backups import sync_directory
from tq.admin.progress import progress

MARKER, LOCK, JOURNAL = "node.json", "LOCK", "journal"
SCRATCH = ".restoring"

PROGRAM = (sys.executable, "-m", "tq.broker.offline")


class OfflineFailed(Exception):
    """The broker's code could not do its part; the text is what it said."""


def damages(directory: Path) -> list[str]:
    """One sentence for each damage in a backup, or in the data directory of a stopped broker; every row is read.

    Raises OfflineFailed when it cannot be looked at, because a broker uses it for example.
    """
    rows: dict[object, int] = {}
    with (
        subprocess.Popen(
            [*PROGRAM, "verify", str(directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as tool,
        progress("verifying rows", None) as advance,
    ):
        assert tool.stdout is not None
        assert tool.stderr is not None
        for line in tool.stdout:
            event = _event(line)
            if event.get("event") == "verified":
                return [str(text) for text in event["damages"]]
            if event.get("event") == "refused":
                raise OfflineFailed(str(event["text"]))
            read = event.get("rows", 0)
            advance(read - rows.get(event.get("place"), 0))
            rows[event.get("place")] = read
        raise OfflineFailed(_last_line(tool.stderr.read()) or "the broker's code is not installed here")


def begin_behind(data_dir: Path, log_index: int) -> None:
    """Make a directory that holds a restored store a data directory, with a log that goes on after log_index.

    The marker comes last and in one step: a broker refuses a directory with data and no marker, so a restore that
    broke off is never taken for a whole one. Raises OfflineFailed, OSError.
    """
    scratch = data_dir / SCRATCH
    command = [*PROGRAM, "begin-behind", str(scratch), str(log_index)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        said = _event(_last_line(made.stdout)).get("text")
        raise OfflineFailed(str(said or _last_line(made.stderr) or "the broker's code is not installed here"))
    os.replace(scratch / JOURNAL, data_dir / JOURNAL)
    (scratch / LOCK).unlink()
    os.replace(scratch / MARKER, data_dir / MARKER)
    scratch.rmdir()
    sync_directory(data_dir)


def _event(line: str) -> dict[str, Any]:
    """A line of a program; what is not one of its own says nothing."""
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
