"""What a cluster of three costs when something goes wrong: how long writes stop, and whom a slow follower disturbs."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from benchmarks.cluster_lab import NODES, PAYLOAD, WARM_UP, cluster_lab, spread, submit_one_by_one
from benchmarks.harness import Row, Target, percentile
from lab.gates import Gates
from tq import AsyncClient
from tq.errors import TaskNotFound
from tq.verbs import Cluster, GetCluster, TransferLeadership

KILL_P50 = Target(
    "cluster: leader killed, next acknowledged submit, p50", "s", 1.5, 1.5, more_is_better=False
)
KILL_P99 = Target("cluster: leader killed, next acknowledged submit, p99", "s", 3, 2, more_is_better=False)
KILL_LOST = Target("cluster: acknowledged and lost over all kills", "tasks", 0, 0, more_is_better=False)
BLIP_LEADERS = Target(
    "cluster: a follower black-holed for 2 s again and again, leader changes", "", 0, 0, more_is_better=False
)
BLIP_P99 = Target("cluster: the same, submit p99 over the baseline's", "times", 2, 1.5, more_is_better=False)
TRANSFER_P99 = Target(
    "cluster: planned transfer, gap between writes, p99", "ms", 500, 150, more_is_better=False
)
BEHIND_P99 = Target(
    "cluster: a follower catches up, submit p99 over the baseline's", "times", 2, 1.5, more_is_better=False
)

LOAD_SECONDS_MAX = 0.5
"""Load before a kill: a random part of this, so that it strikes anywhere between two heartbeats."""
BLIP_SECONDS, BLIP_PAUSE_SECONDS = 2.0, 0.5
TRANSFER_SECONDS = 1.0
"""Load around each transfer."""
FLEET = 4
"""Submits in flight while a follower falls behind: entries are what counts, and more would only share them."""
ROUND = 2_500
CATCH_UP_SECONDS_MAX = 600.0
POLL_SECONDS = 0.2
IN_FLIGHT = 200


async def measure_kill(*, quick: bool) -> list[Row]:
    """Kill -9 the leader under load, again and again; who was killed is back before the next."""
    kills, rng = 5 if quick else 100, random.Random(1)
    recoveries, acknowledged = list[float](), list[str]()
    with cluster_lab() as running:
        brokers = running.brokers
        async with AsyncClient(running.addresses) as client:
            for _ in range(kills):
                end = time.perf_counter() + rng.uniform(0, LOAD_SECONDS_MAX)
                while time.perf_counter() < end:
                    acknowledged.append(await client.submit_task("noop", PAYLOAD))
                leader = await asyncio.to_thread(brokers.wait_for_leader)
                brokers.kill(leader)
                start = time.perf_counter()
                acknowledged.append(await client.submit_task("noop", PAYLOAD))
                recoveries.append(time.perf_counter() - start)
                brokers.start(leader)
                await asyncio.to_thread(brokers.ready, leader)
            lost = await _missing(client, acknowledged)
    how = f"{kills} kills, elections after 0.6 to 1.2 s; {spread(recoveries, 's')}"
    return [
        Row(KILL_P50, percentile(recoveries, 50), how),
        Row(KILL_P99, percentile(recoveries, 99), how),
        Row(KILL_LOST, lost, f"of {len(acknowledged):,}"),
    ]


async def measure_blips(*, quick: bool) -> list[Row]:
    """A follower hears nothing and is not heard for 2 s, again and again; clients reach everybody."""
    blips = 2 if quick else 9
    gates = Gates(NODES)
    try:
        with cluster_lab(gates) as running:
            leader = running.brokers.wait_for_leader()
            follower = next(node for node in NODES if node != leader)
            ways = [way for node in NODES if node != follower for way in ((node, follower), (follower, node))]
            async with AsyncClient(running.addresses) as client:
                await submit_one_by_one(client, WARM_UP)
                before, calm = running.leaders(), await _load(client, blips * BLIP_SECONDS)
                stormy: list[float] = []
                for _ in range(blips):
                    gates.cut(ways, resets=False)
                    stormy += await _load(client, BLIP_SECONDS)
                    gates.heal()
                    stormy += await _load(client, BLIP_PAUSE_SECONDS)
            changes = running.leaders() - before
    finally:
        gates.close()
    how = f"{blips} times, one submit at a time through gates: {spread(stormy, 'ms')}; baseline {spread(calm, 'ms')}"
    return [
        Row(BLIP_LEADERS, changes, how),
        Row(BLIP_P99, percentile(stormy, 99) / percentile(calm, 99), how),
    ]


async def measure_transfer(*, quick: bool) -> list[Row]:
    """The longest pause between two acknowledged submits around each planned transfer."""
    transfers = 5 if quick else 50
    gaps: list[float] = []
    with cluster_lab() as running:
        async with AsyncClient(running.addresses) as client, AsyncClient(running.addresses) as operator:
            await submit_one_by_one(client, WARM_UP)
            for _ in range(transfers):
                loading = asyncio.create_task(_load(client, TRANSFER_SECONDS))
                await operator.call(TransferLeadership())
                gaps.append(max(await loading))
    how = f"{transfers} transfers under load, the longest submit of each; {spread(gaps, 'ms')}"
    return [Row(TRANSFER_P99, percentile(gaps, 99), how)]


async def measure_behind(*, quick: bool) -> list[Row]:
    """A follower stands still while the log grows without it, and catches up while load goes on: with a snapshot that it
    starts again on, and then from the log."""
    entries = 2_000 if quick else 200_000
    with cluster_lab() as running:
        brokers = running.brokers
        leader = brokers.wait_for_leader()
        follower = next(node for node in NODES if node != leader)
        async with AsyncClient(brokers.address(leader)) as client:
            await submit_one_by_one(client, WARM_UP)
            calm = await _load(client, 2 * BLIP_SECONDS)
            brokers.pause(follower)
            await _grow(client, entries)
            brokers.resume(follower)
            start, loaded = time.perf_counter(), list[float]()
            while await _lag(client, follower) and time.perf_counter() - start < CATCH_UP_SECONDS_MAX:
                loaded += await _load(client, POLL_SECONDS)
            took = time.perf_counter() - start
            lag = await _lag(client, follower)
    how = (
        f"{entries:,} entries behind, {lag:,} left after {took:.1f} s; "
        f"{spread(loaded, 'ms')}; baseline {spread(calm, 'ms')}"
    )
    return [Row(BEHIND_P99, percentile(loaded, 99) / percentile(calm, 99), how)]


async def _load(client: AsyncClient, seconds: float) -> list[float]:
    """Milliseconds of each submit, one at a time for so long."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        took += await submit_one_by_one(client, 1)
    return took


async def _grow(client: AsyncClient, entries: int) -> None:
    """Submit until the log is so many entries longer."""
    aim = await _last_entry(client) + entries

    while await _last_entry(client) < aim:
        await asyncio.gather(*(submit_one_by_one(client, ROUND) for _ in range(FLEET)))


async def _last_entry(client: AsyncClient) -> int:
    cluster = await client.call(GetCluster())
    assert isinstance(cluster, Cluster), cluster
    return next(member.commit_index for member in cluster.members if member.node_id == cluster.leader)


async def _lag(client: AsyncClient, node: str) -> int:
    cluster = await client.call(GetCluster())
    assert isinstance(cluster, Cluster), cluster
    return next(member.lag for member in cluster.members if member.node_id == node)


async def _missing(client: AsyncClient, task_ids: Sequence[str]) -> int:
    missing = 0
    for first in range(0, len(task_ids), IN_FLIGHT):
        asked = [client.get_task(task_id) for task_id in task_ids[first : first + IN_FLIGHT]]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        missing += sum(isinstance(answer, TaskNotFound) for answer in answers)
        assert all(
            not isinstance(answer, Exception) or isinstance(answer, TaskNotFound) for answer in answers
        )
    return missing
