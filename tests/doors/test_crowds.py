"""Beside a crowd of connections that say nothing, or hardly anything, honest clients are answered and memory holds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from lab.processes import start_broker
from tests.doors.crowd import ASK, HONEST_S_MAX, address_of, allow_files, answered, crowded, memory_mb

CONNECTIONS = 1_500
"""Half as many again as a door takes."""
GROWTH_MB_MAX = 256


@pytest.mark.parametrize("door", ASK)
def test_a_crowd_keeps_nobody_out_and_costs_little_memory(door: str, tmp_path: Path) -> None:
    count = allow_files(CONNECTIONS)
    assert count > 1_000, "this machine lets a process have too few open files to fill a door"

    async def scenario(address: str) -> None:
        await ASK[door](address, times=1)
        before_mb = memory_mb(broker)
        async with crowded(door, address, count), asyncio.timeout(HONEST_S_MAX):
            # A crowd has its quarter of a second, too, in which nobody gives way; from then on it keeps nobody out.
            await answered(door, address)
            for _ in range(5):
                assert await answered(door, address) == 0
            assert memory_mb(broker) - before_mb < GROWTH_MB_MAX

    config = tmp_path / "tq.yaml"
    config.write_text("broker: {handshake_timeout_seconds: 2}\n")
    with start_broker(tmp_path, "--config", str(config)) as broker:
        uvloop.run(scenario(address_of(broker, door)))
