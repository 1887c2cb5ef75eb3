"""What the disk costs: synced commits, the hop to the disk thread, loading heads, verifying a store.

    python benchmarks/storage.py [--commits 2000] [--heads 1000000] [--payload-bytes 1000] [--directory DIR]

The data lies in a temporary directory inside DIR and is removed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table as Sheet

from tq.broker.replication.journal import Journal
from tq.broker.replication.local import LocalLog
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.keys import index_key, seq_key
from tq.broker.storage.rocks import RocksStore
from tq.broker.tables import Table

RECORD_BYTES = 200
HEAD_BYTES = 120
ROWS_PER_BATCH = 500
HOPS = 10_000

Rows = list[tuple[str, str]]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--commits", type=int, default=2_000)
    options.add_argument("--heads", type=int, default=1_000_000)
    options.add_argument("--payload-bytes", type=int, default=1_000)
    options.add_argument("--directory", default=".")
    given = options.parse_args()
    rows: Rows = []
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        uvloop.run(_measure_log(Path(directory), given.commits, rows))
        _measure_store(Path(directory), given.heads, given.payload_bytes, rows)
    sheet = Sheet("measure", "value", title="storage")
    for row in rows:
        sheet.add_row(*row)
    Console().print(sheet)


async def _measure_log(directory: Path, commits: int, rows: Rows) -> None:
    loop = asyncio.get_running_loop()

    def fail(error: BaseException) -> None:
        raise SystemExit(f"the disk failed: {error}")

    disk = DiskThread(loop, fail)
    disk.start()
    journal = Journal.open(str(directory / "journal"), create=True)
    log = LocalLog(journal, disk, fail)
    await log.start(0, lambda index, data: None)
    for records in (1, 100):
        data = os.urandom(records * RECORD_BYTES)
        times = []
        for _ in range(commits):
            begun = time.perf_counter()
            await log.propose(data)
            times.append(time.perf_counter() - begun)
        name = f"synced commit of {records} records of {RECORD_BYTES} bytes"
        rows.append((name, f"p50 {_us(times, 0.5)}, p99 {_us(times, 0.99)}"))
    rows.append(("hop to the disk thread and back", await _hop(lambda job, done: disk.call(job, done))))

    def in_executor(job: Callable[[], None], done: Callable[[object], None]) -> None:
        loop.run_in_executor(None, job).add_done_callback(done)

    rows.append(("the same with run_in_executor", await _hop(in_executor)))
    await log.close()
    await disk.stop()
    journal.close()


async def _hop(call: Callable[[Callable[[], None], Callable[[object], None]], None]) -> str:
    loop = asyncio.get_running_loop()
    times = []
    for _ in range(HOPS):
        begun = time.perf_counter()
        back: asyncio.Future[object] = loop.create_future()
        call(lambda: None, back.set_result)
        await back
        times.append(time.perf_counter() - begun)
    return f"p50 {_us(times, 0.5)}, p99 {_us(times, 0.99)}"


def _measure_store(directory: Path, heads: int, payload_bytes: int, rows: Rows) -> None:
    path = str(directory / "store")
    store = RocksStore.open(path, create=True)
    payloads = [os.urandom(payload_bytes) for _ in range(97)]
    begun = time.perf_counter()
    for first in range(0, heads, ROWS_PER_BATCH):
        batch: list[tuple[Table, bytes, bytes | None]] = []
        for seq in range(first, min(first + ROWS_PER_BATCH, heads)):
            payload = payloads[seq % len(payloads)]
            batch.append((Table.LIVE, seq_key(seq), payload[:HEAD_BYTES]))
            batch.append((Table.PAYLOAD, seq_key(seq), payload))
            batch.append((Table.INDEX, index_key(1, seq % 10, seq), seq_key(seq)))
        store.write(batch)
    spent = time.perf_counter() - begun
    rows.append((f"write {heads} tasks (3 rows each)", f"{spent:.2f} s, {spent / heads * 1e6:.1f} us a task"))
    store.close()
    size = sum(file.stat().st_size for file in Path(path).iterdir())
    begun = time.perf_counter()
    store = RocksStore.open(path, create=False)
    rows.append((f"open and verify {size / 1e6:.0f} MB", f"{time.perf_counter() - begun:.2f} s"))
    begun = time.perf_counter()
    count = sum(1 for _ in store.scan(Table.LIVE))
    rows.append((f"load {count} heads", f"{time.perf_counter() - begun:.2f} s"))
    ids = [os.urandom(16) for _ in range(min(heads, 100_000))]
    begun = time.perf_counter()
    for task_id in ids:
        store.get(Table.ENDED, task_id)
    rows.append(
        ("look up an id that has not ended", f"{(time.perf_counter() - begun) / len(ids) * 1e6:.1f} us")
    )
    rows.append(("memory of this process", f"{_memory_mb()} MB"))
    store.close()


def _us(times: list[float], share: float) -> str:
    return f"{sorted(times)[int(len(times) * share)] * 1e6:.0f} us"


def _memory_mb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


if __name__ == "__main__":
    main()
