"""Changes of the cluster itself, as an operator makes them, in the middle of everything else. As in `faults`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.cluster.faults import Fault
from tests.cluster.scene import Scene
from tq.errors import TqError
from tq.verbs import AddNode, RemoveNode, TransferLeadership

TRANSFERS = 3
CHANGE_SECONDS_MAX = 30.0
RETRY_SECONDS = 0.5


async def _change(scene: Scene, request: AddNode | RemoveNode) -> None:
    """Ask until it is done: a change may be refused while a node is not connected, or has to wait for the one before."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CHANGE_SECONDS_MAX
    while True:
        try:
            await scene.operator.call(request)
        except TqError as error:
            if loop.time() >= deadline:
                scene.history.violated(f"{request} was refused for {CHANGE_SECONDS_MAX:.0f} s: {error.text}")
                return
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


@asynccontextmanager
async def leadership_transferred(scene: Scene) -> AsyncIterator[bool]:
    """To a node that is named, or to whichever is furthest on; it may be refused, not half done."""
    for _ in range(TRANSFERS):
        target = scene.rng.choice((*scene.names, ""))
        try:
            await scene.operator.call(TransferLeadership(target))
            scene.history.counts["transfers of leadership"] += 1
        except TqError as error:
            scene.history.counts[f"transfers that were not made ({error.code})"] += 1
        await scene.pause(1)
    yield True


@asynccontextmanager
async def removed_and_added(scene: Scene) -> AsyncIterator[bool]:
    """A node is taken out of the cluster, dies, and is taken in again with what it had."""
    name = scene.any_node()
    await _change(scene, RemoveNode(name))
    await scene.kill(name)
    yield True
    await scene.start(name)
    await _change(scene, AddNode(name, scene.brokers.raft_address(name)))
    await scene.whole()


@asynccontextmanager
async def replaced(scene: Scene) -> AsyncIterator[bool]:
    """A node dies for good; it is taken out, and a new one is taken in under its name."""
    name = scene.any_node()
    await scene.kill(name)
    await _change(scene, RemoveNode(name))
    await scene.off(scene.empty, name)
    await scene.start(name)
    await _change(scene, AddNode(name, scene.brokers.raft_address(name)))
    yield True
    await scene.whole()


MEMBER_FAULTS: dict[str, Fault] = {
    "leadership transferred": leadership_transferred,
    "node removed and added": removed_and_added,
    "node replaced": replaced,
}
