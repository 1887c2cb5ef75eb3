"""What every measure needs: real processes, what they cost, a bound to hold them to, and a row to say so.

Rules that keep the figures honest: broker, client and workers are processes of their own on one machine and share
its cores, the client's cost is in every figure, durability is strict, the data directory is on the disk that the
working directory is on (never a memory file system), and what was left out of a figure is said in its row.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lab.processes import Process, broker_address, start_broker, start_worker

ROOT = Path(__file__).parents[1]
SCRATCH = ROOT / "build" / "bench"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
DEPTH_MAX = 5_000_000
"""More than any measure keeps waiting: the measures are of speed and memory, not of admission."""


class Target(NamedTuple):
    """What is measured, and how good it must be and aims to be."""

    name: str
    unit: str
    must: float
    aim: float
    more_is_better: bool


class Row(NamedTuple):
    """One figure. how: sizes, warm-up, runs, and what the figure leaves out."""

    target: Target
    measured: float
    how: str

    @property
    def verdict(self) -> str:
        better = self.measured.__ge__ if self.target.more_is_better else self.measured.__le__
        return "aim" if better(self.target.aim) else "ok" if better(self.target.must) else "MISS"

    def markdown(self) -> str:
        unit = self.target.unit
        bound = "≥" if self.target.more_is_better else "≤"
        shown = [
            self.target.name,
            f"{bound} {_figure(self.target.must)} {unit}",
            f"{bound} {_figure(self.target.aim)} {unit}",
            f"{_figure(self.measured)} {unit}",
            self.verdict,
            self.how,
        ]
        return f"| {' | '.join(shown)} |"


HEADER = "| measure | must | aim | measured | verdict | how |\n|---|---|---|---|---|---|"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


class Lab:
    """A fresh directory with one broker in it, and workers as they are wanted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[Process] = []
        self.broker = self.start_broker()
        self.address = broker_address(self.broker)

    def start_broker(self, *, port: int = 0) -> Process:
        broker = start_broker(self.directory, "--queue-depth-threshold", str(DEPTH_MAX), port=port)
        self._started.append(broker)
        return broker

    def start_worker(self, *, concurrency: int, name: str = "worker") -> Process:
        """One tq-worker that serves `benchmarks.handlers` on its event loop."""
        worker = start_worker(
            self.directory,
            self.address,
            *("benchmarks.handlers:app", "--kind", "async", "--concurrency", str(concurrency)),
            name=name,
            python_path=ROOT,
        )
        self._started.append(worker)
        return worker

    def close(self) -> None:
        for process in reversed(self._started):
            process.terminate()
        for process in reversed(self._started):
            process.stop()


@contextmanager
def lab() -> Iterator[Lab]:
    """A Lab that is stopped and removed when the block ends."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        opened = Lab(Path(directory))
        try:
            yield opened
        finally:
            opened.close()


class Memory(NamedTuple):
    """Of one process, in MB of 10^6 bytes. resident = anonymous + file + shared: what `ps` shows as RSS.

    anonymous: its own heap and stacks. file: pages of programs, libraries and data files it has mapped, which the
    kernel may drop and which other processes may share; counted in full here.
    """

    resident: float
    anonymous: float
    file: float


def memory_of(process: Process) -> Memory:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    kilobytes = {
        name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if value.strip()
    }
    return Memory(*(int(kilobytes[name]) * 1024 / 1e6 for name in ("VmRSS", "RssAnon", "RssFile")))


def cpu_seconds_of(process: Process) -> float:
    """Processor time the process itself has used so far, in user and in kernel mode, all threads."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


async def paced(rate_per_second: int, total: int) -> AsyncIterator[int]:
    """0 to total - 1 at an even pace. A late step is made up for at once, so that the rate holds."""
    start = time.perf_counter()
    for number in range(total):
        await until(start + number / rate_per_second)
        yield number


async def until(moment: float) -> None:
    """Return when time.perf_counter() has reached the moment; at once when it has passed."""
    delay = moment - time.perf_counter()
    if delay > 0:
        await asyncio.sleep(delay)
