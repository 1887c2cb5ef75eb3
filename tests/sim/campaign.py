"""Many seeds, in several processes, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from tests.sim.makes import MAKES
from tests.sim.run import Report, run
from tests.sim.schedule import Schedule, brisk, from_seed
from tests.sim.shrink import shrink


@dataclass(slots=True)
class Totals:
    """failed: reports of the seeds that violated something. kinds: violation -> how many seeds had it."""

    seeds: int = 0
    seconds: float = 0.0
    events: int = 0
    acknowledged: int = 0
    terms: int = 0
    failed: list[Report] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    coverage: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)

    def add(self, report: Report) -> None:
        self.seeds += 1
        self.seconds += report.seconds
        self.events += report.events
        self.acknowledged += report.acknowledged
        self.terms += report.terms
        if report.has_failed:
            self.failed.append(report)
        self.kinds.update(set(report.kinds))
        self.faults.update(report.faults)
        self.coverage.update(report.coverage)
        self.counts.update(report.counts)
        self.waits += report.waits[::10]

    def numbers(self) -> dict[str, int]:
        """How much was run."""
        return {
            "seeds": self.seeds,
            "virtual seconds": int(self.seconds),
            "acknowledged": self.acknowledged,
            "terms": self.terms,
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield (
            f"{self.seeds} seeds, {len(self.failed)} failed; {self.seconds / 3600:.2f} virtual hours, "
            f"{self.acknowledged} submits acknowledged, {self.terms} terms, {self.events} events"
        )
        waits = sorted(self.waits) or [0.0]
        yield (
            f"submit to acknowledgement: p50 {waits[len(waits) // 2] * 1000:.0f} ms, "
            f"p99 {waits[len(waits) * 99 // 100] * 1000:.0f} ms"
        )
        for title, counter in (
            ("faults", self.faults),
            ("work", self.counts),
            ("coverage", self.coverage),
            ("seeds that violated", self.kinds),
        ):
            text = ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))
            yield f"{title}: {text or 'none'}"


def run_seed(name: str, seed: int, *, is_short: bool = False) -> Report:
    """In a process of its own: what is run is named, not sent."""
    return run(brisk(seed) if is_short else from_seed(seed), MAKES[name])


def run_many(name: str, seeds: Iterable[int], *, processes: int, is_short: bool = False) -> Iterator[Report]:
    """Reports in the order of the seeds. is_short: see `schedule.brisk`."""
    run_one = partial(run_seed, name, is_short=is_short)
    if processes == 1:
        yield from map(run_one, seeds)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(run_one, seeds, chunksize=4)


def shrunken(report: Report, name: str) -> tuple[Schedule, list[int]]:
    """The least schedule that still violates one of the same invariants, and the positions of its faults."""
    schedule, kinds = report.schedule, set(report.kinds)

    def fails(kept: list[int]) -> bool:
        return bool(kinds & set(run(schedule.keep(kept), MAKES[name]).kinds))

    kept = shrink(len(schedule.faults), fails)
    return schedule.keep(kept), kept
