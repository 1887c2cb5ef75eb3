"""`python -m tests.cluster.chaos --minutes N [--seed S] [--nodes 3|5]`: the campaign; exits 1 on any violation."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import percentile
from lab.cluster import Brokers
from lab.gates import Gates
from lab.processes import stop_on_signals
from tests.cluster import namespaces
from tests.cluster.campaign import Options, Stage, run
from tests.cluster.clocks import Clocks
from tests.cluster.disk_faults import DISK_FAULTS, FILE_FAULTS
from tests.cluster.disks import LoopDisks
from tests.cluster.faults import FAULTS, Fault
from tests.cluster.history import History
from tests.cluster.member_faults import MEMBER_FAULTS
from tests.cluster.namespaces import Namespaces

SCRATCH = Path(__file__).parents[2] / "build" / "chaos"


def main() -> int:
    arguments = _arguments()
    has_namespaces = arguments.network == "namespaces" or (
        arguments.network == "auto" and namespaces.possible()
    )
    if has_namespaces and not namespaces.is_inside():
        namespaces.enter("tests.cluster.chaos", [*sys.argv[1:], "--seed", str(arguments.seed)])
    print(f"chaos: {arguments.minutes:g} minutes, {arguments.nodes} nodes, seed {arguments.seed}", flush=True)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=SCRATCH))
    start = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - start:7.1f} s  {text}", flush=True)

    options = Options(arguments.seed, arguments.minutes * 60)
    with stop_on_signals(), ExitStack() as stack:
        stage, faults = _stage(directory, arguments.nodes, stack, has_namespaces=has_namespaces)
        chosen = {
            name: fault for name, fault in faults.items() if any(part in name for part in arguments.only)
        }
        history = asyncio.run(run(stage, options, chosen, tell))
    print(table(history, seconds=time.monotonic() - start))
    if history.violations:
        print(f"seed {arguments.seed}; data and logs are kept in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


def table(history: History, *, seconds: float) -> str:
    """Faults with what followed them, then what clients saw, as Markdown."""
    lines = ["", "| fault | times | acknowledged again after: p50 | longest |", "|---|---|---|---|"]
    for name, times in sorted(history.faults.items()):
        found = history.recoveries.get(name, [0.0])
        lines.append(f"| {name} | {times} | {percentile(found, 50):.2f} s | {max(found):.2f} s |")
    found = [each for recoveries in history.recoveries.values() for each in recoveries]
    counts = history.counts
    shown = {
        "faults injected": sum(history.faults.values()),
        "recovery, all faults": f"p50 {percentile(found, 50):.2f} s, p99 {percentile(found, 99):.2f} s"
        if found
        else "-",
        "tasks acknowledged": f"{len(history.acknowledged):,}",
        "acknowledged and lost, or otherwise wrong": counts.pop("violations", 0),
        "tasks in submits of unknown outcome": len(history.doubtful),
        "tasks in submits that did not happen": len(history.refused),
        **dict(sorted(counts.items())),
        "took": f"{seconds:.0f} s",
    }
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in shown.items())]
    lines += [f"violated: {violation}" for violation in history.violations]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.cluster.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="no fault begins later (5)")
    parser.add_argument("--nodes", type=int, choices=(3, 5), default=3, help="brokers (3)")
    parser.add_argument(
        "--network",
        choices=("auto", "namespaces", "gates"),
        default="auto",
        help="namespaces: packets, disks and power too, as root; gates: a proxy, everywhere (what the machine allows)",
    )
    parser.add_argument("--only", nargs="+", default=[""], help="only faults with one of these in their name")
    seed = random.SystemRandom().randrange(2**32)
    parser.add_argument("--seed", type=int, default=seed, help="of every choice")
    return parser.parse_args()


def _stage(
    directory: Path, nodes: int, stack: ExitStack, *, has_namespaces: bool
) -> tuple[Stage, dict[str, Fault]]:
    """The cluster with everything the machine allows to break, and the faults for it."""
    names = [f"n{number}" for number in range(1, nodes + 1)]
    faults = FAULTS | FILE_FAULTS | MEMBER_FAULTS
    network: Gates | Namespaces
    disks = None
    if has_namespaces:
        network = Namespaces(names)
        disks = LoopDisks(directory, names)
        stack.callback(disks.close)
        faults |= DISK_FAULTS
    else:
        network = Gates(names)
    stack.callback(network.close)
    clocks = Clocks(directory, names)
    data_dir = disks.data_dir if disks is not None else None
    brokers = Brokers(directory, network, names, data_dir=data_dir, env=clocks.env, command=clocks.command)
    print(f"network: {type(network).__name__}; disks of their own: {'yes' if disks else 'no'}", flush=True)
    return Stage(directory, brokers, network, clocks, disks), faults


if __name__ == "__main__":
    sys.exit(main())
