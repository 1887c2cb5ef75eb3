"""What a run is: its options and its faults, all from one seed, and small enough to be printed.

A fault stands for itself (when, what, whom, how long), so any of them can be left out: that is what shrinking does.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import NamedTuple

LEADER = -1
"""As the node of a fault: whoever leads at that moment."""

FAULTS: dict[str, int] = {
    "kill": 4,
    "power": 4,
    "power_all": 1,
    "kill_all": 1,
    "pause": 4,
    "pause_kill": 1,
    "cut": 4,
    "cut_one_way": 4,
    "isolate": 4,
    "halves": 2,
    "ring": 1,
    "bridge": 1,
    "reset": 4,
    "flap": 2,
    "slow_link": 2,
    "slow_disk": 3,
    "disk_full": 1,
    "fsync_error": 1,
    "clock_step": 1,
    "compact": 4,
    "transfer": 2,
    "worker_death": 2,
    "remove_node": 1,
    "lose_disk": 1,
    "flip_bit": 1,
    "lose_end": 1,
}
"""Kind -> how often it is drawn, compared to the others."""
BY_NAME: dict[str, int] = {"flip_snapshot": 4}
"""Drawn only where they are asked for, or every seed would be another run than it was."""
DISK_FAULTS = frozenset(
    {"power", "power_all", "disk_full", "fsync_error", "lose_disk", "flip_bit", "lose_end"}
)
NETWORK_FAULTS = frozenset(
    {"cut", "cut_one_way", "isolate", "halves", "ring", "bridge", "reset", "flap", "slow_link"}
)


class Pace(NamedTuple):
    """How fast faults follow each other, in seconds. warm_up: before the first. quiet: before they end, so that the
    last one is not cut off. gap: between two. length: of one.
    """

    warm_up: float
    quiet: float
    gap: tuple[float, float]
    length: tuple[float, float]


STEADY = Pace(3.0, 1.0, (0.3, 1.8), (0.1, 3.0))
BRISK = Pace(1.5, 0.3, (0.1, 0.6), (0.05, 1.2))
"""For short runs: as many faults in a third of the time."""
BRISK_SECONDS = 4.5
BRISK_RATE_MAX = 15.0


class Fault(NamedTuple):
    """node, peer: positions, or LEADER. seconds: how long it lasts, where it lasts."""

    at: float
    kind: str
    node: int
    peer: int
    seconds: float

    def __str__(self) -> str:
        node = "leader" if self.node == LEADER else f"n{self.node + 1}"
        return f"{self.at:7.2f} s  {self.kind:<12} {node:<6} peer n{self.peer + 1}  {self.seconds:.2f} s"


class Options(NamedTuple):
    """seconds: of faults; healing and quiet come after. latency: of a link, seconds. rate: submits a second.

    is_pipelined: the library sends an append for each entry, not one batch after the other. batch_bytes: of one
    append. compact_entries: a snapshot is made after so many. is_late: what a replaced socket held may still be
    read. is_torn: what was being written when the power went may be there, or leave the disk unreadable.
    """

    nodes: int = 3
    seconds: float = 20.0
    latency: tuple[float, float] = (0.001, 0.03)
    rate: float = 15.0
    workers: int = 3
    is_pipelined: bool = False
    batch_bytes: int = 65_536
    compact_entries: int = 120
    is_late: bool = False
    is_torn: bool = True


class Schedule(NamedTuple):
    seed: int
    options: Options
    faults: tuple[Fault, ...]

    def keep(self, positions: Collection[int]) -> Schedule:
        """The same run with these of its faults only."""
        return self._replace(faults=tuple(f for i, f in enumerate(self.faults) if i in positions))


def brisk(seed: int) -> Schedule:
    """A short run of this seed, with less work and as many faults."""
    rng = Random(f"{seed}/schedule")
    options = _options(rng)
    options = options._replace(seconds=BRISK_SECONDS, rate=min(options.rate, BRISK_RATE_MAX))
    return Schedule(seed, options, _faults(rng, options, _kinds(rng), BRISK))


def from_seed(seed: int, *, seconds: float | None = None, kinds: Collection[str] | None = None) -> Schedule:
    """The run of this seed. seconds: of faults, None = by the seed. kinds: only these faults, None = by the seed."""
    rng = Random(f"{seed}/schedule")
    options = _options(rng)
    if seconds is not None:
        options = options._replace(seconds=seconds)
    chosen = sorted(kinds) if kinds is not None else _kinds(rng)
    return Schedule(seed, options, _faults(rng, options, chosen, STEADY))


def _options(rng: Random) -> Options:
    slowest = rng.choice((0.003, 0.01, 0.03, 0.03, 0.06, 0.3))
    return Options(
        nodes=rng.choice((3, 3, 3, 5)),
        seconds=rng.choice((12.0, 20.0, 30.0)),
        latency=(0.0005, slowest),
        rate=rng.choice((5.0, 15.0, 15.0, 40.0)),
        workers=rng.choice((1, 3, 5)),
        is_pipelined=rng.random() < 0.4,
        batch_bytes=rng.choice((4_000, 16_000, 65_536)),
        compact_entries=rng.choice((60, 120, 400, 5_000)),
        is_late=rng.random() < 0.4,
        is_torn=rng.random() < 0.7,
    )


def _kinds(rng: Random) -> list[str]:
    """One kind in four runs, a few in most, all in some: pure runs are easier to read, mixed ones find more."""
    names = sorted(FAULTS)
    draw = rng.random()
    if draw < 0.05:
        return []
    if draw < 0.2:
        return [rng.choice(names)]
    if draw < 0.9:
        return sorted(rng.sample(names, rng.randint(2, 11)))
    return names


def _faults(rng: Random, options: Options, kinds: list[str], pace: Pace) -> tuple[Fault, ...]:
    faults: list[Fault] = []
    weights = [(FAULTS | BY_NAME)[kind] for kind in kinds]
    now = pace.warm_up
    while kinds and now < options.seconds - pace.quiet:
        kind = rng.choices(kinds, weights)[0]
        node = LEADER if rng.random() < 0.5 else rng.randrange(options.nodes)
        peer = rng.randrange(options.nodes)
        faults.append(Fault(round(now, 3), kind, node, peer, round(rng.uniform(*pace.length), 3)))
        now += rng.uniform(*pace.gap)
    return tuple(faults)
