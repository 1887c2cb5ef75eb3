"""One node's disk: how long it takes, how it fails, and the thread that waits for it.

What is on it when the power goes is for each kind of content to say (`crash`); the disk only remembers who they are.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from tests.sim.loop import SimLoop
from tests.sim.world import World

SYNC_SECONDS = (0.0002, 0.003)
"""How long a healthy disk takes for one job."""


class Content(Protocol):
    """Something kept on a disk that outlives the processes."""

    def crash(self, rng: Random) -> None:
        """The power is gone: what was not synced may be gone, or part of it."""
        ...


class SimDisk:
    """slow_until: until then each job takes `slow_seconds`. fails_next: the next sync raises. writes_left: after so
    many more it is full, None = never."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.contents: list[Content] = []
        self.slow_until = 0.0
        self.slow_seconds = 0.0
        self.fails_next: OSError | None = None
        self.writes_left: int | None = None
        self.syncs = 0
        self.hurry: Callable[[], None] = lambda: None
        """Ends the wait for what the disk is at: it is no slow disk's any more."""

    def seconds(self, now: float) -> float:
        """How long a job begun now takes."""
        base = self.rng.uniform(*SYNC_SECONDS)
        return base + self.slow_seconds * self.rng.random() if now < self.slow_until else base

    def check(self) -> None:
        """To be called by whatever syncs. Raises OSError when the disk fails or is full."""
        self.syncs += 1
        error, self.fails_next = self.fails_next, None
        if error is not None:
            raise error
        self.take_room()

    def take_room(self) -> None:
        """To be called by whatever writes. Raises OSError when the disk is full."""
        if self.writes_left is None:
            return
        if self.writes_left == 0:
            raise OSError(errno.ENOSPC, "no space left on the simulated disk")
        self.writes_left -= 1

    def lose_power(self) -> None:
        for content in self.contents:
            content.crash(self.rng)

    def repair(self) -> None:
        """An operator made room and put in a new disk cable."""
        self.fails_next = None
        self.writes_left = None
        self.slow_until = 0.0
        self.hurry()


class SimDiskThread:
    """The disk thread in virtual time: see `tq.broker.storage.disk.DiskThread`. One job at a time, in order."""

    def __init__(
        self, world: World, loop: SimLoop, disk: SimDisk, on_fatal: Callable[[BaseException], None]
    ) -> None:
        self._world = world
        self._loop = loop
        self._disk = disk
        self._on_fatal = on_fatal
        self._jobs: deque[tuple[Callable[[], Any], Callable[[Any], None] | None]] = deque()
        self._under_way: Any = None
        disk.hurry = self._hurry

    def start(self) -> None:
        """Nothing to start: jobs run when the world comes to them."""

    def run(self, job: Callable[[], object]) -> None:
        self._put(job, None)

    def call(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._put(job, done)

    def cut_short(self, rng: Random) -> None:
        """The process is killed: the job the kernel is at may still be done, and nobody hears of it."""
        if self._jobs and rng.random() < 0.5:
            job, done = self._jobs[0]
            if done is not None:
                try:
                    job()
                except OSError:
                    return

    async def stop(self) -> None:
        return None

    def _put(self, job: Callable[[], Any], done: Callable[[Any], None] | None) -> None:
        self._jobs.append((job, done))
        if len(self._jobs) == 1:
            self._begin()

    def _begin(self) -> None:
        self._under_way = self._loop.call_later(self._disk.seconds(self._world.now), self._finish)

    def _hurry(self) -> None:
        if self._jobs:
            self._under_way.cancel()
            self._begin()

    def _finish(self) -> None:
        job, done = self._jobs.popleft()
        try:
            result = job()
        except Exception as error:  # noqa: BLE001 - handed on, as the real thread does
            result = error
            done = done or self._on_fatal
        if self._jobs:
            self._begin()
        if done is not None:
            done(result)
