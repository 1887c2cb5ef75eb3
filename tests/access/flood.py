"""A flood of wrong keys at one door, each another one, and what an honest client with a right key notices of it.

`python -m tests.access.flood [tcp|rest|grpc ...] [--attackers 64]` starts a broker with keys for each door, measures
honest requests without the flood and beside it, and how many wrong keys it took meanwhile. The attackers are one process
beside the honest one, and share the machine's processors with the broker.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, repeat
from pathlib import Path
from typing import NamedTuple

import grpc
import uvloop

from lab.processes import start_broker
from tests.access.keyring import hash_of
from tests.doors.crowd import address_of
from tq import AsyncClient
from tq.errors import TqError

RIGHT = "honest-key"
COST = 12
"""As `tq-admin hash-key` makes them: a check takes a good part of a second."""
REQUESTS = 2_000
ATTACK_S_MAX = 120.0


Keys = Iterable[str]
Took = Callable[[float], None]


async def ask_tcp(address: str, keys: Keys, took: Took) -> None:
    """The key stands in the hello: a connection for each key, and ten requests over it."""
    for key in keys:
        async with AsyncClient(address, api_key=key, timeout=10) as client:
            for _ in range(10):
                start = time.perf_counter()
                await client.stats()
                took(start)


async def ask_rest(address: str, keys: Keys, took: Took) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for key in keys:
            start = time.perf_counter()
            head = f"GET /api/v1/stats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
            writer.write(head.encode())
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(answer.partition(b"content-length: ")[2].partition(b"\r")[0]))
            took(start)
    finally:
        writer.close()


async def ask_grpc(address: str, keys: Keys, took: Took) -> None:
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary("/taskqueue.v1.TaskQueue/GetStats")
        for key in keys:
            start = time.perf_counter()
            with suppress(grpc.aio.AioRpcError):
                await call(b"", metadata=(("authorization", f"Bearer {key}"),))
            took(start)


ASK: dict[str, Callable[[str, Keys, Took], Awaitable[None]]] = {
    "tcp": ask_tcp,
    "rest": ask_rest,
    "grpc": ask_grpc,
}
"""door -> asks with these keys, one after the other, and says when each began"""


class Honest(NamedTuple):
    """What a request took."""

    p50_ms: float
    p99_ms: float


async def honest(door: str, address: str) -> Honest:
    times: list[float] = []
    await ASK[door](address, repeat(RIGHT, REQUESTS), lambda start: times.append(time.perf_counter() - start))
    times.sort()
    return Honest(times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000)


async def attack(door: str, address: str, attackers: int) -> None:
    """Until it is killed, or ATTACK_S_MAX is over; says how many wrong keys were answered."""
    numbers, answered = count(), count(1)

    def wrong_keys() -> Iterator[str]:
        for number in numbers:
            yield f"wrong-{number}"
            print(next(answered), flush=True)

    async def attacker() -> None:
        keys = wrong_keys()
        while True:
            with suppress(TqError, OSError, EOFError):
                await ASK[door](address, keys, lambda _: None)

    with suppress(TimeoutError):
        async with asyncio.timeout(ATTACK_S_MAX):
            await asyncio.gather(*(attacker() for _ in range(attackers)))


@contextmanager
def flooded(door: str, address: str, attackers: int) -> Iterator[subprocess.Popen[str]]:
    """Inside, the attackers are at it; their standard output says how many keys have been answered."""
    command = [
        sys.executable,
        "-m",
        "tests.access.flood",
        door,
        "--attack",
        address,
        "--attackers",
        str(attackers),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def measure(door: str, attackers: int) -> str:
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "tq.yaml")
        key = f"{{name: honest, key_hash: '{hash_of(RIGHT, COST)}', permissions: [admin], rate_limit_per_second: null}}"
        config.write_text(f"auth: {{enabled: true, api_keys: [{key}]}}\n")
        with start_broker(Path(directory), "--config", str(config)) as broker:
            address = address_of(broker, door)
            uvloop.run(honest(door, address))
            before = uvloop.run(honest(door, address))
            start = time.perf_counter()
            with flooded(door, address, attackers) as process:
                beside = uvloop.run(honest(door, address))
                seconds = time.perf_counter() - start
                process.kill()
                assert process.stdout is not None
                lines = process.stdout.read().split()
    rate = int(lines[-1]) / seconds if lines else 0
    return (
        f"{door}: a request of an honest client p50 {before.p50_ms:.2f}, p99 {before.p99_ms:.2f} ms; beside {attackers} "
        f"attackers with {rate:,.0f} wrong keys a second p50 {beside.p50_ms:.2f}, p99 {beside.p99_ms:.2f} ms "
        f"({beside.p99_ms / before.p99_ms:.1f} x)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.access.flood", description=__doc__)
    parser.add_argument("doors", nargs="*", metavar="DOOR", help="of tcp, rest, grpc; all when none is given")
    parser.add_argument("--attackers", type=int, default=64)
    parser.add_argument("--attack", metavar="ADDRESS", help="be the attackers of a broker that runs")
    arguments = parser.parse_args()
    for door in arguments.doors or ASK:
        if arguments.attack:
            uvloop.run(attack(door, arguments.attack, arguments.attackers))
        else:
            print(measure(door, arguments.attackers), flush=True)


if __name__ == "__main__":
    main()
