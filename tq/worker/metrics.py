"""The worker's numbers at http://host:port/metrics, in Prometheus' text format.

A dozen samples, worked out when they are asked for: worth neither a library nor a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple, TypeAlias

from tq.task import Cause
from tq.worker.consumer import Consumer

REQUEST_BYTES_MAX = 8 * 1024
REQUEST_WAIT_S = 5.0
"""A client that has not said what it wants by then is cut off."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Counts(NamedTuple):
    """What a worker did and does.

    slots: its concurrency. abandoned: handlers given up that still hold a thread or a loop. unsettled: endings the
    broker has not answered for. connected: 1 while registered.
    """

    slots: int
    running: int
    abandoned: int
    settled: int
    lost: int
    unsettled: int
    reconnects: int
    connected: int


class Sample(NamedTuple):
    """One metric. values: (labels, number); labels as text between braces, empty = none."""

    name: str
    kind: str
    meaning: str
    values: tuple[tuple[str, float], ...]


def samples(counts: Counts, consumer: Consumer) -> list[Sample]:
    """Everything there is to tell. docs/worker.md lists the same names."""
    ended = tuple(
        (f'task_type="{_escaped(task_type)}",cause="{Cause(cause).name.lower()}"', float(count))
        for (task_type, cause), count in sorted(consumer.ended.items())
    )
    seconds = tuple(
        (f'task_type="{_escaped(task_type)}"', ms / 1000) for task_type, ms in sorted(consumer.run_ms.items())
    )
    return [
        Sample("tq_worker_tasks_total", "counter", "Attempts that ended, by type and cause.", ended),
        Sample("tq_worker_task_seconds_total", "counter", "Seconds that attempts took together.", seconds),
        _plain("tq_worker_settled_total", "counter", "Endings that the broker took.", counts.settled),
        _plain(
            "tq_worker_leases_lost_total",
            "counter",
            "Endings that came after the lease was lost.",
            counts.lost,
        ),
        _plain("tq_worker_reconnects_total", "counter", "Registrations after the first.", counts.reconnects),
        _plain("tq_worker_connected", "gauge", "1 while registered with a broker.", counts.connected),
        _plain("tq_worker_slots", "gauge", "Tasks it runs at a time.", counts.slots),
        _plain("tq_worker_running", "gauge", "Tasks it runs now.", counts.running),
        _plain("tq_worker_unsettled", "gauge", "Endings the broker has not answered for.", counts.unsettled),
        _plain(
            "tq_worker_abandoned", "gauge", "Handlers given up that still hold a thread.", counts.abandoned
        ),
    ]


def exposition(all_samples: Iterable[Sample]) -> bytes:
    """The samples as Prometheus reads them."""
    return "".join(line + "\n" for sample in all_samples for line in _lines(sample)).encode()


MetricsSource: TypeAlias = Callable[[], list[Sample]]


class MetricsServer:
    """Answers GET /metrics, and nothing else, on the main loop."""

    def __init__(self, collect: MetricsSource) -> None:
        self._collect = collect
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port, the system's choice for 0. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=REQUEST_BYTES_MAX)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_WAIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                is_known = head.startswith((b"GET /metrics ", b"GET /metrics?"))
                body = exposition(self._collect()) if is_known else b"there is /metrics and nothing else\n"
                status = "200 OK" if is_known else "404 Not Found"
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        writer.close()


def _plain(name: str, kind: str, meaning: str, value: int) -> Sample:
    return Sample(name, kind, meaning, (("", float(value)),))


def _lines(sample: Sample) -> Iterator[str]:
    yield f"# HELP {sample.name} {sample.meaning}"
    yield f"# TYPE {sample.name} {sample.kind}"
    for labels, value in sample.values:
        yield f"{sample.name}{{{labels}}} {value:.15g}" if labels else f"{sample.name} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
