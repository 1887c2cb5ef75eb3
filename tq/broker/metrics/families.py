"""Plain numbers to families of metrics: names, types, units and labels. docs/metrics.md tells the same to people.

One function for each part that measures; each name stands here once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from tq.broker.measures import Histogram, LogMeasures, Measures, StoreMeasures
from tq.broker.observe import Observer

MS = 1_000
NS = 1_000_000_000
"""How many there are in a second."""


def of_backend(measures: Measures) -> Iterator[Metric]:
    yield _counters(
        "tq_tasks",
        "Tasks that came to a status: submitted, failed (a retry followed), or one of the ends.",
        ("status", "task_type"),
        measures.came,
    )
    yield _gauge(
        "tq_tasks_pending",
        "Tasks that are ready and wait for a worker.",
        measures.stored["pending"],
    )
    yield _gauge("tq_tasks_in_progress", "Tasks that a worker holds.", measures.stored["in_progress"])
    yield _gauges("tq_tasks_stored", "Tasks the broker keeps, by status.", "status", measures.stored)
    yield _gauge("tq_workers_connected", "Workers with a connection.", measures.workers)
    yield _gauges(
        "tq_broker_queue_depth",
        "Pending tasks by priority: high from 200, normal from 100, low.",
        "priority",
        measures.depths,
    )
    yield _gauges("tq_queue_pending", "Pending tasks by queue.", "queue", measures.pending)
    yield _gauges(
        "tq_oldest_pending_age_seconds",
        "How long the longest waiting of the next tasks has been ready.",
        "queue",
        {queue: ms / MS for queue, ms in measures.oldest_pending_ms.items()},
    )
    yield _histograms(
        "tq_task_processing_duration_seconds",
        "Attempts, from lease to end, however they ended.",
        "task_type",
        measures.runs,
    )
    yield _histograms(
        "tq_task_queue_wait_seconds",
        "From ready to handed out, for every attempt.",
        "queue",
        measures.waits,
    )
    yield _histogram(
        "tq_commit_seconds",
        "From an entry's proposal to its commit: what every write waits for.",
        measures.commits,
    )


def of_log(measures: LogMeasures) -> Iterator[Metric]:
    yield _gauge("tq_raft_term", "The term; 0 on a broker without a cluster.", measures.term)
    yield _gauge("tq_raft_leader", "1 on the node that leads.", int(measures.is_leader))
    yield _gauge("tq_raft_commit_index", "The last entry known to be committed.", measures.commit_index)
    yield _gauges(
        "tq_raft_follower_lag_entries",
        "Entries a follower is behind; told by the leader.",
        "node",
        measures.follower_lag,
    )
    yield _histogram("tq_fsync_seconds", "Syncs of the log, each with its write.", measures.syncs)


def of_stores(measures: StoreMeasures) -> Iterator[Metric]:
    up = {store: int(is_up) for store, is_up in measures.up.items()}
    yield _gauges("tq_stackduck_store_up", "1 while the store is reached.", "store", up)
    yield _counters(
        "tq_stackduck_store_outages",
        "How often the store was not reached any more.",
        ("store",),
        _single(measures.outages),
    )
    yield _gauge(
        "tq_stackduck_memory_jobs", "Jobs that wait in memory until Redis is back.", measures.in_memory
    )
    yield _gauge(
        "tq_stackduck_untold_ends", "Ends of jobs that Redis is still to be told of.", measures.untold
    )
    yield _counters(
        "tq_stackduck_repairs",
        "What was put right: members set aside, jobs of lost workers, rows that were in no queue.",
        ("repair",),
        _single(measures.events),
    )


def of_observer(observer: Observer) -> Iterator[Metric]:
    connections = observer.connections_open + observer.http_connections_open
    yield _gauge("tq_connections", "Connections that are open at the TCP and REST ports.", connections)
    yield _counter("tq_connections_opened", "Connections that came.", observer.connections_total)
    yield _counters(
        "tq_connections_closed", "Connections that ended.", ("reason",), _single(observer.connections_closed)
    )
    verbs = {(verb.__name__,): count for verb, count in observer.requests.items()}
    yield _counters("tq_requests", "Requests that arrived, at any door.", ("verb",), verbs)
    yield _counters(
        "tq_rejections", "Requests answered with an error.", ("code",), _single(observer.rejections)
    )


def build(version: str, node_id: str) -> Metric:
    family = GaugeMetricFamily("tq_build_info", "1; what runs here.", labels=("version", "node"))
    family.add_metric((version, node_id), 1)
    return family


def _single(values: Mapping[str, int]) -> dict[tuple[str], int]:
    return {(label,): value for label, value in values.items()}


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(name, meaning, value=value)


def _counters(
    name: str,
    meaning: str,
    labels: tuple[str, ...],
    values: Mapping[tuple[str, str], int] | Mapping[tuple[str], int],
) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, meaning, *_shape(histogram, NS))


def _histograms(name: str, meaning: str, label: str, values: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=(label,))
    for key, histogram in values.items():
        buckets, total = _shape(histogram, MS)
        family.add_metric((key,), buckets, total)
    return family


def _shape(histogram: Histogram, unit: int) -> tuple[list[tuple[str, float]], float]:
    """Cumulative buckets in seconds, and the sum. The counts are copied first: their writer goes on."""
    counts, total = list(histogram.counts), histogram.total
    bounds = [str(bound / unit) for bound in histogram.bounds]
    return list(zip([*bounds, "+Inf"], accumulate(counts), strict=True)), total / unit
