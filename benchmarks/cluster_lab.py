"""Three brokers of one cluster on this machine, for the measures of clusters. The rules of `harness` hold."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.harness import ROOT, SCRATCH, percentile
from lab.cluster import Brokers
from lab.network import Direct, Seats
from lab.processes import Process, start_worker
from tq import AsyncClient

NODES = ("n1", "n2", "n3")
PAYLOAD = b"x" * 200
WARM_UP = 300


class ClusterLab:
    """A fresh directory with a running cluster in it, and workers as they are wanted."""

    def __init__(self, directory: Path, seats: Seats) -> None:
        self.directory = directory
        self.brokers = Brokers(directory, seats, NODES)
        self._workers: list[Process] = []

    def start(self) -> None:
        """Return when a leader was elected."""
        for node in NODES:
            self.brokers.start(node)
        for node in NODES:
            self.brokers.ready(node)
        self.brokers.wait_for_leader()

    @property
    def addresses(self) -> str:
        """The leader's first, so that no figure holds the way there."""
        leader = self.brokers.wait_for_leader()
        return ",".join(self.brokers.address(node) for node in sorted(NODES, key=lambda node: node != leader))

    def start_worker(self, *, concurrency: int, name: str = "worker") -> Process:
        """One tq-worker that serves `benchmarks.handlers` on its event loop."""
        arguments = ("benchmarks.handlers:app", "--kind", "async", "--concurrency", str(concurrency))
        worker = start_worker(self.directory, self.addresses, *arguments, name=name, python_path=ROOT)
        self._workers.append(worker)
        return worker

    def leaders(self) -> int:
        """Terms that had a leader so far."""
        self.brokers.roles.read()
        return len(self.brokers.roles.leaders)

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
        self.brokers.close()


@contextmanager
def cluster_lab(seats: Seats | None = None) -> Iterator[ClusterLab]:
    """A ClusterLab that is stopped and removed when the block ends. seats: None = with nothing between the nodes."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir=SCRATCH))
        if seats is None:
            seats = direct = Direct(NODES)
            stack.callback(direct.close)
        running = ClusterLab(Path(directory), seats)
        stack.callback(running.close)
        running.start()
        yield running


async def submit_one_by_one(client: AsyncClient, total: int) -> list[float]:
    """Milliseconds of each, from before it left until it was acknowledged."""
    took = []
    for _ in range(total):
        start = time.perf_counter()
        await client.submit_task("noop", PAYLOAD)
        took.append((time.perf_counter() - start) * 1000)
    return took


def spread(values: Sequence[float], unit: str) -> str:
    """How figures are told beside the one that is judged."""
    shown = [f"p{percent} {percentile(values, percent):.3g}" for percent in (50, 90, 99)]
    return f"{', '.join(shown)}, longest {max(values):.3g} {unit}"
