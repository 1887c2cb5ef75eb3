"""The simulator itself: it repeats, it shrinks, its disks and links behave as they say, and it can fail."""

from __future__ import annotations

import asyncio
import errno
from random import Random

import pytest

from tests.sim.database import Image, SimDatabase
from tests.sim.disk import SimDisk, SimDiskThread
from tests.sim.loop import SimLoop
from tests.sim.makes import MAKES
from tests.sim.network import Network
from tests.sim.run import run
from tests.sim.schedule import FAULTS, brisk, from_seed
from tests.sim.shrink import shrink
from tests.sim.world import StormError, World

# The library opens dumps and does not close all of them.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class End:
    """An end of the network that remembers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.incarnation = 1
        self.disk_id = name
        self.heard: list[tuple[str, int]] = []
        self.epochs: list[int] = []

    def admits(self, peer: str, disk: str) -> bool:
        return True

    def connected(self, peer: str, epoch: int) -> None:
        self.epochs.append(epoch)

    def disconnected(self, peer: str, epoch: int) -> None:
        self.epochs.append(-epoch)

    def receive(self, peer: str, frame: str, epoch: int) -> None:
        self.heard.append((frame, epoch))


def two_ends(*, is_late: bool = False) -> tuple[World, Network, End, End]:
    world = World(1)
    network = Network(world, (0.01, 0.02), lambda source, target, frame: None)
    network.is_late_possible = is_late
    one, other = End("a"), End("b")
    network.attach("a", one)
    network.attach("b", other)
    network.dial_all("a")
    world.run_until(1.0)
    return world, network, one, other


@pytest.mark.parametrize("kind", sorted(MAKES))
def test_a_seed_says_everything_about_a_run(kind: str) -> None:
    schedule = from_seed(7, seconds=6.0)

    first, second = run(schedule, MAKES[kind]), run(schedule, MAKES[kind])

    assert first == second
    assert first.acknowledged > 10


def test_a_schedule_without_some_of_its_faults_is_the_same_otherwise() -> None:
    schedule = from_seed(2)

    kept = schedule.keep({0, 2})

    assert kept.faults == (schedule.faults[0], schedule.faults[2])
    assert kept.options == schedule.options


def test_seeds_come_by_every_fault_there_is() -> None:
    kinds = {fault.kind for seed in range(200) for fault in from_seed(seed).faults}

    assert kinds == set(FAULTS)


def test_shrinking_leaves_what_is_needed_and_nothing_else() -> None:
    asked = []

    def fails(kept: list[int]) -> bool:
        asked.append(kept)
        return {3, 11} <= set(kept)

    assert shrink(20, fails) == [3, 11]
    assert len(asked) < 100


def test_shrinking_a_run_that_fails_without_faults_leaves_none() -> None:
    assert shrink(20, lambda kept: True) == []


def test_frames_arrive_in_order_and_a_reset_loses_those_in_flight() -> None:
    world, network, _, other = two_ends()
    for frame in "xyz":
        assert network.send("a", "b", frame)
    world.run_until(2.0)
    network.send("a", "b", "lost")
    network.reset("a", "b")
    world.run_until(10.0)

    assert other.heard == [("x", 1), ("y", 1), ("z", 1)]
    assert other.epochs == [1, -1, 2]


def test_what_an_old_stream_still_held_may_arrive_after_the_new_one_is_up() -> None:
    world, network, _, other = two_ends(is_late=True)
    for number in range(50):
        network.send("a", "b", str(number))
    network.reset("a", "b")
    world.run_until(10.0)

    assert other.epochs == [1, -1, 2]
    assert other.heard, "a beginning of it"
    assert other.heard == [(str(number), 1) for number in range(len(other.heard))]


def test_a_cut_holds_frames_back_in_its_direction_only() -> None:
    world, network, one, other = two_ends()
    network.cut([("a", "b")], 2.0)
    network.send("a", "b", "held back")
    network.send("b", "a", "free")
    world.run_until(2.5)

    assert (one.heard, other.heard) == ([("free", 1)], [])
    world.run_until(4.0)
    assert other.heard == [("held back", 1)]


def test_healing_frees_what_a_slow_link_still_holds_and_all_that_waits_behind_it() -> None:
    world, network, _, other = two_ends()
    network.slow([("a", "b")], 1.0, 1_000.0)
    network.send("a", "b", "slow")
    network.send("a", "b", "behind it")
    world.run_until(2.0)
    assert other.heard == []

    network.heal()
    network.send("a", "b", "after")
    world.run_until(2.05)
    assert other.heard == [("slow", 1), ("behind it", 1), ("after", 1)]
    network.send("a", "b", "later")
    world.run_until(100.0)

    assert other.heard[3:] == [("later", 1)]


def test_healing_ends_what_a_slow_disk_is_at() -> None:
    world, disk, done = World(1), SimDisk(Random(1)), list[str]()
    thread = SimDiskThread(world, SimLoop(world, lambda error: None), disk, lambda error: None)  # type: ignore[abstract]
    disk.slow_until, disk.slow_seconds = 1.0, 1_000.0
    thread.run(lambda: done.append("slow"))
    thread.run(lambda: done.append("behind it"))
    world.run_until(2.0)
    assert not done

    disk.repair()
    world.run_until(2.05)
    assert done == ["slow", "behind it"]
    world.run_until(2_000.0)
    assert done == ["slow", "behind it"]


def test_commit_in_a_configuration_that_came_and_went_between_two_looks_violates_nothing() -> None:
    """A leader takes one of two out and another in: what was committed in between, it holds alone, rightly."""
    report = run(brisk(407320), MAKES["hardened"])
    assert (report.violations, report.coverage["membership changes"] > 1) == ([], True)


def test_a_paused_process_does_everything_later_and_in_order_and_a_killed_one_nothing() -> None:
    world = World(1)
    done: list[str] = []
    loop = SimLoop(world, lambda error: done.append(str(error)))  # type: ignore[abstract]
    loop.call_later(1.0, done.append, "first")
    loop.call_later(2.0, done.append, "second")
    loop.call_later(9.0, done.append, "never")
    loop.pause_until(5.0)
    world.run_until(4.9)
    assert not done

    world.run_until(6.0)
    loop.kill()
    world.run_until(10.0)

    assert done == ["first", "second"]


def test_a_process_that_goes_on_before_its_pause_is_over_does_everything_once_and_in_order() -> None:
    world = World(1)
    done: list[str] = []
    loop = SimLoop(world, lambda error: done.append(str(error)))  # type: ignore[abstract]
    loop.call_later(1.0, done.append, "first")
    loop.call_later(2.0, done.append, "second")
    loop.call_later(4.0, done.append, "third")
    loop.pause_until(5.0)
    world.run_until(3.0)
    loop.resume()
    world.run_until(10.0)

    assert done == ["first", "second", "third"]


def test_tasks_of_asyncio_run_on_the_virtual_loop() -> None:
    world = World(1)
    loop = SimLoop(world, lambda error: pytest.fail(str(error)))  # type: ignore[abstract]

    async def work() -> float:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(3.0, future.set_result, None)
        await future
        return world.now

    task = loop.create_task(work())
    world.run_until(10.0)

    assert task.result() == 3.0


def test_a_run_that_never_ends_is_a_storm() -> None:
    world = World(1)

    def again() -> None:
        world.after(0.0, again)
        world.after(0.0, again)

    again()

    with pytest.raises(StormError):
        world.run_until(1.0)


def test_a_power_loss_takes_the_batch_under_way_and_no_other() -> None:
    world = World(1)
    disk = SimDisk(Random(1))
    image = Image(("entries", "state"))
    database = SimDatabase("n1", image, disk)
    thread = SimDiskThread(world, SimLoop(world, lambda error: None), disk, lambda error: None)  # type: ignore[abstract]
    for key in (b"1", b"2"):
        batch = database.batch()
        batch.put(key, b"x", "entries")
        thread.call(lambda batch=batch: database.write_synced(batch, b""), lambda result: None)  # type: ignore[misc]

    world.run_until(0.0031)
    image.crash(Random(1))

    assert list(image.rows["entries"]) == [b"1"]


def test_a_disk_that_failed_once_takes_nothing_more() -> None:
    disk = SimDisk(Random(1))
    database = SimDatabase("n1", Image(("entries", "state")), disk)
    disk.fails_next = OSError(errno.EIO, "failed")
    with pytest.raises(OSError, match="failed"):
        database.write_synced(database.batch(), b"")

    with pytest.raises(OSError, match="failed"):
        database.sync(b"")
