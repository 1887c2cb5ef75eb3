"""One node of the cluster: what of it lasts (disk, clocks, identity) and the process that runs now, if one does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from tests.sim.broker import Broker
from tests.sim.consensus import Consensus, Make, Surroundings, Watcher
from tests.sim.disk import SimDisk, SimDiskThread
from tests.sim.loop import SimLoop
from tests.sim.network import Network
from tests.sim.schedule import Options
from tests.sim.world import StormError, World
from tq.errors import StoreDamaged

START_MS = 1_700_000_000_000
RESTART_SECONDS = 1.0
"""After this a supervisor starts a process again that stopped by itself."""
CLOCK_APART_MS = 2_000
"""How far wall clocks of nodes are apart."""


class NodeClock:
    """`tq.clock.Clock` of one node. Its wall clock is off, and may be set."""

    def __init__(self, world: World, off_ms: int) -> None:
        self._world = world
        self.off_ms = off_ms

    def now_ms(self) -> int:
        return START_MS + int(self._world.now * 1000) + self.off_ms

    def monotonic_ms(self) -> int:
        return int(self._world.now * 1000)

    def monotonic_ns(self) -> int:
        return int(self._world.now * 1_000_000_000)


class Process:
    """One incarnation."""

    def __init__(self, loop: SimLoop, disk_thread: SimDiskThread) -> None:
        self.loop = loop
        self.disk_thread = disk_thread
        self.raft: Consensus | None = None
        self.broker: Broker | None = None


class SimNode:
    """An `Endpoint` of the network."""

    def __init__(
        self,
        name: str,
        members: tuple[str, ...],
        world: World,
        network: Network,
        make: Make,
        options: Options,
        watcher: Watcher,
    ) -> None:
        self.name = name
        self._members = members
        self._world = world
        self._network = network
        self._make = make
        self._options = options
        self._watcher = watcher
        self.rng: Random = world.stream(f"node/{name}")
        self.disk = SimDisk(world.stream(f"disk/{name}"))
        self.clock = NodeClock(world, self.rng.randint(-CLOCK_APART_MS, CLOCK_APART_MS))
        self._disks = 1
        self.disk_id = f"{name}.1/1"
        self.drive = make.drive(self.disk, self.disk_id)
        self.is_forgetful = False
        """Its disk lost something that it had promised, and it is not a voter again."""
        self._is_spoiled = False
        """Whoever opens it now has to notice."""
        self.process: Process | None = None
        self.starts = 0
        self.is_held_down = False
        """Nobody starts it again: its disk is gone, or it was removed."""
        network.attach(name, self)

    # ------------------------------------------------------------ what is known of it

    @property
    def incarnation(self) -> int:
        return self.starts if self.process is not None else 0

    @property
    def raft(self) -> Consensus | None:
        return self.process.raft if self.process is not None else None

    @property
    def broker(self) -> Broker | None:
        return self.process.broker if self.process is not None else None

    @property
    def is_paused(self) -> bool:
        return self.process is not None and self.process.loop.paused_until > self._world.now

    @property
    def is_leading(self) -> bool:
        return self.raft is not None and self.raft.is_leader

    @property
    def is_learning(self) -> bool:
        """Its process runs, on a disk that has forgotten."""
        return self.is_forgetful and not self._is_spoiled and self.process is not None

    # ------------------------------------------------------------ life

    def start(self) -> None:
        if self.process is not None or self.is_held_down:
            return
        self.starts += 1
        loop = SimLoop(self._world, self._raised)  # type: ignore[abstract]
        thread = SimDiskThread(self._world, loop, self.disk, self._raised)
        process = self.process = Process(loop, thread)
        around = Surroundings(
            self.name,
            self._members,
            self._world,
            loop,
            self.disk,
            thread,
            self.clock,
            self.rng,
            self.drive,
            self._options,
            self._watcher,
            partial(self._network.send, self.name),
            partial(self._network.reset, self.name),
            self._raised,
        )
        loop.enter(lambda: self._boot(process, around))
        if self.process is process:
            if self._is_spoiled:
                self._watcher.violated("J4 damage not noticed", self.name, "it opened")
            self._network.dial_all(self.name)

    def _boot(self, process: Process, around: Surroundings) -> None:
        process.raft = self._make.start(around)
        process.broker = Broker(around, process.raft)
        process.raft.begin(process.broker.replaced, process.broker.hand_over, process.broker.lead)
        process.broker.start()

    def kill(self, *, power: bool = False) -> None:
        """kill -9, or the plug pulled."""
        process, self.process = self.process, None
        if process is None:
            return
        process.loop.kill()
        if power:
            if self._options.is_torn:
                process.disk_thread.cut_short(self.rng)
            self.disk.lose_power()
        else:
            process.disk_thread.cut_short(self.rng)
        for peer in self._members:
            if peer != self.name:
                self._network.reset(self.name, peer)

    def lose_disk(self, *, damaged: bool = False) -> None:
        """It begins anew on an empty one: a new one, or, after damage, the next generation of the one it had."""
        self.kill()
        self.drive.close()
        self.disk.contents.clear()
        name, _, generation = self.disk_id.partition("/")
        if damaged:
            self.disk_id = f"{name}/{int(generation) + 1}"
        else:
            self._disks += 1
            self.disk_id = f"{self.name}.{self._disks}/1"
        self.drive = self._make.drive(self.disk, self.disk_id)
        self.is_forgetful = True
        self._is_spoiled = False

    def spoil(self, how: str) -> bool:
        """Damage its disk while no process runs; False when there is nothing to damage. See `drives.HardDrive`."""
        self._is_spoiled = self.drive.spoil(how, self.rng)
        self.is_forgetful = self.is_forgetful or self._is_spoiled
        return self._is_spoiled

    def pause(self, seconds: float) -> None:
        if self.process is not None:
            self.process.loop.pause_until(self._world.now + seconds)

    def resume(self) -> None:
        if self.process is not None:
            self.process.loop.resume()

    def _raised(self, error: BaseException) -> None:
        """The process raised what it did not catch."""
        if isinstance(error, StormError):
            raise error
        is_disk = isinstance(error, OSError) or isinstance(error.__cause__, OSError)
        is_expected = isinstance(error, StoreDamaged) and self._is_spoiled
        if not is_disk and not is_expected:
            kind = "damaged" if isinstance(error, StoreDamaged) else type(error).__name__
            self._watcher.violated(f"raised:{kind}", self.name, str(error)[:200])
        has_booted = self.broker is not None
        if is_expected:
            self._watcher.covered("damage noticed")
            self.lose_disk(damaged=True)
            self._world.after(RESTART_SECONDS, self.start)
            return
        if self._make.is_fail_stop or not has_booted:
            self.kill()
            self._world.after(RESTART_SECONDS, self.start)

    # ------------------------------------------------------------ the network's side

    def admits(self, peer: str, disk: str) -> bool:
        return self.raft is not None and self.raft.admits(peer, disk)

    def connected(self, peer: str, epoch: int) -> None:
        self._tell(lambda raft: raft.connected(peer, epoch))

    def disconnected(self, peer: str, epoch: int) -> None:
        self._tell(lambda raft: raft.disconnected(peer, epoch))

    def receive(self, peer: str, frame: Any, epoch: int) -> None:
        self._tell(lambda raft: raft.receive(peer, frame, epoch))

    def ask(self, action: Callable[[Consensus], None]) -> None:
        """Let the process do something from outside, an operator's wish."""
        self._tell(action)

    def _tell(self, action: Callable[[Consensus], None]) -> None:
        process = self.process
        if process is None or process.raft is None:
            return
        raft = process.raft
        if process.loop.paused_until > self._world.now:
            process.loop.call_soon(action, raft)
        else:
            process.loop.enter(lambda: action(raft))
