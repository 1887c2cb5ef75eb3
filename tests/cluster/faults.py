"""The faults of processes, network and clocks: each a context that strikes when it is entered and heals when it is left.

What the context gives is whether a majority can go on working meanwhile.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeAlias

from lab.network import CLIENTS, Way
from tests.cluster.partitions import SHAPES, Shape, leaves_majority
from tests.cluster.scene import Scene

Fault: TypeAlias = Callable[[Scene], AbstractAsyncContextManager[bool]]

DEAD_SECONDS_MAX = 2.0
WORKER_PAUSE_SECONDS = 12.0
"""Above the grace of a silent worker: its tasks are given to others, and then it wakes up and settles."""
FLAPS = 6
FLAP_SECONDS_MAX = 0.8
LATE_SECONDS = (0.01, 0.15)
CLOCK_STEPS = (-3600.0, -60.0, 60.0, 3600.0, 86400.0)
STROBES = 6


@asynccontextmanager
async def killed(scene: Scene, choose: Callable[[Scene], list[str]]) -> AsyncIterator[bool]:
    names = choose(scene)
    await scene.kill(*names)
    yield scene.has_majority
    await scene.start(*names)


@asynccontextmanager
async def paused(scene: Scene, choose: Callable[[Scene], list[str]]) -> AsyncIterator[bool]:
    names = choose(scene)
    scene.brokers.pause(*names)
    try:
        yield scene.has_majority
    finally:
        scene.brokers.resume(*names)


@asynccontextmanager
async def pause_and_kill(scene: Scene) -> AsyncIterator[bool]:
    """The schedule that split NATS: one sleeps while another dies and returns, then those two are the majority."""
    sleeper, victim, *others = scene.rng.sample(scene.names, len(scene.names))
    scene.brokers.pause(sleeper)
    try:
        await scene.pause(DEAD_SECONDS_MAX)
        await scene.kill(victim)
        await scene.start(victim)
    finally:
        scene.brokers.resume(sleeper)
    awake = others[: len(others) // 2]
    scene.brokers.pause(*others[len(awake) :])
    try:
        yield scene.has_majority
    finally:
        scene.brokers.resume(*others[len(awake) :])


@asynccontextmanager
async def partitioned(scene: Scene, shape: Shape, *, resets: bool) -> AsyncIterator[bool]:
    leader = scene.brokers.leader()
    ways = shape(scene.names, leader, scene.rng)
    await scene.off(partial(scene.network.cut, ways, resets=resets))
    try:
        yield leaves_majority(scene.names, ways, leader)
    finally:
        await scene.off(scene.network.heal)


@asynccontextmanager
async def partitioned_and_killed(scene: Scene) -> AsyncIterator[bool]:
    """The leader is cut off, and one that it had talked to dies."""
    leader = scene.leader()
    victim = scene.rng.choice([name for name in scene.names if name != leader])
    ways = {way for name in scene.names if name != leader for way in ((leader, name), (name, leader))}
    await scene.off(partial(scene.network.cut, ways, resets=False))
    try:
        await scene.kill(victim)
        await scene.pause(DEAD_SECONDS_MAX)
        await scene.start(victim)
        yield leaves_majority(scene.names, ways, leader)
    finally:
        await scene.off(scene.network.heal)


@asynccontextmanager
async def flapping(scene: Scene) -> AsyncIterator[bool]:
    """A node's links break and come back, again and again."""
    node = scene.leader() if scene.rng.random() < 0.5 else scene.any_node()
    ways: set[Way] = {way for name in scene.names if name != node for way in ((node, name), (name, node))}
    for _ in range(FLAPS):
        resets = scene.rng.random() < 0.5
        await scene.off(partial(scene.network.cut, ways, resets=resets))
        await scene.pause(FLAP_SECONDS_MAX)
        await scene.off(scene.network.heal)
        await scene.pause(FLAP_SECONDS_MAX)
    yield True


@asynccontextmanager
async def slow(scene: Scene) -> AsyncIterator[bool]:
    """Everything to and from a node, or between all nodes, is late."""
    node = scene.any_node()
    others = [*scene.names, CLIENTS]
    everywhere = scene.rng.random() < 0.3
    ways = {(a, b) for a in others for b in others if a != b and (everywhere or node in (a, b))}
    seconds = scene.rng.uniform(*LATE_SECONDS)
    await scene.off(scene.network.slow, ways, seconds)
    try:
        yield True
    finally:
        await scene.off(scene.network.heal)


@asynccontextmanager
async def clock_stepped(scene: Scene) -> AsyncIterator[bool]:
    """The wall clock of a node jumps, and later back."""
    name = scene.leader() if scene.rng.random() < 0.5 else scene.any_node()
    scene.clocks.step(name, scene.rng.choice(CLOCK_STEPS))
    try:
        yield True
    finally:
        scene.clocks.step(name, 0)


@asynccontextmanager
async def clocks_strobed(scene: Scene) -> AsyncIterator[bool]:
    """Every clock jumps back and forth by itself."""
    try:
        for _ in range(STROBES):
            for name in scene.names:
                scene.clocks.step(name, scene.rng.choice(CLOCK_STEPS))
            await scene.pause(FLAP_SECONDS_MAX)
        yield True
    finally:
        for name in scene.names:
            scene.clocks.step(name, 0)


@asynccontextmanager
async def rolling_restart(scene: Scene) -> AsyncIterator[bool]:
    for name in scene.rng.sample(scene.names, len(scene.names)):
        code = await scene.off(scene.brokers.stop, name)
        if code != 0:
            scene.history.violated(f"{name} was asked to stop and ended with {code}")
        await scene.start(name)
    yield True


@asynccontextmanager
async def worker_killed(scene: Scene) -> AsyncIterator[bool]:
    number = scene.rng.randrange(scene.workers.count)
    await scene.off(scene.workers.kill_and_restart, number)
    yield True


@asynccontextmanager
async def worker_asleep(scene: Scene) -> AsyncIterator[bool]:
    """Longer than its leases live: what it does when it wakes up comes too late."""
    number = scene.rng.randrange(scene.workers.count)
    scene.workers.send(number, signal.SIGSTOP)
    try:
        await scene.pause(WORKER_PAUSE_SECONDS)
        yield True
    finally:
        scene.workers.send(number, signal.SIGCONT)


def _leader(scene: Scene) -> list[str]:
    return [scene.leader()]


FAULTS: dict[str, Fault] = {
    "kill one node": partial(killed, choose=lambda scene: [scene.any_node()]),
    "kill the leader": partial(killed, choose=_leader),
    "kill a minority": partial(killed, choose=Scene.minority),
    "kill a majority": partial(killed, choose=Scene.majority),
    "kill all nodes": partial(killed, choose=lambda scene: list(scene.names)),
    "pause one node": partial(paused, choose=lambda scene: [scene.any_node()]),
    "pause the leader": partial(paused, choose=_leader),
    "pause a majority": partial(paused, choose=Scene.majority),
    "pause, kill, change places": pause_and_kill,
    "leader cut off, another killed": partitioned_and_killed,
    **{
        f"partition: {name}, {how}": partial(partitioned, shape=shape, resets=resets)
        for name, shape in SHAPES.items()
        for how, resets in (("silent", False), ("reset", True))
    },
    "flapping links": flapping,
    "slow links": slow,
    "rolling restart": rolling_restart,
    "worker killed": worker_killed,
    "clock step": clock_stepped,
    "clocks strobed": clocks_strobed,
    "worker asleep": worker_asleep,
}
"""What every machine allows."""
