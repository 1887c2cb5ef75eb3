"""What faults act on: the cluster, its network, disks, clocks and workers, and the chance that decides."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from lab.cluster import Brokers
from lab.network import Network
from lab.processes import Process, ProcessFailed, start_worker
from tests.cluster.clocks import Clocks
from tests.cluster.history import History
from tests.cluster.register import VARIABLE
from tests.cluster.workloads import QUEUE
from tq import AsyncClient
from tq.broker.lifecycle import EXIT_DISK
from tq.errors import TqError
from tq.verbs import Member

ROOT = Path(__file__).parents[2]
WORKER_CONCURRENCY = 16
WHOLE_SECONDS_MAX = 90.0
POLL_SECONDS = 0.2
LAG_ENTRIES_MAX = 1_000
COURSE_STEPS = 20

_T = TypeVar("_T")


class Disks(Protocol):
    """File systems of nodes, one each."""

    def fill(self, name: str) -> None: ...

    def free(self, name: str) -> None: ...

    def photograph(self, name: str) -> None:
        """Copy what has reached the device at this moment."""
        ...

    def lose_power(self, name: str) -> None:
        """The node is dead: put the photograph in the place of its disk."""
        ...


class Workers:
    """Real tq-worker processes, which run `tests.cluster.handlers`."""

    def __init__(self, directory: Path, addresses: str, register: Path, count: int) -> None:
        self._directory = directory
        self._addresses = addresses
        self._register = register
        self._running = [self._start(number) for number in range(count)]

    def kill_and_restart(self, number: int) -> None:
        self._running[number].kill()
        self._running[number] = self._start(number)

    def send(self, number: int, what: signal.Signals) -> None:
        self._running[number].send(what)

    @property
    def count(self) -> int:
        return len(self._running)

    def close(self) -> None:
        for worker in self._running:
            worker.kill()

    def _start(self, number: int) -> Process:
        return start_worker(
            self._directory,
            self._addresses,
            *("tests.cluster.handlers:app", "--queues", QUEUE, "--kind", "async"),
            *("--concurrency", str(WORKER_CONCURRENCY), "--heartbeat-interval", "2"),
            name=f"worker-{number}",
            python_path=ROOT,
            env={VARIABLE: str(self._register)},
        )


@dataclass
class Scene:
    """disks: None where the machine does not allow to make any."""

    brokers: Brokers
    network: Network
    workers: Workers
    history: History
    rng: random.Random
    clocks: Clocks
    operator: AsyncClient
    weigh_down: Callable[[int], Awaitable[None]]
    """Submit tasks with so many bytes of payload in all."""
    disks: Disks | None = None
    roomless: set[Process] = field(default_factory=set)
    """Those whose disks were full once: these may end for it, also a moment after there is room again."""

    @property
    def names(self) -> tuple[str, ...]:
        return self.brokers.names

    @property
    def has_majority(self) -> bool:
        return 2 * len(self.brokers.working) > len(self.names)

    def leader(self) -> str:
        """The node that leads; while none does, any."""
        return self.brokers.leader() or self.rng.choice(self.names)

    def any_node(self) -> str:
        return self.rng.choice(self.names)

    def minority(self) -> list[str]:
        """As many as may be gone, the leader among them half of the time."""
        size = (len(self.names) - 1) // 2
        chosen = self.rng.sample(self.names, size)
        return chosen if self.rng.random() < 0.5 else list({self.leader(), *chosen})[:size]

    def majority(self) -> list[str]:
        return self.rng.sample(self.names, len(self.names) // 2 + 1)

    async def kill(self, *names: str) -> None:
        await self.off(self._kill, names)

    def _kill(self, names: tuple[str, ...]) -> None:
        for name in names:
            if not self.brokers.is_running(name):
                self.ended_by_itself(name)
        self.brokers.kill(*names)

    async def start(self, *names: str) -> None:
        """Start these and wait until each serves."""
        for name in names:
            self.brokers.start(name)
        for name in names:
            await self.off(self._ready, name)

    def _ready(self, name: str) -> None:
        try:
            self.brokers.ready(name)
        except ProcessFailed as error:
            self.history.violated(f"{name} did not come back: {error}")
            if not self.brokers.is_running(name):
                self.brokers.start(name)

    async def revive(self) -> None:
        """Every node must be running now; one that is not is told of, and started."""
        for name in self.names:
            if not self.brokers.is_running(name):
                self.ended_by_itself(name)
                await self.start(name)

    def ended_by_itself(self, name: str) -> None:
        process, code = self.brokers.process(name), self.brokers.wait(name)
        if process in self.roomless and code == EXIT_DISK:
            self.history.counts["nodes that stopped for want of room"] += 1
        else:
            self.history.violated(f"{name} ended by itself with {code}\n{process.log_tail()}")

    def has_given_up(self, name: str) -> bool:
        """Whether a node ended or is about to, as its log says; the kernel may need a while to end it."""
        process = self.brokers.process(name)
        if process.is_running and all(event.get("event") != "fatal" for event in process.events()):
            return False
        self.brokers.wait(name)
        return True

    def empty(self, name: str) -> None:
        """Lose everything a node that is down had."""
        for path in self.brokers.data_dir(name).iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    async def whole(self) -> None:
        """Wait until every node votes again and is not far behind: the next fault may take another one."""
        loop = asyncio.get_running_loop()
        deadline, seen, course = loop.time() + WHOLE_SECONDS_MAX, "nobody answered", list[str]()
        while loop.time() < deadline:
            try:
                cluster = await self.operator.cluster()
            except TqError as error:
                seen = error.text
            else:
                voting = {member.node_id for member in cluster.members if _votes(member)}
                if voting == set(self.names):
                    return
                seen = str(cluster)
                course.append("/".join(f"{member.role[0]}{member.lag}" for member in cluster.members))
            await asyncio.sleep(POLL_SECONDS)
        course = course[:: len(course) // COURSE_STEPS or 1]
        self.history.violated(
            f"the cluster was not whole after {WHOLE_SECONDS_MAX:.0f} s: {seen}; role and lag so far: {course}"
        )

    async def pause(self, longest: float) -> None:
        """Let it be as it is for a random while."""
        await asyncio.sleep(self.rng.uniform(0, longest))

    @staticmethod
    async def off(work: Callable[..., _T], *arguments: object) -> _T:
        """Run what blocks in a thread: clients, workers and gates go on."""
        return await asyncio.to_thread(work, *arguments)


def _votes(member: Member) -> bool:
    return member.role in ("leader", "follower") and member.lag < LAG_ENTRIES_MAX
