"""The worker's numbers as Prometheus reads them; worked out when they are asked for. docs/metrics.md lists the names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tq.task import Cause
from tq.worker.consumer import Consumer
from tq.worker.counts import Counts

MS = 1_000
"""How many there are in a second."""


class WorkerMetrics(Collector):
    """Only the main loop's thread may collect. Labels are the task types of the app, and so are bounded by it."""

    def __init__(self, counts: Callable[[], Counts], consumer: Consumer) -> None:
        self._counts = counts
        self._consumer = consumer
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def describe(self) -> list[Metric]:
        """Registering it must not ask a worker that is not running yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._of_attempts()
        yield from _of_counts(self._counts())

    def _of_attempts(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "tq_worker_tasks", "Attempts that ended, by type and cause.", labels=("task_type", "cause")
        )
        for (task_type, cause), count in sorted(self._consumer.ended.items()):
            ended.add_metric((task_type, Cause(cause).name.lower()), count)
        yield ended
        seconds = CounterMetricFamily(
            "tq_worker_task_seconds", "Seconds that attempts took together.", labels=("task_type",)
        )
        for task_type, ms in sorted(self._consumer.run_ms.items()):
            seconds.add_metric((task_type,), ms / MS)
        yield seconds


def _of_counts(counts: Counts) -> Iterator[Metric]:
    counter, gauge = CounterMetricFamily, GaugeMetricFamily
    yield counter("tq_worker_settled", "Endings that the broker took.", counts.settled)
    yield counter("tq_worker_leases_lost", "Endings that came after the lease was lost.", counts.lost)
    yield counter("tq_worker_reconnects", "Registrations after the first.", counts.reconnects)
    yield gauge("tq_worker_connected", "1 while registered with a broker.", counts.connected)
    yield gauge("tq_worker_slots", "Tasks it runs at a time.", counts.slots)
    yield gauge("tq_worker_running", "Tasks it runs now.", counts.running)
    yield gauge("tq_worker_unsettled", "Endings the broker has not answered for.", counts.unsettled)
    yield gauge("tq_worker_abandoned", "Handlers given up that still hold a thread.", counts.abandoned)
