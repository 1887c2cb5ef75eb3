"""The faults of disks: damaged files, lost ones, no room, no power. As in `faults`: entered they strike, left they heal."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from tests.cluster.faults import Fault
from tests.cluster.scene import Scene

BLOCK_BYTES = 4096
TAIL_BYTES_MAX = 2000
HEAVY_BYTES = 24 * 1024**2
"""More than RocksDB has room for in what it allocated before."""


@asynccontextmanager
async def damaged(scene: Scene) -> AsyncIterator[bool]:
    """A file of a node that is down is not what it was. It notices and is rebuilt by its peers, or it did not matter."""
    name, history = scene.any_node(), scene.history
    await scene.kill(name)
    what = await scene.off(_damage, scene.brokers.data_dir(name), scene.rng)
    await scene.start(name)
    is_rebuilt = any(event.get("event") == "needs_repair" for event in scene.brokers.process(name).events())
    history.counts["damages that were noticed" if is_rebuilt else "damages that did not matter"] += 1
    history.told(f"{name}: {what}: {'it is rebuilt' if is_rebuilt else 'it started'}")
    yield True
    await scene.whole()


@asynccontextmanager
async def wiped(scene: Scene) -> AsyncIterator[bool]:
    """A node comes back with an empty disk: as another one, that must not vote on what it has forgotten."""
    name = scene.any_node()
    await scene.kill(name)
    await scene.off(scene.empty, name)
    await scene.start(name)
    yield True
    await scene.whole()


def _damage(data: Path, rng: random.Random) -> str:
    """Do one thing to one file of store or journal; what and where, in words."""
    files = [
        path
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.stat().st_size and path.name != "LOCK"
    ]
    path = rng.choice(files)
    what = rng.choice((_flip_bit, _zero_block, _cut_tail, _lose))(path, rng)
    return f"{path.relative_to(data)} {what}"


def _flip_bit(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    content[at] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"has a bit flipped in byte {at} of {len(content)}"


def _zero_block(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes())
    at = rng.randrange(0, len(content), BLOCK_BYTES)
    size = len(content[at : at + BLOCK_BYTES])
    content[at : at + size] = bytes(size)
    path.write_bytes(content)
    return f"has zeros from byte {at} on, {size} of {len(content)}"


def _cut_tail(path: Path, rng: random.Random) -> str:
    size = path.stat().st_size
    left = max(0, size - rng.randint(1, TAIL_BYTES_MAX))
    with path.open("r+b") as file:
        file.truncate(left)
    return f"ends at byte {left} of {size}"


def _lose(path: Path, rng: random.Random) -> str:
    del rng
    path.unlink()
    return "is gone"


@asynccontextmanager
async def disk_full(scene: Scene) -> AsyncIterator[bool]:
    """A node runs out of room under load. It may stop; it may not go on as if it had written."""
    disks, brokers = scene.disks, scene.brokers
    assert disks is not None
    name = scene.leader() if scene.rng.random() < 0.5 else scene.any_node()
    scene.roomless.add(brokers.process(name))
    await scene.off(disks.fill, name)
    try:
        await scene.weigh_down(HEAVY_BYTES)
        yield True
    finally:
        await scene.off(disks.free, name)
        if await scene.off(scene.has_given_up, name):
            scene.ended_by_itself(name)
            await scene.start(name)


@asynccontextmanager
async def power_cut(scene: Scene, choose: Callable[[Scene], list[str]]) -> AsyncIterator[bool]:
    """Some nodes lose everything that had not reached their disks, all in the same moment."""
    disks, brokers = scene.disks, scene.brokers
    assert disks is not None
    names = choose(scene)
    brokers.pause(*names)
    for name in names:
        await scene.off(disks.photograph, name)
    await scene.kill(*names)
    for name in names:
        await scene.off(disks.lose_power, name)
    scene.history.counts["disks that lost their power"] += len(names)
    yield scene.has_majority
    await scene.start(*names)


FILE_FAULTS: dict[str, Fault] = {"damaged file": damaged, "wiped disk": wiped}
"""What every machine allows."""

DISK_FAULTS: dict[str, Fault] = {
    "disk full": disk_full,
    "power cut: one node": partial(power_cut, choose=lambda scene: [scene.any_node()]),
    "power cut: the leader": partial(power_cut, choose=lambda scene: [scene.leader()]),
    "power cut: a majority": partial(power_cut, choose=Scene.majority),
    "power cut: all nodes": partial(power_cut, choose=lambda scene: list(scene.names)),
}
