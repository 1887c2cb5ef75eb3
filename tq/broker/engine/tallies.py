"""What the engine counts, entry by entry, for metrics: plain integers, shared by all kinds of one label.

Per entry nothing is built and nothing looked up but a kind's number; what can be derived from the machine's own counts
(how many were submitted, how many wait) is derived when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tq.broker.engine.statistics import oldest_age_ms
from tq.broker.machine.effects import Outcome
from tq.broker.machine.heads import Head
from tq.broker.machine.kinds import Kind
from tq.broker.machine.state import State
from tq.broker.measures import TASK_BOUNDS_MS, Histogram, Labels, Measures
from tq.task import COMPLETED, DEAD_LETTER, ENDED_STATES, PENDING, RETRYING, STATUS_OF_STATE

SUBMITTED = "submitted"
SLOW_MS = 10_000
"""A task that ran longer is worth a warning."""
_LIVE = slice(1, COMPLETED)


class _OfKind:
    """Counts of one kind. ended: by state; failed: attempts a retry followed. runs: shared by all of a label."""

    __slots__ = ("ended", "failed", "label", "runs")

    def __init__(self, label: str, runs: Histogram) -> None:
        self.label = label
        self.ended = [0] * (max(ENDED_STATES) + 1)
        self.failed = 0
        self.runs = runs


class Total(NamedTuple):
    """Sums over everything since the start. submitted: tasks brought back count again. waits, runs: histograms' counts."""

    submitted: int
    completed: int
    failed: int
    waits: list[int]
    runs: list[int]


