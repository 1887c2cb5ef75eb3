"""The worker's numbers for Prometheus."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tests.worker.harness import bench, run
from tq.worker.app import App
from tq.worker.arguments import pack_arguments
from tq.worker.consumer import Consumer
from tq.worker.metrics import Counts, MetricsServer, Sample, exposition, samples
from tq.worker.runtime import WorkerOptions

NO_ARGUMENTS = pack_arguments((), {}, of="test")
PAGE = Path(__file__).parents[2] / "docs" / "worker.md"


async def ask(port: int, request: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer.decode()


def test_a_counter_keeps_every_digit_and_labels_are_escaped() -> None:
    sample = Sample("tq_x_total", "counter", "Things.", (('a="b"', 12_345_678.0), ("", 0.25)))
    assert exposition([sample]).decode().splitlines() == [
        "# HELP tq_x_total Things.",
        "# TYPE tq_x_total counter",
        'tq_x_total{a="b"} 12345678',
        "tq_x_total 0.25",
    ]


def test_what_ended_is_told_by_type_and_cause() -> None:
    async def scenario() -> str:
        app = App()

        @app.task(name='odd "name"')
        async def odd() -> None: ...

        async with bench(app, WorkerOptions(metrics_port=0)) as it:
            await it.broker.ending(it.broker.submit('odd "name"', NO_ARGUMENTS))
            consumer: Consumer = it.worker._consumer
            return exposition(samples(it.worker.counts, consumer)).decode()

    text = run(scenario())
    assert 'tq_worker_tasks_total{task_type="odd \\"name\\"",cause="done"} 1' in text
    assert "tq_worker_slots 4" in text
    assert "tq_worker_connected 1" in text


def test_the_server_answers_metrics_and_nothing_else() -> None:
    async def scenario() -> None:
        server = MetricsServer(lambda: [Sample("tq_x", "gauge", "X.", (("", 1.0),))])
        port = await server.open("127.0.0.1", 0)
        good = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert good.startswith("HTTP/1.1 200 OK")
        assert good.endswith("tq_x 1\n")
        assert (await ask(port, b"GET / HTTP/1.1\r\n\r\n")).startswith("HTTP/1.1 404")
        assert await ask(port, b"x" * 100_000 + b"\r\n\r\n") == ""
        server.close()

    run(scenario())


def test_every_metric_is_on_the_workers_page() -> None:
    consumer = Consumer.__new__(Consumer)
    consumer.ended, consumer.run_ms = {}, {}  # type: ignore[assignment]
    page = PAGE.read_text()
    told = {sample.name for sample in samples(Counts(0, 0, 0, 0, 0, 0, 0, 0), consumer)}
    assert set(re.findall(r"`(tq_worker_\w+)", page)) == told
