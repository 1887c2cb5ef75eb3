"""What the engine counts, entry by entry, for metrics: plain integers, shared by all kinds of one label.

Per entry nothing is built and nothing looked up but a kind's number; what can be derived from the machine's own counts
(how many were submitted, how many wait) is derived when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

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


class _OfType:
    """Counts of the task types of one label. ended: by state; failed: attempts a retry followed."""

    __slots__ = ("ended", "failed", "runs")

    def __init__(self) -> None:
        self.ended = [0] * (max(ENDED_STATES) + 1)
        self.failed = 0
        self.runs = Histogram(TASK_BOUNDS_MS)


class Tallies:
    def __init__(self, state: State) -> None:
        self._state = state
        self._begin()

    def _begin(self) -> None:
        self._type_labels, self._queue_labels = Labels(), Labels()
        self._types: dict[str, _OfType] = {}
        self._waits: dict[str, Histogram] = {}
        self._by_kind: dict[int, _OfType] = {}
        self._waits_by_kind: dict[int, Histogram] = {}
        self._live_before: Counter[str] = Counter()

    def go_live(self) -> None:
        """Count from here on: what was restored or replayed happened before this process."""
        self._begin()
        for kind in self._state.kinds.values():
            self._live_before[self._type_labels.of(kind.task_type)] += sum(kind.counts[_LIVE])

    def entry(self, outcome: Outcome) -> list[Head]:
        """Count what one entry did. Returns the ended tasks worth a line in the log: dead letters, and the slow."""
        if outcome.leased:
            self._count_waits(outcome.leased)
        notable = self._count_ends(outcome) if outcome.ended else []
        for head, attempt in outcome.attempts:
            of_type = self._of_type(head.terms.kind)
            of_type.runs.observe(attempt.ended_ms - attempt.started_ms)
            of_type.failed += head.state == RETRYING
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
                last, of_type = kind, self._of_type(kind)
                runs = of_type.runs
            of_type.ended[end] += 1
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
            runs={label: of_type.runs for label, of_type in self._types.items()},
            waits=self._waits,
            commits=commits,
        )

    def _came(self, live: Counter[str]) -> dict[tuple[str, str], int]:
        """Submitted is what lives or has ended since, less what lived at the start."""
        came: dict[tuple[str, str], int] = {}
        for label, count in live.items():
            of_type = self._types.get(label)
            ended = sum(of_type.ended) if of_type is not None else 0
            came[SUBMITTED, label] = count + ended - self._live_before[label]
            if of_type is not None:
                came[STATUS_OF_STATE[RETRYING], label] = of_type.failed
                for end in ENDED_STATES:
                    came[STATUS_OF_STATE[end], label] = of_type.ended[end]
        return came

    def _of_type(self, kind: Kind) -> _OfType:
        found = self._by_kind.get(kind.number)
        if found is None:
            label = self._type_labels.of(kind.task_type)
            found = self._by_kind[kind.number] = self._types.setdefault(label, _OfType())
        return found

    def _waits_of(self, kind: Kind) -> Histogram:
        found = self._waits_by_kind.get(kind.number)
        if found is None:
            label = self._queue_labels.of(kind.queue)
            found = self._waits_by_kind[kind.number] = self._waits.setdefault(
                label, Histogram(TASK_BOUNDS_MS)
            )
        return found
