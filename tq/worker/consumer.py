"""Deliveries in, endings out: keeps every run between the two, its time limit and its stop.

Rules of this file:
- Everything happens on the main loop, and nothing of it waits for user code.
- A run leaves `_runs` exactly once, in `_end`: because its handler ended, or because it was told to stop and did not.
- A slot is free when its run has left; the broker sees that by the settle, so that nothing is ever hoarded.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from tq.clock import Clock
from tq.floods import Flood
from tq.logs import get_logger
from tq.verbs import Abort, Delivery, SettleItem
from tq.worker.context import TaskContext
from tq.worker.definition import Definition
from tq.worker.ending import CANCELLED, CRASH, DONE, ERROR, FATAL, LEASE_LOST, RELEASED, TIMEOUT, Ending
from tq.worker.lanes.lane import ABANDON_AFTER_MS, Lane
from tq.worker.run import Run
from tq.worker.settler import Key, Settler
from tq.worker.upkeep import Upkeep

SWEEP_S = 0.1
"""How often time limits are looked at. One pass over the runs costs less than a timer for each of them."""
LATE_MS = 200
"""A look at the runs that comes so much late finds a process that stood still: no handler had that time to leave in."""
SLOW_MS = 10_000
"""A task that ran longer is worth a warning."""
ABANDONED_MAX = 100
"""So many handlers given up that still hold a thread each: time for a fresh process."""
RELEASE_UNKNOWN_MS = 5_000
"""A task of a type this worker does not serve (the broker should not send one) goes back for so long."""


class Consumer:
    def __init__(
        self,
        registry: Mapping[str, Definition],
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        settler: Settler,
        upkeep: Upkeep,
        on_idle: Callable[[], None],
        on_exhausted: Callable[[], None],
        worker_id: str,
    ) -> None:
        """on_idle: called whenever the last run has left. on_exhausted: ABANDONED_MAX is reached.

        worker_id: stands in every line of the log.
        """
        self._registry = registry
        self._loop = loop
        self._clock = clock
        self._settler = settler
        self._upkeep = upkeep
        self._on_idle = on_idle
        self._on_exhausted = on_exhausted
        self._log = get_logger("worker").bind(worker_id=worker_id)
        self._flood = Flood(self._log, clock.monotonic_ms())
        self._lanes: Mapping[str, Lane] = {}
        self._runs: dict[Key, Run] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._swept_ms = 0
        self.ended: Counter[tuple[str, int]] = Counter()
        """(task type, cause) -> how many attempts ended so."""
        self.run_ms: Counter[str] = Counter()
        """task type -> milliseconds its attempts took together."""

    @property
    def running(self) -> int:
        return len(self._runs)

    @property
    def abandoned(self) -> int:
        """Handlers given up that still hold a thread or a loop."""
        return sum(lane.abandoned for lane in self._lanes.values())

    def keys(self) -> Iterable[Key]:
        """Of every run under way."""
        return self._runs.keys()

    def open(self, lanes: Mapping[str, Lane]) -> None:
        """Begin. lanes: by kind; their Finished is this consumer's `finished`."""
        self._lanes = lanes
        self._swept_ms = self._clock.monotonic_ms()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()

    # ------------------------------------------------------------ from the broker

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Start these. One that is here already, running or waiting to be settled, is passed over."""
        now_ms = self._clock.monotonic_ms()
        unsettled = set(self._settler.keys()) if self._settler.count else ()
        for delivery in deliveries:
            key = (delivery.task_id, delivery.token)
            if key in self._runs or key in unsettled:
                continue
            definition = self._registry.get(delivery.task_type)
            if definition is None:
                self._send_back(delivery)
                continue
            run = Run(delivery, definition, TaskContext(delivery, self._upkeep, self._clock, now_ms), now_ms)
            self._runs[key] = run
            self._lanes[definition.lane].start(run)

    def abort(self, push: Abort) -> None:
        """Somebody cancelled these."""
        for task_id, token, reason in push.items:
            run = self._runs.get((task_id, token))
            if run is not None:
                self._stop(run, CANCELLED, reason or "cancelled")

    def lose(self, keys: Iterable[Key]) -> None:
        """Others hold these now: stop them, and settle nothing."""
        for key in keys:
            run = self._runs.get(key)
            if run is not None:
                if self._flood.lets("warning", "lease_lost", run.delivery.task_type):
                    text = "a running task's lease was lost; stopping it"
                    self._log.warning("lease_lost", text, task_id=run.context.task_id)
                self._stop(run, LEASE_LOST, "its lease was lost")

    def release_all(self, reason: str) -> None:
        """Stop everything and hand it back, uncharged."""
        for run in list(self._runs.values()):
            self._stop(run, RELEASED, reason)

    # ------------------------------------------------------------ from the lanes

    def finished(self, run: Run, ending: Ending) -> None:
        """A handler has ended by itself, perhaps after it was given up."""
        if not run.ended:
            self._end(run, run.final(ending))

    # ------------------------------------------------------------ inside

    def _end(self, run: Run, ending: Ending) -> None:
        run.ended = True
        del self._runs[run.key]
        self._upkeep.forget(run.key)
        took_ms = self._clock.monotonic_ms() - run.started_ms
        name = run.definition.name
        self.ended[name, ending.cause] += 1
        self.run_ms[name] += took_ms
        if ending.cause != DONE or took_ms > SLOW_MS:
            self._report(run, ending, took_ms)
        if ending.cause != LEASE_LOST:
            task_id, token = run.key
            self._settler.add(SettleItem(task_id, token, *ending))
        if not self._runs:
            self._on_idle()

    def _stop(self, run: Run, cause: int, reason: str) -> None:
        was_stopped = run.stop_cause >= 0
        run.mark_stopped(cause, reason, self._clock.monotonic_ms())
        if not was_stopped:
            self._lanes[run.definition.lane].stop(run)

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        now_ms = self._clock.monotonic_ms()
        late_ms = now_ms - self._swept_ms - int(SWEEP_S * 1000)
        self._swept_ms = now_ms
        self._flood.turn(now_ms)
        for run in list(self._runs.values()):
            if run.stop_cause >= 0:
                if late_ms > LATE_MS:
                    run.stop_ms += late_ms
                if now_ms - run.stop_ms >= ABANDON_AFTER_MS:
                    self._abandon(run)
            elif run.context.deadline_ms <= now_ms:
                self._stop(run, TIMEOUT, f"{run.definition.name} ran longer than its {run.context.limit}")

    def _abandon(self, run: Run) -> None:
        if run.ended:
            return  # handed back a moment ago, together with the run that blocked its loop
        self._log.error(
            "handler_abandoned",
            f"{run.definition.name} was told to stop and did not; its slot is free, its {run.definition.lane} is not",
            task_id=run.context.task_id,
        )
        self._lanes[run.definition.lane].abandon(run)
        if not run.ended:
            self._end(run, run.final(Ending(run.stop_cause, error=run.stop_reason, delay_ms=0)))
        if self.abandoned >= ABANDONED_MAX:
            self._on_exhausted()

    def _send_back(self, delivery: Delivery) -> None:
        if self._flood.lets("error", "unknown_type", delivery.task_type):
            text = f"the broker sent a task of type {delivery.task_type!r}, which is not served here"
            self._log.error("unknown_type", text)
        error = f"the worker does not know the type {delivery.task_type!r}"
        self._settler.add(
            SettleItem(delivery.task_id, delivery.token, RELEASED, error=error, delay_ms=RELEASE_UNKNOWN_MS)
        )

    def _report(self, run: Run, ending: Ending, took_ms: int) -> None:
        """A line for what went wrong: an error when it was the last attempt, a warning when a retry follows.

        What a handler's exception says is not told, only its type: it may quote the payload. It is in the task.
        """
        delivery, name = run.delivery, run.definition.name
        fields: dict[str, object] = {
            "task_id": run.context.task_id,
            "task_type": delivery.task_type,
            "attempt": delivery.attempt,
            "duration_ms": took_ms,
        }
        word = _WORD.get(ending.cause)
        if word is None:
            if took_ms > SLOW_MS and self._flood.lets("warning", "task_slow", name):
                self._log.warning("task_slow", f"{name} took {took_ms / 1000:.1f} s", **fields)
            return
        is_last = ending.cause == FATAL or delivery.attempt > delivery.max_retries
        if self._flood.lets("error" if is_last else "warning", "task_failed", name):
            found = _ERROR_TYPE.match(ending.error) if ending.cause in (ERROR, FATAL) else None
            what = f": {found[0]}" if found else ""
            (self._log.error if is_last else self._log.warning)(
                "task_failed", f"{name} {word}{what}", **fields
            )


_WORD = {ERROR: "raised", TIMEOUT: "timed out", CRASH: "crashed", FATAL: "failed for good"}
_ERROR_TYPE = re.compile(r"[A-Za-z_][\w.]*(?=:|\n|$)")
"""The type of the exception, at the beginning of an error's text."""
