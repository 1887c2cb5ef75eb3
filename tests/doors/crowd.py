"""A crowd of connections that say nothing, or a byte a second, at one door; and what honest clients notice of it.

`python -m tests.doors.crowd [tcp|rest|grpc ...] [--connections 10000]` starts a broker for each door, measures honest
requests (half of them over new connections) without the crowd and beside it, and the growth of the broker's memory. The
crowd is a process of its own, which shares the machine's processors with the broker and the honest client but not the
client's event loop: five thousand writes at a time are 50 ms in which whoever writes them does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import grpc
import uvloop

from lab.processes import Process, start_broker
from tq import AsyncClient
from tq.proto import taskqueue_pb2 as pb

REQUESTS = 400
HONEST_S_MAX = 60.0
CROWD_S_MAX = 120.0
"""A crowd whose measurement was killed leaves by itself."""
DIALS_AT_ONCE = 200
FILES_SPARE = 500
SLOW = {
    "tcp": b"\0\0\0\x40\x10",
    "rest": b"GET /api/v1/stats HTTP/1.1\r\nHost: x\r\nX: ",
    "grpc": b"PRI * HTTP/2.0\r\n\r\n",
}
"""How somebody begins who then sends a byte a second."""
BEGUN = {"grpc": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))}
"""What those say at once who say nothing more: HTTP/2's preface keeps a connection beyond the time for a handshake."""
AGAIN_S = 0.05
"""An honest client that is hung up on comes again after so long; its time goes on."""


class Crowd:
    """Every other of them is idle; the others send their beginning a byte a second."""

    def __init__(self, door: str, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._said = SLOW[door]
        self._begun = BEGUN.get(door, b"")
        self._writers: list[asyncio.StreamWriter] = []
        self._turn = 0

    async def dial(self, count: int) -> None:
        """Open so many more, as fast as the broker takes them. Those it turns away are not dialled again."""
        for first in range(0, count, DIALS_AT_ONCE):
            dials = (self._dial() for _ in range(min(DIALS_AT_ONCE, count - first)))
            await asyncio.gather(*dials)

    async def _dial(self) -> None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(self._host, self._port)
            if len(self._writers) % 2:
                writer.write(self._begun)
            self._writers.append(writer)

    def drip(self) -> None:
        """One byte more from every other one."""
        byte = self._said[self._turn % len(self._said) :][:1]
        self._turn += 1
        for writer in self._writers[::2]:
            if not writer.is_closing():
                writer.write(byte)

    def leave(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def crowded(door: str, address: str, count: int) -> AsyncIterator[Crowd]:
    """Inside, so many have dialled and go on sending their byte a second."""
    crowd = Crowd(door, address)

    async def drip() -> None:
        while True:
            crowd.drip()
            await asyncio.sleep(1)

    await crowd.dial(count)
    dripping = asyncio.ensure_future(drip())
    try:
        yield crowd
    finally:
        dripping.cancel()
        crowd.leave()


async def stay(door: str, address: str, count: int) -> None:
    """Be a crowd until this process is killed, or CROWD_S_MAX is over; says when all have dialled."""
    async with crowded(door, address, count):
        print("dialled", flush=True)
        await asyncio.sleep(CROWD_S_MAX)


@contextmanager
def crowd_beside(door: str, address: str, count: int) -> Iterator[None]:
    """Inside, a process of its own is a crowd."""
    command = [sys.executable, "-m", "tests.doors.crowd", door, "--at", address, "--connections", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "the crowd did not come to be"
        try:
            yield
        finally:
            process.kill()


async def ask_tcp(address: str, *, times: int) -> None:
    async with AsyncClient(address) as client:
        for _ in range(times):
            await client.stats()


async def ask_rest(address: str, *, times: int) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for _ in range(times):
            writer.write(b"GET /api/v1/stats HTTP/1.1\r\nHost: honest\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n")[0], head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
    finally:
        writer.close()


async def ask_grpc(address: str, *, times: int) -> None:
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=own) as channel:
        call = channel.unary_unary("/taskqueue.v1.TaskQueue/GetStats")
        for _ in range(times):
            await call(pb.GetStatsRequest().SerializeToString(), wait_for_ready=True, timeout=HONEST_S_MAX)


ASK: dict[str, Callable[..., Awaitable[None]]] = {"tcp": ask_tcp, "rest": ask_rest, "grpc": ask_grpc}
"""door -> makes one connection and asks so many times over it; raises when one is not answered"""


def address_of(broker: Process, door: str) -> str:
    addresses = broker.wait_for_event("ready")["addresses"]
    assert isinstance(addresses, dict)
    return str(addresses[door])


def memory_mb(broker: Process) -> float:
    lines = Path(f"/proc/{broker.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def allow_files(count: int) -> int:
    """Let this process, and those it starts, have so many open; how many connections that leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + FILES_SPARE
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(count, soft - FILES_SPARE)


class Took(NamedTuple):
    """Of REQUESTS connections, each with two requests. turned_away: how often one was hung up on, and came again."""

    p99_ms: float
    longest_ms: float
    turned_away: int


def _took(door: str, address: str) -> Took:
    return uvloop.run(_asked(door, address))


async def _asked(door: str, address: str) -> Took:
    took, turned_away = [], 0
    for _ in range(REQUESTS):
        start = time.perf_counter()
        turned_away += await answered(door, address)
        took.append((time.perf_counter() - start) * 1000)
    took.sort()
    return Took(took[len(took) * 99 // 100], took[-1], turned_away)


async def answered(door: str, address: str) -> int:
    """Ask as honest clients do, who come again when they are hung up on; how often that was."""
    turned_away = 0
    while not await _is_answered(door, address):
        turned_away += 1
        await asyncio.sleep(AGAIN_S)
    return turned_away


async def _is_answered(door: str, address: str) -> bool:
    try:
        await ASK[door](address, times=2)
    except (OSError, EOFError):
        return False
    return True


def measure(door: str, count: int) -> str:
    with tempfile.TemporaryDirectory() as directory, start_broker(Path(directory)) as broker:
        address = address_of(broker, door)
        _took(door, address)
        before, before_mb = _took(door, address), memory_mb(broker)
        with crowd_beside(door, address, count):
            beside, beside_mb = _took(door, address), memory_mb(broker)
    return (
        f"{door}: {count:,} connections; p99 of a new connection with two requests {before.p99_ms:.1f} ms, "
        f"beside them {beside.p99_ms:.1f} ms ({beside.p99_ms / before.p99_ms:.1f} x), longest {before.longest_ms:.1f} and "
        f"{beside.longest_ms:.1f} ms, turned away {beside.turned_away}; memory +{beside_mb - before_mb:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.doors.crowd", description=__doc__)
    parser.add_argument("doors", nargs="*", metavar="DOOR", help="of tcp, rest, grpc; all when none is given")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--at", metavar="ADDRESS", help="be the crowd at a broker that runs")
    arguments = parser.parse_args()
    count = allow_files(arguments.connections)
    for door in arguments.doors or ASK:
        if arguments.at:
            uvloop.run(stay(door, arguments.at, count))
        else:
            print(measure(door, count), flush=True)


if __name__ == "__main__":
    main()
