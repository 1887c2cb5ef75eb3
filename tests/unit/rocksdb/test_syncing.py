"""What the disk costs the rest of the process: nothing. strace makes it slow, for a process of its own."""

from __future__ import annotations

import subprocess
import sys
from glob import glob
from pathlib import Path
from threading import Thread

import pytest

from tq.broker.rocksdb.database import Database
from tq.broker.rocksdb.options import Family

SYNC_MS = 200
"""What each sync is made to take."""
SLOW_DISK = (
    *("strace", "--follow-forks", "--quiet=all", "--output=/dev/null", "--trace=fdatasync"),
    f"--inject=fdatasync:delay_exit={SYNC_MS * 1000}",
)
TURNS_MIN = 10
"""Of the 200 or so that fit into one sync; on a busy machine far fewer do, and beside a thread that keeps the interpreter
there are one or two, however long it takes."""


def count_turns(path: str, job: str) -> None:
    """In the child: say how often another thread has its turn during a synced write, or before a checkpoint is there."""
    database = Database.open(path, (Family("rows"),), create=True, cache_bytes=1024**2)
    batch = database.batch()
    batch.put(b"key", b"value", database.handles["rows"])
    if job == "checkpoint":
        database.write(batch)
        thread = Thread(target=database.checkpoint, args=(f"{path}.copy",))
    else:
        thread = Thread(target=database.write_synced, args=(batch, b"note"))
    thread.start()
    turns = 0
    while thread.is_alive() and not glob(f"{path}.copy*"):
        thread.join(0.001)
        turns += 1
    thread.join()
    sys.stdout.write(f"{turns}\n")
    database.close()


@pytest.mark.parametrize("job", ["write", "checkpoint"])
def test_the_event_loop_goes_on_while_the_disk_syncs(tmp_path: Path, job: str) -> None:
    path = str(tmp_path / "database")
    code = f"from tests.unit.rocksdb.test_syncing import count_turns; count_turns({path!r}, {job!r})"

    child = subprocess.run(
        [*SLOW_DISK, sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert int(child.stdout) >= TURNS_MIN
