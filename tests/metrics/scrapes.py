"""Reading what was exported with the official parsers, and asking for it over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from tests.engine.harness import Engine
from tq.broker.measures import DISK_BOUNDS_NS, Histogram, LogMeasures
from tq.broker.metrics.exporter import Exporter
from tq.broker.observe import Observer

WAIT_SECONDS = 60.0
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def exporter_of(engine: Engine, observer: Observer | None = None) -> Exporter:
    log = LogMeasures(3, True, 7, {"node2": 4}, Histogram(DISK_BOUNDS_NS))
    return Exporter(engine.backend.measures, lambda: log, observer or Observer(), node_id="node1")


def families(exporter: Exporter) -> dict[str, Metric]:
    """Name -> family, both formats parsed and found to say the same."""
    plain = {family.name: family for family in parse_plain(exporter.render().decode())}
    page = exporter.render_for("application/openmetrics-text")
    assert {family.name for family in parse_open_metrics(page.body.decode())} == plain.keys()
    return plain


def values(found: Iterable[Metric]) -> Values:
    """(sample, labels) -> value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in found
        for sample in family.samples
    }


def value(found: Values, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def ask(port: int, request: bytes) -> tuple[str, dict[str, str], bytes]:
    """One request on a connection of its own; the answer as status line, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await read_answer(reader)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    async with asyncio.timeout(WAIT_SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
        return status, headers, await reader.readexactly(int(headers["content-length"]))
