"""Submit over REST: one task a request, and a thousand a request, from one Python process with keep-alive."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Iterator

from benchmarks.harness import Lab, Row, Target, cpu_seconds_of, lab, median, percentile
from lab.processes import Process

SINGLE = Target("REST: submit, one a request", "/s", must=2_000, aim=3_000, more_is_better=True)
BATCHES = Target("REST: submit in batches", "/s", must=20_000, aim=40_000, more_is_better=True)
PAGE = Target("REST: first page of a status, p99", "ms", must=20, aim=10, more_is_better=False)
PAYLOAD = b64encode(b"x" * 200).decode()
BATCH = 1_000
CONNECTIONS = 16
"""Of the one client: each waits for its answer before it asks again."""
PAGES = 200
RUNS = 3


async def measure_single(*, quick: bool) -> list[Row]:
    total = 4_000 if quick else 20_000
    request = _post("/api/v1/tasks", {"task_type": "noop", "payload": PAYLOAD})
    rates, alone = [], []
    with lab() as running:
        address = rest_address(running.broker)
        await _repeat(address, request, CONNECTIONS, total // 10)
        before = cpu_seconds_of(running.broker)
        for _ in range(RUNS):
            rates.append(await _repeat(address, request, CONNECTIONS, total))
        spent = (cpu_seconds_of(running.broker) - before) / total / RUNS
        for _ in range(RUNS):
            alone.append(await _repeat(address, request, 1, total // 10))
    how = (
        f"{CONNECTIONS} connections of one client; median of {RUNS} runs of {total:,} tasks of 200 B, a tenth to "
        f"warm up; CPU a task: broker {spent * 1e6:.0f} µs; over a single connection {median(alone):,.0f}/s"
    )
    return [Row(SINGLE, median(rates), how)]


async def measure_batches(*, quick: bool) -> list[Row]:
    requests = 30 if quick else 150
    request = _post("/api/v1/tasks/batch", {"tasks": [{"task_type": "noop", "payload": PAYLOAD}] * BATCH})
    with lab() as running:
        address = rest_address(running.broker)
        await _repeat(address, request, 2, requests // 10)
        before = cpu_seconds_of(running.broker)
        rates = [BATCH * await _repeat(address, request, 2, requests) for _ in range(RUNS)]
        spent = (cpu_seconds_of(running.broker) - before) / requests / RUNS / BATCH
        page = await _page_ms(running)
    stored = (requests * RUNS + requests // 10) * BATCH
    how = (
        f"batches of {BATCH:,} tasks of 200 B, 2 in flight; median of {RUNS} runs of {requests * BATCH:,} tasks; the "
        f"body is made once; CPU a task: broker {spent * 1e6:.1f} µs"
    )
    page_how = f"100 of {stored:,} pending tasks; {PAGES} pages one after the other"
    return [Row(BATCHES, median(rates), how), Row(PAGE, page, page_how)]


def rest_address(broker: Process) -> tuple[str, int]:
    addresses = broker.wait_for_event("ready")["addresses"]
    assert isinstance(addresses, dict)
    host, port = str(addresses["rest"]).rsplit(":", 1)
    return host, int(port)


async def _page_ms(running: Lab) -> float:
    """The p99 of the first page of pending tasks, in milliseconds."""
    took: list[float] = []
    request = b"GET /api/v1/tasks?status=pending HTTP/1.1\r\nHost: bench\r\n\r\n"
    await _connection(rest_address(running.broker), request, iter(range(PAGES)), took)
    return percentile(took, 99) * 1000


async def _repeat(address: tuple[str, int], request: bytes, connections: int, total: int) -> float:
    """Send it so often; requests a second."""
    numbers = iter(range(total))
    start = time.perf_counter()
    await asyncio.gather(*(_connection(address, request, numbers, []) for _ in range(connections)))
    return total / (time.perf_counter() - start)


async def _connection(
    address: tuple[str, int], request: bytes, numbers: Iterator[int], took: list[float]
) -> None:
    """One keep-alive connection. Sockets and a search for two header fields: the client should not be the measure."""
    reader, writer = await asyncio.open_connection(*address)
    for _ in numbers:
        start = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 20"), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
        took.append(time.perf_counter() - start)
    writer.close()
    await writer.wait_closed()


def _post(path: str, document: object) -> bytes:
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
