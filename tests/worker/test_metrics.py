"""The worker's numbers for Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.metrics.scrapes import ask, value, values
from tests.worker.harness import bench, run
from tq import exposition
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.metrics import WorkerMetrics
from tq.worker.runtime import WorkerOptions

NO_ARGUMENTS = pack_arguments((), {}, of="test")
PAGE = Path(__file__).parents[2] / "docs" / "worker.md"


def exported(registry: CollectorRegistry) -> str:
    return exposition.render(registry).decode()


def test_what_ended_is_told_by_type_and_cause() -> None:
    async def scenario() -> str:
        app = App()

        @app.task(name='odd "name"')
        async def odd() -> None: ...

        async with bench(app, WorkerOptions()) as it:
            await it.broker.ending(it.broker.submit('odd "name"', NO_ARGUMENTS))
            return exported(WorkerMetrics(lambda: it.worker.counts, it.worker._consumer).registry)

    found = values(parse(run(scenario())))
    assert value(found, "tq_worker_tasks_total", task_type='odd "name"', cause="done") == 1
    assert value(found, "tq_worker_slots") == 4
    assert value(found, "tq_worker_connected") == 1


def test_a_worker_with_a_metrics_port_serves_them_there() -> None:
    async def scenario() -> None:
        app = App()

        @app.task(name="job")
        async def job() -> None: ...

        async with bench(app, WorkerOptions(metrics_port=0)) as it:
            await it.broker.ending(it.broker.submit("job", NO_ARGUMENTS))
            door = it.worker._metrics
            assert door is not None
            status, _, body = await ask(door.port, b"GET /metrics HTTP/1.1\r\n\r\n")
            assert status == "HTTP/1.1 200 OK"
            assert b"tq_worker_connected 1.0" in body

    run(scenario())


def test_every_metric_is_on_the_workers_page() -> None:
    async def scenario() -> str:
        app = App()

        @app.task(name="job")
        async def job() -> None: ...

        async with bench(app, WorkerOptions()) as it:
            await it.broker.ending(it.broker.submit("job", NO_ARGUMENTS))
            return exported(WorkerMetrics(lambda: it.worker.counts, it.worker._consumer).registry)

    told = {sample.name for family in parse(run(scenario())) for sample in family.samples}
    worker = {name for name in told if name.startswith("tq_worker_")}
    assert set(re.findall(r"`(tq_worker_\w+)", PAGE.read_text())) == worker
