"""When nothing happens any more, every node must hold the same."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping

from lab.cluster import Brokers
from tests.cluster.history import History
from tq.client.link import Link
from tq.errors import TqError
from tq.verbs import Cluster, GetCluster

STILL_SECONDS = 1.0
"""Nothing was applied anywhere for so long; what an entry wrote is in the store after 20 ms."""
STILL_SECONDS_MAX = 60.0
POLL_SECONDS = 0.1
CALL_SECONDS = 5.0
DIGEST_SECONDS_MAX = 120.0


async def check_equal(brokers: Brokers, history: History) -> None:
    """Wait until all nodes stand at the same entry, kill them all, and compare their stores table by table."""
    if not await _still(brokers):
        history.violated(f"the nodes did not come to stand at one entry: {await _applied(brokers)}")
        return
    await asyncio.to_thread(brokers.kill, *brokers.names)
    digests = {name: await asyncio.to_thread(digest, brokers, name) for name in brokers.names}
    first, *others = brokers.names
    for name in others:
        history.violations += differences(first, digests[first], name, digests[name])
    history.counts["entries at the end"] = int(str(digests[first].get("index", 0)))


def digest(brokers: Brokers, name: str) -> dict[str, object]:
    """What `tq.broker.offline digest` says of a node that is not running."""
    command = [sys.executable, "-m", "tq.broker.offline", "digest", str(brokers.data_dir(name))]
    done = subprocess.run(command, capture_output=True, timeout=DIGEST_SECONDS_MAX, check=False)
    lines = done.stdout.splitlines()
    found: dict[str, object] = json.loads(lines[-1]) if lines else {"text": done.stderr.decode()}
    return found


def differences(one: str, a: Mapping[str, object], other: str, b: Mapping[str, object]) -> list[str]:
    """One sentence for each way in which two digests differ."""
    for name, found in ((one, a), (other, b)):
        if found.get("event") != "digested":
            return [f"the data of {name} cannot be read: {found}"]
    if a["index"] != b["index"]:
        return [f"{one} ends with entry {a['index']}, {other} with {b['index']}"]
    tables_a, tables_b = a["tables"], b["tables"]
    assert isinstance(tables_a, dict)
    assert isinstance(tables_b, dict)
    return [
        f"table {table} of {one} and {other} differ at entry {a['index']}"
        for table in tables_a
        if tables_a[table] != tables_b[table]
    ]


async def _still(brokers: Brokers) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STILL_SECONDS_MAX
    before, since = {0}, loop.time()
    while loop.time() < deadline:
        now = await _applied(brokers)
        if now != before or len(now) != 1:
            before, since = now, loop.time()
        elif loop.time() - since >= STILL_SECONDS:
            return True
        await asyncio.sleep(POLL_SECONDS)
    return False


async def _applied(brokers: Brokers) -> set[int]:
    """The entries at which the nodes stand by their own account; -1 for one that does not answer."""
    return set(await asyncio.gather(*(_applied_by(brokers.address(name)) for name in brokers.names)))


async def _applied_by(address: str) -> int:
    try:
        link = await Link.open(address, timeout_s=CALL_SECONDS)
        try:
            view = await link.request(GetCluster(), asyncio.get_running_loop().time() + CALL_SECONDS)
        finally:
            link.close()
    except TqError:
        return -1
    assert isinstance(view, Cluster), view
    return next(member.applied_index for member in view.members if member.is_self)
