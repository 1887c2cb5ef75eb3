"""What is exported: every name of the contract, readable by the official parsers, and true."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tests.engine.harness import Engine, FakePeer, spec, with_engine
from tests.metrics.scrapes import Values, exporter_of, families, value, values
from tq.broker.measures import LABELS_MAX, TASK_BOUNDS_MS, Histogram
from tq.broker.observe import Observer
from tq.broker.replication.memory import MemoryLog
from tq.broker.storage.memory import MemoryStore
from tq.ids import new_id
from tq.task import CANCELLED, COMPLETED, DEAD_LETTER, PENDING, Cause
from tq.verbs import Cancel, GetStats, GetTask, Purge, Register, Retry, Settle, SettleItem, Stats, Submit

CONTRACT = {
    "tq_tasks": ("counter", {"status", "task_type"}),
    "tq_tasks_pending": ("gauge", set()),
    "tq_tasks_in_progress": ("gauge", set()),
    "tq_workers_connected": ("gauge", set()),
    "tq_task_processing_duration_seconds": ("histogram", {"task_type"}),
    "tq_task_queue_wait_seconds": ("histogram", {"queue"}),
    "tq_broker_queue_depth": ("gauge", {"priority"}),
    "tq_oldest_pending_age_seconds": ("gauge", {"queue"}),
    "tq_raft_term": ("gauge", set()),
    "tq_raft_leader": ("gauge", set()),
    "tq_raft_commit_index": ("gauge", set()),
    "tq_raft_follower_lag_entries": ("gauge", {"node"}),
    "tq_commit_seconds": ("histogram", set()),
    "tq_fsync_seconds": ("histogram", set()),
    "tq_connections": ("gauge", set()),
    "tq_rejections": ("counter", {"code"}),
}


async def run_some(engine: Engine) -> list[bytes]:
    """Two done (one at the second attempt), one buried, one cancelled, one running, two waiting; their ids."""
    ids = await engine.submit(spec(max_retries=1), spec(), spec(max_retries=0), spec())
    worker = await engine.worker(capacity=4)
    first, second, third, _ = await worker.delivered(4)
    engine.clock.advance(300)
    ends = [
        SettleItem(first.task_id, first.token, int(Cause.ERROR), b"", "no", 0),
        SettleItem(second.task_id, second.token, int(Cause.DONE), b"r"),
        SettleItem(third.task_id, third.token, int(Cause.ERROR), b"", "no"),
    ]
    await engine.call(Settle(tuple(ends)), worker)
    engine.clock.advance(10)
    [again] = await worker.delivered(1)
    await engine.call(Settle((SettleItem(again.task_id, again.token, int(Cause.DONE)),)), worker)
    [cancelled] = await engine.submit(spec("unserved", queue="mail"))
    await engine.call(Cancel(cancelled))
    ids += await engine.submit(spec("unserved", queue="mail", priority=250), spec("unserved", delay_ms=5_000))
    engine.clock.advance(2_000)
    return [*ids, cancelled]


def test_every_name_of_the_contract_is_there_with_its_type_and_labels() -> None:
    async def run(engine: Engine) -> None:
        await run_some(engine)
        observer = Observer()
        observer.rejections["BAD_REQUEST"] += 2
        found = families(exporter_of(engine, observer))

        for name, (kind, labels) in CONTRACT.items():
            family = found[name]
            assert family.type == kind, name
            assert family.samples, name
            assert {label for sample in family.samples for label in sample.labels} - {"le"} == labels, name

    with_engine(run)


def test_values_agree_with_the_statistics() -> None:
    async def run(engine: Engine) -> None:
        await run_some(engine)
        exporter = exporter_of(engine)
        found = values(families(exporter).values())
        stats = await engine.call(GetStats())
        assert isinstance(stats, Stats)

        assert value(found, "tq_tasks_pending") == stats.pending_count == 1
        assert value(found, "tq_tasks_in_progress") == stats.in_progress_count == 1
        assert value(found, "tq_tasks_stored", status="scheduled") == stats.scheduled_count == 1
        assert value(found, "tq_workers_connected") == stats.worker_count == 1
        depths = [value(found, "tq_broker_queue_depth", priority=tier) for tier in ("high", "normal", "low")]
        assert depths == [stats.depth_high, stats.depth_normal, stats.depth_low] == [1, 0, 0]
        assert value(found, "tq_queue_pending", queue="mail") == 1
        age = value(found, "tq_oldest_pending_age_seconds", queue="mail")
        assert age == stats.oldest_pending_age_ms / 1000 == 2
        assert came(found, "echo") == {
            "submitted": 4, "failed": 1, "completed": 2, "dead_letter": 1, "cancelled": 0, "expired": 0,
        }  # fmt: skip
        assert stats.completed_count == 2
        assert came(found, "unserved")["submitted"] == 3
        assert came(found, "unserved")["cancelled"] == 1

    with_engine(run)


def came(found: Values, task_type: str) -> dict[str, float]:
    return {
        dict(labels)["status"]: number
        for (name, labels), number in found.items()
        if name == "tq_tasks_total" and dict(labels)["task_type"] == task_type
    }


def test_attempts_and_waits_are_timed_by_the_entries_clock() -> None:
    async def run(engine: Engine) -> None:
        await engine.submit(spec(max_retries=0))
        engine.clock.advance(2_000)
        worker = await engine.worker()
        [delivery] = await worker.delivered(1)
        engine.clock.advance(40)
        item = SettleItem(delivery.task_id, delivery.token, int(Cause.ERROR), b"", "no")
        await engine.call(Settle((item,)), worker)
        found = values(families(exporter_of(engine)).values())

        wait, run = "tq_task_queue_wait_seconds", "tq_task_processing_duration_seconds"
        assert value(found, f"{wait}_sum", queue="default") == 2
        assert value(found, f"{wait}_bucket", queue="default", le="1.0") == 0
        assert value(found, f"{wait}_bucket", queue="default", le="5.0") == 1
        assert value(found, f"{run}_sum", task_type="echo") == 0.04
        assert value(found, f"{run}_bucket", task_type="echo", le="0.01") == 0
        assert value(found, f"{run}_bucket", task_type="echo", le="0.05") == 1

    with_engine(run)


def test_one_entry_may_hold_many_types_and_times() -> None:
    async def run(engine: Engine) -> None:
        worker = await engine.worker(capacity=6, types=("quick", "slow"))
        held = []
        for task_type in ("slow", "quick", "slow"):
            await engine.submit(spec(task_type))
            held += await worker.delivered(1)
            engine.clock.advance(100)
        await engine.submit(spec("unserved", queue="default"))
        engine.clock.advance(1_000)
        ends = tuple(SettleItem(each.task_id, each.token, int(Cause.DONE)) for each in held)
        await engine.call(Settle(ends), worker)
        both = tuple(spec(task_type, queue=queue) for task_type, queue in (("quick", "a"), ("slow", "b")) * 2)
        await engine.call(Submit(both))
        engine.clock.advance(40)
        await engine.call(Register(new_id(), "w2", ("a", "b"), ("quick", "slow"), 4), FakePeer())
        found = values(families(exporter_of(engine)).values())

        run, wait = "tq_task_processing_duration_seconds", "tq_task_queue_wait_seconds"
        assert value(found, f"{run}_sum", task_type="slow") == 2.4
        assert value(found, f"{run}_sum", task_type="quick") == 1.2
        assert value(found, f"{run}_count", task_type="slow") == 2
        assert came(found, "quick")["completed"] == 1
        assert value(found, f"{wait}_count", queue="a") == value(found, f"{wait}_count", queue="b") == 2
        assert value(found, f"{wait}_sum", queue="a") == 0.08

    with_engine(run)


def test_times_of_one_entry_fall_into_their_own_buckets() -> None:
    async def run(engine: Engine) -> None:
        for _ in range(2):
            await engine.submit(spec())
            engine.clock.advance(700)
        worker = await engine.worker(capacity=3)
        held = await worker.delivered(2)
        engine.clock.advance(700)
        await engine.submit(spec())
        held += await worker.delivered(1)
        engine.clock.advance(700)
        ends = tuple(SettleItem(each.task_id, each.token, int(Cause.DONE)) for each in held)
        await engine.call(Settle(ends), worker)
        found = values(families(exporter_of(engine)).values())

        def buckets(name: str, **labels: str) -> list[float]:
            return [value(found, f"{name}_bucket", le=le, **labels) for le in ("0.001", "0.5", "1.0", "5.0")]

        assert buckets("tq_task_queue_wait_seconds", queue="default") == [1, 1, 2, 3]
        assert buckets("tq_task_processing_duration_seconds", task_type="echo") == [0, 0, 1, 3]

    with_engine(run)


def test_a_histogram_counts_each_value_up_to_its_bound() -> None:
    histogram = Histogram((10, 20))
    for number in (0, 10, 11, 20, 21):
        histogram.observe(number)

    assert (histogram.counts, histogram.total) == ([2, 2, 1], 62)


def test_a_value_on_a_bound_counts_as_up_to_it() -> None:
    async def run(engine: Engine) -> None:
        await engine.submit(spec())
        engine.clock.advance(TASK_BOUNDS_MS[3])
        await engine.worker()
        found = values(families(exporter_of(engine)).values())

        bound = str(TASK_BOUNDS_MS[3] / 1000)
        assert value(found, "tq_task_queue_wait_seconds_bucket", queue="default", le=bound) == 1

    with_engine(run)


def test_commits_are_timed() -> None:
    async def run(engine: Engine) -> None:
        before = engine.log.last_index
        await engine.submit(spec())
        await engine.submit(spec())
        found = values(families(exporter_of(engine)).values())

        assert value(found, "tq_commit_seconds_count") == engine.log.last_index - before == 2

    with_engine(run)


def test_buckets_are_cumulative_and_end_with_the_count() -> None:
    async def run(engine: Engine) -> None:
        await run_some(engine)
        found = families(exporter_of(engine))
        histograms = [family for family in found.values() if family.type == "histogram"]
        assert len(histograms) == 4
        for family in histograms:
            by_labels: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = {}
            counts: dict[frozenset[tuple[str, str]], float] = {}
            for sample in family.samples:
                labels = frozenset((name, text) for name, text in sample.labels.items() if name != "le")
                if sample.name.endswith("_bucket"):
                    by_labels.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
                elif sample.name.endswith("_count"):
                    counts[labels] = sample.value
            for labels, buckets in by_labels.items():
                bounds, numbers = [bound for bound, _ in buckets], [number for _, number in buckets]
                assert bounds == sorted(bounds)
                assert numbers == sorted(numbers)
                assert bounds[-1] == math.inf
                assert numbers[-1] == counts[labels]

    with_engine(run)


def test_counters_never_go_back_whatever_is_purged_or_brought_back() -> None:
    async def run(engine: Engine) -> None:
        exporter = exporter_of(engine)
        ids = await run_some(engine)
        seen = [counters(exporter)]
        await engine.call(Retry(ids[2]))
        seen.append(counters(exporter))
        await engine.call(Cancel(ids[2], force=True))
        await engine.call(Cancel(ids[4]))
        seen.append(counters(exporter))
        engine.clock.advance(10_000)
        for state in (COMPLETED, CANCELLED, DEAD_LETTER, PENDING):
            await engine.call(Purge(state, 1))
            seen.append(counters(exporter))

        assert (await engine.call(GetStats())).completed_count == 0  # type: ignore[union-attr]
        for earlier, later in zip(seen, seen[1:], strict=False):
            assert earlier.keys() <= later.keys()
            assert [key for key in earlier if later[key] < earlier[key]] == []

    with_engine(run)


def counters(exporter: object) -> Values:
    found = families(exporter)  # type: ignore[arg-type]
    return values(family for family in found.values() if family.type in ("counter", "histogram"))


def test_names_beyond_the_cap_share_one_label_and_nothing_is_lost() -> None:
    async def run(engine: Engine) -> None:
        kinds = LABELS_MAX + 20
        tasks = [spec(f"type-{number}", queue=f"queue-{number}") for number in range(kinds)]
        await engine.call(Submit(tuple(tasks)))
        found = families(exporter_of(engine))

        types = {sample.labels["task_type"] for sample in found["tq_tasks"].samples}
        assert len(types) == LABELS_MAX + 1
        assert "other" in types
        assert came(values(found.values()), "other")["submitted"] == 20
        queues = [sample.labels["queue"] for sample in found["tq_oldest_pending_age_seconds"].samples]
        assert len(queues) == len(set(queues)) == LABELS_MAX + 1
        assert sum(sample.value for sample in found["tq_queue_pending"].samples) == kinds

    with_engine(run)


@pytest.mark.parametrize("is_replayed", [False, True], ids=["restored", "replayed"])
def test_a_restarted_broker_counts_only_what_it_did_itself(is_replayed: bool) -> None:
    store, log = MemoryStore(), MemoryLog()

    async def before(engine: Engine) -> None:
        await run_some(engine)

    async def after(engine: Engine) -> None:
        exporter = exporter_of(engine)
        found = values(families(exporter).values())
        assert came(found, "echo") == {"submitted": 0}
        assert value(found, "tq_tasks_stored", status="completed") == 2
        await engine.submit(spec())
        assert came(values(families(exporter).values()), "echo") == {"submitted": 1}

    with_engine(before, store=store, log=log)
    with_engine(after, store=MemoryStore() if is_replayed else store, log=MemoryLog(log.entries))


class _Unwalkable(dict[object, object]):
    def __iter__(self) -> Iterator[object]:
        raise AssertionError("a scrape walks over the tasks")

    keys = values = items = __iter__  # type: ignore[assignment]


def test_a_scrape_looks_at_no_task() -> None:
    async def run(engine: Engine) -> None:
        await engine.submit(spec(), spec())
        state = engine.backend._state
        state.heads = _Unwalkable(state.heads)  # type: ignore[assignment]
        exporter = exporter_of(engine)
        engine.store.scan = None  # type: ignore[assignment, method-assign]

        assert value(values(families(exporter).values()), "tq_tasks_pending") == 2

    with_engine(run)


def test_odd_names_are_escaped() -> None:
    async def run(engine: Engine) -> None:
        name = 'a"b\\c\nd'
        await engine.submit(spec(name, queue=name))
        found = values(families(exporter_of(engine)).values())

        assert came(found, name)["submitted"] == 1

    with_engine(run)


def test_what_the_doors_count_is_exported() -> None:
    async def run(engine: Engine) -> None:
        observer = Observer()
        observer.connections_open, observer.connections_total = 2, 5
        observer.connections_closed["idle"] = 3
        observer.requests[GetTask] += 4
        observer.rejections["TASK_NOT_FOUND"] += 1
        found = values(families(exporter_of(engine, observer)).values())

        assert value(found, "tq_connections") == 2
        assert value(found, "tq_connections_opened_total") == 5
        assert value(found, "tq_connections_closed_total", reason="idle") == 3
        assert value(found, "tq_requests_total", verb="GetTask") == 4
        assert value(found, "tq_rejections_total", code="TASK_NOT_FOUND") == 1
        assert value(found, "tq_raft_term") == 3
        assert value(found, "tq_raft_follower_lag_entries", node="node2") == 4

    with_engine(run)
