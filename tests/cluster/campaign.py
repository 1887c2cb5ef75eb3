"""The campaign: load on, fault after fault; then stillness and judgement."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from lab.cluster import Brokers
from lab.network import Network
from tests.cluster.clocks import Clocks
from tests.cluster.faults import Fault
from tests.cluster.history import History
from tests.cluster.judge import judge
from tests.cluster.register import Register
from tests.cluster.scene import Disks, Scene, Workers
from tests.cluster.stillness import check_equal
from tests.cluster.workloads import RECOVERY_SECONDS_MAX, Workloads
from tq import AsyncClient
from tq.errors import TqError

HOLD_SECONDS_MAX = 3.0
"""The longest a fault lasts after the cluster works again, or when it cannot work."""
CALM_SECONDS_MAX = 1.0
"""The longest pause between two faults."""
WORKERS = 2


class Options(NamedTuple):
    """Of one campaign. The same seed makes the same choices, not the same timing.

    seconds: no fault begins later, but for the first faults_least of them.
    """

    seed: int
    seconds: float
    faults_least: int = 1
    submitters: int = 4
    submit_pause: float = 0.02


class Stage(NamedTuple):
    """The cluster, not yet started, its network, and what else can be broken; disks: None = not on this machine."""

    directory: Path
    brokers: Brokers
    network: Network
    clocks: Clocks
    disks: Disks | None = None


async def run(
    stage: Stage, options: Options, faults: Mapping[str, Fault], tell: Callable[[str], None]
) -> History:
    """Strike until the time is up, each fault once before any comes twice, then judge. tell: a line for each step."""
    history, rng = History(tell), random.Random(options.seed)
    register, socket = Register(history), stage.directory / "register"
    with ExitStack() as stack:
        brokers = stage.brokers
        stack.callback(brokers.close)
        await asyncio.to_thread(_start, brokers)
        async with register.open(socket), AsyncClient(brokers.addresses) as operator:
            workers = Workers(stage.directory, brokers.addresses, socket, WORKERS)
            stack.callback(workers.close)
            load = Workloads(
                brokers.addresses, history, random.Random(rng.random()), pause=options.submit_pause
            )
            scene = Scene(
                *(brokers, stage.network, workers, history, rng, stage.clocks, operator, load.weigh_down),
                stage.disks,
            )
            loading = asyncio.create_task(load.run(submitters=options.submitters))
            await _strike_on(scene, load, faults, options)
            load.stop()
            await loading
            await _judge(scene, register)
    return history


def _start(brokers: Brokers) -> None:
    for name in brokers.names:
        brokers.start(name)
    for name in brokers.names:
        brokers.ready(name)
    brokers.wait_for_leader()


async def _strike_on(scene: Scene, load: Workloads, faults: Mapping[str, Fault], options: Options) -> None:
    end = time.monotonic() + options.seconds
    async with load.client() as client:
        for struck, name in enumerate(_rounds(list(faults), scene.rng)):
            if struck >= options.faults_least and time.monotonic() >= end:
                return
            await scene.pause(CALM_SECONDS_MAX)
            await _strike(name, faults[name], scene, load, client)


def _rounds(names: list[str], rng: random.Random) -> Iterator[str]:
    """All in some order, then all in another, for ever."""
    while True:
        yield from rng.sample(names, len(names))


async def _strike(name: str, fault: Fault, scene: Scene, load: Workloads, client: AsyncClient) -> None:
    history = scene.history
    history.faults[name] += 1
    start = time.monotonic()
    async with fault(scene) as leaves_majority:
        struck = await load.recovered(client) if leaves_majority else None
        await scene.pause(HOLD_SECONDS_MAX)
    await scene.revive()
    healed = await load.recovered(client)
    for recovered, when in ((struck, "during") if leaves_majority else (0.0, ""), (healed, "after")):
        if recovered is None:
            history.violated(f"no submit was acknowledged for {RECOVERY_SECONDS_MAX:.0f} s {when} {name!r}")
    found = struck if leaves_majority else healed
    if found is not None:
        history.recoveries[name].append(found)
        history.told(f"{name}: again after {found:.2f} s, over after {time.monotonic() - start:.1f} s")


async def _judge(scene: Scene, register: Register) -> None:
    history, brokers = scene.history, scene.brokers
    history.told("no more faults; judging")
    try:
        await judge(brokers.addresses, history, register)
    except TqError as error:
        history.violated(f"the judge got no answer: {error}")
    scene.workers.close()
    await scene.revive()
    for name in brokers.names:
        if not brokers.is_running(name):
            scene.ended_by_itself(name)
    history.told("every task compared; comparing the nodes")
    await check_equal(brokers, history)
    for term, leaders in brokers.roles.split_terms.items():
        history.violated(f"term {term} had {len(leaders)} leaders: {', '.join(sorted(leaders))}")
    history.counts["terms with a leader"] = len(brokers.roles.leaders)
