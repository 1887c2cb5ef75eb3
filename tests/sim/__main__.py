"""Run seeds: `python -m tests.sim --seeds 1000 --first 1`, or one again: `python -m tests.sim --seed 17 --keep 3,8`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.sim.campaign import Totals, run_many, shrunken
from tests.sim.makes import MAKES
from tests.sim.run import Report, run
from tests.sim.schedule import brisk, from_seed

PROGRESS_SECONDS = 10.0
SHRINK_MAX = 3
"""Failing seeds whose schedules are shrunk; the others are named."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (100)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (1)")
    parser.add_argument("--processes", type=int, default=2, help="run so many at once (2)")
    parser.add_argument("--kind", choices=sorted(MAKES), default=next(reversed(MAKES)), help="of node")
    parser.add_argument("--seed", type=int, help="run this one alone and show what it did")
    parser.add_argument("--keep", help="of its faults only these, by position")
    parser.add_argument(
        "--short", action="store_true", help="less work and as many faults in a third of the time"
    )
    parser.add_argument("--no-shrink", action="store_true", help="leave failing schedules as they are")
    arguments = parser.parse_args()
    return _one(arguments) if arguments.seed is not None else _many(arguments)


def _one(arguments: argparse.Namespace) -> int:
    schedule = (brisk if arguments.short else from_seed)(arguments.seed)
    if arguments.keep is not None:
        schedule = schedule.keep([int(position) for position in arguments.keep.split(",") if position])
    report = run(schedule, MAKES[arguments.kind])
    _show(report, arguments, list(range(len(schedule.faults))), arguments.keep)
    totals = Totals()
    totals.add(report)
    print("\n".join(totals.lines()))
    return 1 if report.has_failed else 0


def _many(arguments: argparse.Namespace) -> int:
    totals = Totals()
    told = began = time.monotonic()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    for report in run_many(arguments.kind, seeds, processes=arguments.processes, is_short=arguments.short):
        totals.add(report)
        if report.has_failed:
            print(f"seed {report.schedule.seed} failed: {', '.join(sorted(report.kinds))}", flush=True)
        now = time.monotonic()
        if now - told > PROGRESS_SECONDS:
            told = now
            print(f"{totals.seeds} of {len(seeds)} seeds, {len(totals.failed)} failed", flush=True)
    print("\n".join(totals.lines()))
    print(f"{time.monotonic() - began:.0f} s")
    for report in [] if arguments.no_shrink else totals.failed[:SHRINK_MAX]:
        schedule, kept = shrunken(report, arguments.kind)
        keep = ",".join(map(str, kept))
        _show(run(schedule, MAKES[arguments.kind]), arguments, kept, keep)
    return 1 if totals.failed else 0


def _show(report: Report, arguments: argparse.Namespace, positions: list[int], keep: str | None) -> None:
    print(f"\nseed {report.schedule.seed}: {report.schedule.options}")
    for position, fault in zip(positions, report.schedule.faults, strict=True):
        print(f"  {position:3d} {fault}")
    for violation in report.violations:
        print(f"  ! {violation}")
    again = f" --keep '{keep}'" if keep is not None else ""
    short = " --short" if arguments.short else ""
    print(f"again: python -m tests.sim --kind {arguments.kind} --seed {report.schedule.seed}{short}{again}")


if __name__ == "__main__":
    sys.exit(main())
