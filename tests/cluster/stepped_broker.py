"""tq-broker with a wall clock that can be set from outside: `python -m tests.cluster.stepped_broker ARGUMENTS`.

The time of day is shifted by the nanoseconds that stand in the file CHAOS_CLOCK names, as a signed integer of eight
bytes; monotonic time is left alone, as a real step of the clock leaves it. tq asks the time in one place only, so this
is all that its decisions see; what RocksDB writes into its diary stays right.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from pathlib import Path
from struct import Struct

VARIABLE = "CHAOS_CLOCK"
OFFSET_NS = Struct("<q")


def shift_time(path: Path) -> None:
    """Let `time.time_ns` and `time.time` follow the file from now on."""
    with path.open("rb") as file:
        offset = mmap.mmap(file.fileno(), OFFSET_NS.size, access=mmap.ACCESS_READ)
    real_ns = time.time_ns

    def shifted_ns() -> int:
        shift: int = OFFSET_NS.unpack_from(offset)[0]
        return real_ns() + shift

    time.time_ns = shifted_ns
    time.time = lambda: shifted_ns() / 1e9


if __name__ == "__main__":
    shift_time(Path(os.environ[VARIABLE]))
    from tq.broker.main import main  # only now: nobody may keep the real functions

    sys.exit(main())
