"""Runs measures and prints their figures as a Markdown table; exits 1 when one misses what it must reach."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import uvloop

from benchmarks import (
    broker_cpu,
    cluster,
    cluster_faults,
    dashboards,
    dashboards_open,
    drain,
    grpc,
    memory,
    rest,
    rustq,
    scheduled,
    scrape,
    stackduck,
    start_latency,
    submit_many,
    submit_single,
)
from benchmarks.harness import HEADER, Row
from lab.processes import stop_on_signals


class Measure(Protocol):
    def __call__(self, *, quick: bool) -> Awaitable[list[Row]]: ...


MEASURES: dict[str, Measure] = {
    "submit_single": submit_single.measure,
    "submit_many": submit_many.measure,
    "drain_one": drain.measure_one,
    "drain_best": drain.measure_best,
    "start_latency": start_latency.measure,
    "broker_cpu": broker_cpu.measure,
    "memory_small": memory.measure_small,
    "memory_large": memory.measure_large,
    "scheduled": scheduled.measure,
    "grpc": grpc.measure,
    "rest_single": rest.measure_single,
    "rest_batches": rest.measure_batches,
    "rustq": rustq.measure,
    "scrape": scrape.measure,
    "stackduck": stackduck.measure,
    "dashboards": dashboards.measure,
    "dashboards_open": dashboards_open.measure_overviews,
    "dashboards_mixed": dashboards_open.measure_mixed,
    "cluster_single": cluster.measure_single,
    "cluster_many": cluster.measure_many,
    "cluster_end_to_end": cluster.measure_end_to_end,
    "cluster_start": cluster.measure_start,
    "cluster_memory": cluster.measure_memory,
    "cluster_kill": cluster_faults.measure_kill,
    "cluster_blips": cluster_faults.measure_blips,
    "cluster_transfer": cluster_faults.measure_transfer,
    "cluster_behind": cluster_faults.measure_behind,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}; all when none is given"
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes: a look, not a figure to quote")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in MEASURES]
    if unknown:
        parser.error(f"no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    with stop_on_signals():
        return 0 if _run(arguments.names or list(MEASURES), quick=arguments.quick) else 1


def _run(names: list[str], *, quick: bool) -> bool:
    """Whether every figure reached what it must."""
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.release()}\n"
    )
    print(HEADER, flush=True)
    reached = True
    for name in names:
        start = time.perf_counter()
        for row in uvloop.run(_coroutine(MEASURES[name], quick)):
            print(row.markdown(), flush=True)
            reached &= row.verdict != "MISS"
        print(f"{name} took {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return reached


async def _coroutine(measure: Callable[..., Awaitable[list[Row]]], quick: bool) -> list[Row]:
    return await measure(quick=quick)


if __name__ == "__main__":
    sys.exit(main())
