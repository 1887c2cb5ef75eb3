"""One worker, from start to drain: the composition root of `tq.worker`.

    connect -> register -> deliveries -> lanes -> endings -> settles -> ... -> drain -> deregister

The main loop belongs to the worker alone; handlers run elsewhere (`lanes`), so that nothing they do delays a heartbeat,
a time limit or a stop.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tq import ids
from tq.clock import Clock, SystemClock
from tq.errors import BadRequest, Outcome, TqError
from tq.logs import get_logger
from tq.task import DEFAULT_QUEUE
from tq.verbs import Abort, Delivery, Drain, Reply
from tq.version import VERSION
from tq.worker.app import App
from tq.worker.consumer import ABANDONED_MAX, Consumer
from tq.worker.counts import Counts
from tq.worker.definition import Definition, Kind
from tq.worker.lanes.lane import Lane
from tq.worker.lanes.loops import LoopLane
from tq.worker.lanes.processes import ProcessLane
from tq.worker.lanes.threads import ThreadLane
from tq.worker.settler import Key, Settler, Wire
from tq.worker.upkeep import Upkeep
from tq.worker.uplink import Dialing, Identity, Uplink

if TYPE_CHECKING:
    from tq.exposition import MetricsDoor

log = get_logger("worker")

EXIT_OK = 0
EXIT_FAILED = 70
EXIT_AGAIN = 75
EXIT_REFUSED = 77

SETTLE_WAIT_S = 10.0
"""How long a worker that goes waits for the broker's answer to its last endings; a broker's restart fits."""
STOP_WAIT_S = 2.0
"""How long handlers told to stop may take to be gone or given up; both happen within 0.7 s."""
BURST_LOOK_S = 0.1
"""How often a worker that is to end with its queues looks whether it is idle; only then it asks the broker."""
METRICS_HOST = "0.0.0.0"
"""Whoever scrapes is another machine as a rule."""


@dataclass(frozen=True)
class WorkerOptions:
    """How one worker works; see `tq-worker --help`. queues: empty = those the app's tasks name, and `default`.

    app_path: MODULE:APP, needed by tasks of kind `process`: their children import it again.
    worker_id: empty = host and process id. metrics_port: None = no metrics, 0 = the system's choice.
    """

    concurrency: int = 4
    kind: Kind = "auto"
    queues: tuple[str, ...] = ()
    worker_id: str = ""
    heartbeat_ms: int = 15_000
    grace_s: float = 60.0
    burst: bool = False
    app_path: str = ""
    metrics_port: int | None = None


class Worker:
    """Serves one App. `run` does everything; `drain` and `hand_back` end it, from signals or from code."""

    def __init__(
        self,
        app: App,
        options: WorkerOptions,
        dialing: Dialing,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Must be made on the loop that runs it. dialing: where the broker is.

        Raises BadRequest for an app without tasks, or with process tasks and no app_path.
        """
        loop = asyncio.get_running_loop()
        self._options = options
        self._app = app
        self._loop = loop
        self._clock = clock or SystemClock()
        rng = rng or random.Random()
        self._registry = app.registry(options.kind)
        self._identity = _identity(self._registry, options)
        self._settler = Settler(loop, rng, self._on_settled)
        self._upkeep = Upkeep(loop, self._clock, self._on_lost)
        self._consumer = Consumer(
            self._registry,
            loop=loop,
            clock=self._clock,
            settler=self._settler,
            upkeep=self._upkeep,
            on_idle=self._on_idle,
            on_exhausted=self._on_exhausted,
            worker_id=self._identity.worker_id,
        )
        self._lanes = self._make_lanes()
        self._uplink = Uplink(self._identity, dialing, options.concurrency, self, rng)
        self._drain_asked = asyncio.Event()
        self._hand_back_asked = asyncio.Event()
        self._idle = asyncio.Event()
        self._settled = asyncio.Event()
        self._metrics: MetricsDoor | None = None
        self._exit_code = EXIT_OK
        self._delivered = 0

    # ------------------------------------------------------------ from outside

    async def run(self) -> int:
        """Work until told to stop; returns the exit code.

        EXIT_OK drained, or the queues are empty (burst). EXIT_FAILED a start-up hook or the app failed.
        EXIT_AGAIN start it again: too many handlers had to be abandoned, or the last endings could not be delivered.
        EXIT_REFUSED the broker does not take this worker.
        """
        asked = self._loop.create_task(self._drain_asked.wait())
        working = self._loop.create_task(self._work())
        # A stop may come while a start-up hook hangs, or before any broker was reached: it counts then too.
        await asyncio.wait([working, asked], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            self._exit_code = _exit_code_of(working.exception())
        else:
            await self._drain()
        await self._uplink.say_goodbye()
        for task in (working, asked):
            task.cancel()
        await asyncio.wait([working, asked])
        await self._close()
        log.info(
            "stopped", "the worker has stopped", worker_id=self._identity.worker_id, exit_code=self._exit_code
        )
        return self._exit_code

    def drain(self) -> None:
        """Take no new work, finish what runs within the grace, hand back the rest, end."""
        self._drain_asked.set()

    def hand_back(self) -> None:
        """Drain without the grace: stop what runs and hand it back now."""
        self._drain_asked.set()
        self._hand_back_asked.set()

    @property
    def counts(self) -> Counts:
        return Counts(
            slots=self._options.concurrency,
            running=self._consumer.running,
            abandoned=self._consumer.abandoned,
            settled=self._settler.settled,
            lost=self._settler.lost,
            unsettled=self._settler.count,
            reconnects=self._uplink.reconnects,
            connected=int(self._uplink.is_registered),
        )

    # ------------------------------------------------------------ the uplink's side (Session)

    def holds(self) -> list[Key]:
        return [*self._consumer.keys(), *self._settler.keys()]

    def on_registered(self, wire: Wire, lost: list[Key]) -> None:
        self._consumer.lose(lost)
        self._settler.forget(set(lost))
        self._settler.connect(wire)
        self._upkeep.connect(wire)

    def on_link_lost(self) -> None:
        self._settler.disconnect()
        self._upkeep.disconnect()

    def on_deliver(self, deliveries: tuple[Delivery, ...]) -> None:
        self._delivered += len(deliveries)
        self._idle.clear()
        self._settled.clear()
        self._consumer.deliver(deliveries)

    def on_abort(self, push: Abort) -> None:
        self._consumer.abort(push)

    def on_drain(self, push: Drain) -> None:
        log.info("drain_asked", push.reason or "the broker asks this worker to drain")
        self.drain()

    def beat(self, wire: Wire, deadline: float) -> asyncio.Future[Reply]:
        return self._upkeep.beat(wire, self._consumer.running, deadline)

    # ------------------------------------------------------------ inside

    async def _work(self) -> None:
        """Open everything and be connected, until cancelled. Raises what the app's hooks or the broker say."""
        await self._open_metrics()
        for lane in self._lanes.values():
            await lane.open()
        self._consumer.open(self._lanes)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._uplink.run())
            if self._options.burst:
                group.create_task(self._watch_for_empty_queues())

    def _make_lanes(self) -> Mapping[str, Lane]:
        """The loop always, for the start-up hooks run on it; the others when a task needs them."""
        kinds = {definition.lane for definition in self._registry.values()}
        finished = self._consumer.finished
        lanes: dict[str, Lane] = {"async": LoopLane(self._app, self._loop, finished)}
        if "thread" in kinds:
            lanes["thread"] = ThreadLane(self._app, self._loop, finished)
        if "process" in kinds:
            if not self._options.app_path:
                raise BadRequest(
                    "tasks of kind 'process' need the app's path, MODULE:APP: their children import it"
                )
            options = self._options
            lanes["process"] = ProcessLane(
                options.app_path, options.kind, options.concurrency, self._loop, finished
            )
        return lanes

    async def _drain(self) -> None:
        log.info("draining", "no new work", running=self._consumer.running, grace_s=self._options.grace_s)
        self._uplink.set_capacity(0)
        if not self._hand_back_asked.is_set():
            await self._wait_idle(self._options.grace_s, or_event=self._hand_back_asked)
        if self._consumer.running:
            log.warning("handing_back", "what still runs goes back uncharged", running=self._consumer.running)
            self._consumer.release_all("the worker is stopping")
            await self._wait_idle(STOP_WAIT_S)
        while self._settler.count:
            self._settled.clear()
            try:
                await asyncio.wait_for(self._settled.wait(), SETTLE_WAIT_S)
            except TimeoutError:
                log.error(
                    "unsettled", "the broker did not take the last endings", endings=self._settler.count
                )
                self._exit_code = EXIT_AGAIN
                return

    async def _wait_idle(self, seconds: float, or_event: asyncio.Event | None = None) -> None:
        waits = [self._loop.create_task(self._until_idle())]
        if or_event is not None:
            waits.append(self._loop.create_task(or_event.wait()))
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _until_idle(self) -> bool:
        while self._consumer.running:
            self._idle.clear()
            await self._idle.wait()
        return True

    async def _watch_for_empty_queues(self) -> None:
        """Drain once nothing runs and the broker, asked, has nothing more."""
        is_empty = False
        while not is_empty:
            await asyncio.sleep(BURST_LOOK_S)
            if self._uplink.is_registered and not self._consumer.running and not self._settler.count:
                delivered = self._delivered
                is_empty = await self._uplink.caught_up() and delivered == self._delivered
        log.info("burst_done", "the queues are empty", delivered=self._delivered)
        self.drain()

    def _on_idle(self) -> None:
        self._idle.set()

    def _on_settled(self) -> None:
        self._settled.set()

    def _on_lost(self, keys: list[Key]) -> None:
        self._consumer.lose(keys)

    def _on_exhausted(self) -> None:
        if not self._drain_asked.is_set():
            log.critical(
                "exhausted", f"{ABANDONED_MAX} handlers had to be abandoned; this process needs a fresh start"
            )
            self._exit_code = EXIT_AGAIN
            self.drain()

    async def _open_metrics(self) -> None:
        if self._options.metrics_port is None:
            return
        # The library costs 100 ms of start: only for those who want metrics.
        from tq.exposition import MetricsDoor
        from tq.worker.metrics import WorkerMetrics

        self._metrics = MetricsDoor(WorkerMetrics(lambda: self.counts, self._consumer).registry)
        _, port = await self._metrics.open(METRICS_HOST, self._options.metrics_port)
        log.info("metrics", f"metrics at http://{METRICS_HOST}:{port}/metrics", port=port)

    async def _close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
        self._consumer.close()
        for lane in self._lanes.values():
            await lane.close()


def _exit_code_of(failure: BaseException | None) -> int:
    """Why the worker stopped working, logged, as an exit code."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, TqError) and failure.outcome is Outcome.REJECTED:
        log.error("refused", f"the broker does not take this worker: {failure.text}", code=failure.code)
        return EXIT_REFUSED
    log.error("cannot_work", f"the worker cannot work: {failure!r}", exc_info=failure)
    return EXIT_FAILED


def _identity(registry: Mapping[str, Definition], options: WorkerOptions) -> Identity:
    if not registry:
        raise BadRequest("the app has no tasks; is the module that defines them imported?")
    named = {definition.options.queue for definition in registry.values()} | {DEFAULT_QUEUE}
    host, pid = socket.gethostname(), os.getpid()
    return Identity(
        session_id=ids.new_id(),
        worker_id=options.worker_id or f"{host}-{pid}",
        queues=options.queues or tuple(sorted(named)),
        task_types=tuple(sorted(registry)),
        heartbeat_ms=options.heartbeat_ms,
        host=host,
        pid=pid,
        version=VERSION,
    )