class Tallies:
    def __init__(self, state: State) -> None:
        self._state = state
        self._begin()

    def _begin(self) -> None:
        self._type_labels, self._queue_labels = Labels(), Labels()
        self._runs: dict[str, Histogram] = {}
        self._waits: dict[str, Histogram] = {}
        self._by_kind: dict[int, _OfKind] = {}
        self._waits_by_kind: dict[int, Histogram] = {}
        self._live_before: Counter[str] = Counter()
        self._lived_before: dict[int, int] = {}

    def go_live(self) -> None:
        """Count from here on: what was restored or replayed happened before this process."""
        self._begin()
        for kind in self._state.kinds.values():
            live = sum(kind.counts[_LIVE])
            self._live_before[self._type_labels.of(kind.task_type)] += live
            self._lived_before[kind.number] = live

    def entry(self, outcome: Outcome) -> list[Head]:
        """Count what one entry did. Returns the ended tasks worth a line in the log: dead letters, and the slow."""
        if outcome.leased:
            self._count_waits(outcome.leased)
        notable = self._count_ends(outcome) if outcome.ended else []
        for head, attempt in outcome.attempts:
            of_kind = self._of_kind(head.terms.kind)
            of_kind.runs.observe(attempt.ended_ms - attempt.started_ms)
            of_kind.failed += head.state == RETRYING
        return notable

    # What one entry touches is mostly of one kind and one age: what was found for the last task is kept for the next.

    def _count_waits(self, leased: list[tuple[Kind, int]]) -> None:
        last: Kind | None = None
        last_ms = -1
        for kind, ms in leased:
            if kind is not last:
                last, waits = kind, self._waits_of(kind)
            if ms != last_ms:
                last_ms, bucket = ms, bisect_left(TASK_BOUNDS_MS, ms)
            waits.counts[bucket] += 1
            waits.total += ms

    def _count_ends(self, outcome: Outcome) -> list[Head]:
        notable: list[Head] = []
        archived = outcome.archived
        last: Kind | None = None
        last_ms = -1
        for head in outcome.ended:
            kind, end = head.terms.kind, head.state
            if kind is not last:
                last, of_kind = kind, self._of_kind(kind)
                runs = of_kind.runs
            of_kind.ended[end] += 1
            # Of an attempt that completed its task the record tells; the others are in `attempts`.
            if end == COMPLETED:
                record = archived.get(head.task_id)
                if record is None:
                    continue
                ms = record.ended_ms - record.started_ms
                if ms != last_ms:
                    last_ms, bucket = ms, bisect_left(TASK_BOUNDS_MS, ms)
                runs.counts[bucket] += 1
                runs.total += ms
                if ms > SLOW_MS:
                    notable.append(head)
            elif end == DEAD_LETTER:
                notable.append(head)
        return notable

    def measures(self, *, now_ms: int, workers: int, commits: Histogram) -> Measures:
        """Everything, in time that grows with the kinds and not with the tasks. now_ms: by the entries' clock."""
        pending: Counter[str] = Counter()
        oldest: dict[str, int] = {}
        live: Counter[str] = Counter()
        for kind in self._state.kinds.values():
            queue = self._queue_labels.of(kind.queue)
            waiting = kind.counts[PENDING]
            pending[queue] += waiting
            oldest[queue] = max(oldest.get(queue, 0), oldest_age_ms(kind, now_ms) if waiting else 0)
            live[self._type_labels.of(kind.task_type)] += sum(kind.counts[_LIVE])
        totals = self._state.totals
        low, normal, high = self._state.tiers
        return Measures(
            came=self._came(live),
            stored={word: totals[state] for state, word in STATUS_OF_STATE.items()},
            depths={"high": high, "normal": normal, "low": low},
            pending=pending,
            oldest_pending_ms=oldest,
            workers=workers,
            runs=self._runs,
            waits=self._waits,
            commits=commits,
        )

    def total(self) -> Total:
        """In time that grows with the kinds."""
        ended, failed = [0] * (max(ENDED_STATES) + 1), 0
        for of_kind in self._by_kind.values():
            failed += of_kind.failed
            for end in ENDED_STATES:
                ended[end] += of_kind.ended[end]
        live = sum(self._state.totals[_LIVE]) - sum(self._lived_before.values())
        return Total(
            submitted=live + sum(ended),
            completed=ended[COMPLETED],
            failed=failed + ended[DEAD_LETTER],
            waits=_sum(self._waits.values()),
            runs=_sum(self._runs.values()),
        )

    def by_queue(self) -> dict[str, tuple[int, int]]:
        """queue -> (tasks that came, that ended) since the start; in time that grows with the kinds."""
        found: dict[str, tuple[int, int]] = {}
        for kind in self._state.kinds.values():
            of_kind = self._by_kind.get(kind.number)
            ended = sum(of_kind.ended) if of_kind is not None else 0
            came = sum(kind.counts[_LIVE]) + ended - self._lived_before.get(kind.number, 0)
            came_before, ended_before = found.get(kind.queue, (0, 0))
            found[kind.queue] = (came_before + came, ended_before + ended)
        return found

    def _came(self, live: Counter[str]) -> dict[tuple[str, str], int]:
        """Submitted is what lives or has ended since, less what lived at the start."""
        came: Counter[tuple[str, str]] = Counter()
        for label, count in live.items():
            came[SUBMITTED, label] = count - self._live_before[label]
        for of_kind in self._by_kind.values():
            label = of_kind.label
            came[SUBMITTED, label] += sum(of_kind.ended)
            came[STATUS_OF_STATE[RETRYING], label] += of_kind.failed
            for end in ENDED_STATES:
                came[STATUS_OF_STATE[end], label] += of_kind.ended[end]
        return came

    def _of_kind(self, kind: Kind) -> _OfKind:
        found = self._by_kind.get(kind.number)
        if found is None:
            label = self._type_labels.of(kind.task_type)
            runs = self._runs.setdefault(label, Histogram(TASK_BOUNDS_MS))
            found = self._by_kind[kind.number] = _OfKind(label, runs)
        return found

    def _waits_of(self, kind: Kind) -> Histogram:
        found = self._waits_by_kind.get(kind.number)
        if found is None:
            label = self._queue_labels.of(kind.queue)
            found = self._waits_by_kind[kind.number] = self._waits.setdefault(
                label, Histogram(TASK_BOUNDS_MS)
            )
        return found


def _sum(histograms: Iterable[Histogram]) -> list[int]:
    return [sum(counts) for counts in zip(*(one.counts for one in histograms), strict=True)] or [0] * (
        len(TASK_BOUNDS_MS) + 1
    )
