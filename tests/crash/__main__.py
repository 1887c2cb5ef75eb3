"""`python -m tests.crash --kills N [--seed S]`: the whole campaign, with its table; exits 1 on any violation."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from lab.processes import stop_on_signals
from tests.crash.campaign import run
from tests.crash.history import History

SCRATCH = Path(__file__).parents[2] / "build" / "crash"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="kill -9 of the broker, at least (300)")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of every choice"
    )
    arguments = parser.parse_args()
    print(f"crash: {arguments.kills} kills, seed {arguments.seed}", flush=True)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=SCRATCH))
    start = time.perf_counter()
    with stop_on_signals():
        history = asyncio.run(run(directory, kills=arguments.kills, seed=arguments.seed))
    print(table(history, seconds=time.perf_counter() - start))
    for violation in history.violations:
        print(f"violated: {violation}")
    if history.violations:
        print(f"data and logs are kept in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


def table(history: History, *, seconds: float) -> str:
    counts = history.counts
    shown = {
        "kills of the broker": f"{counts['kills']}, of these {counts['kills during recovery']} soon after a start",
        "kills of a worker": counts["worker kills"],
        "submits acknowledged": len(history.acknowledged),
        "unknown outcomes": f"{counts['unknown outcomes']}, {counts['given up']} tasks of them not sent again",
        "deliveries to the exact worker": f"{counts['deliveries']}, {counts['redeliveries']} of them a second time",
        "its settles": f"{counts['settles accepted']} accepted, {counts['settles refused']} refused (lease lost)",
        "tasks drained in order": len(history.ordered),
        "unique keys": len(history.unique),
        "scheduled tasks": len(history.due_ms),
        "exec to ready": f"median {statistics.median(history.recoveries):.2f} s, "
        f"longest {max(history.recoveries):.2f} s",
        "took": f"{seconds:.0f} s",
        "verdict": f"{counts['violations']} violations"
        if counts["violations"]
        else "nothing acknowledged was lost",
    }
    return "\n".join(f"{name:<32} {value}" for name, value in shown.items())


if __name__ == "__main__":
    sys.exit(main())
