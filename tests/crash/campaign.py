"""The campaign: load on, kill, start, again; then stillness and judgement."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.ports import ReservedPort
from lab.processes import Process, broker_address, start_broker, start_worker
from tests.crash.exact_worker import ExactWorker
from tests.crash.history import History
from tests.crash.judge import judge
from tests.crash.load import SUBMITTERS, WORK, submit_until
from tq.errors import TqError

WORK_SECONDS_MAX = 0.6
"""The longest a ready broker is left alone before the next kill."""
EARLY_KILL_SHARE = 0.15
EARLY_SECONDS_MAX = 0.4
"""So many kills come so soon after the start, mostly before the broker is ready: recovery is killed too."""
WORKER_KILL_SHARE = 0.15
REAL_WORKERS = 2
CAPACITY = 32
BROKER_OPTIONS = ("--queue-depth-threshold", "10000000")


class Campaign:
    """The processes of one campaign. Every random choice comes from rng."""

    def __init__(self, directory: Path, rng: random.Random, history: History) -> None:
        self._directory = directory
        self._rng = rng
        self._history = history
        self._port = ReservedPort()
        self._broker = self._start_broker()
        self.address = broker_address(self._broker)
        self._workers = [self._start_worker(number) for number in range(REAL_WORKERS)]

    async def kill_and_restart(self) -> None:
        """One round: let it work for a random while, kill -9, start again, now and then kill a worker as well."""
        await asyncio.sleep(self._rng.uniform(0, WORK_SECONDS_MAX))
        self._restart()
        while self._rng.random() < EARLY_KILL_SHARE:
            await asyncio.sleep(self._rng.uniform(0, EARLY_SECONDS_MAX))
            self._history.counts["kills during recovery"] += 1
            self._restart()
        if self._rng.random() < WORKER_KILL_SHARE:
            number = self._rng.randrange(REAL_WORKERS)
            self._workers[number].kill()
            self._history.counts["worker kills"] += 1
            self._workers[number] = self._start_worker(number)

    def _restart(self) -> None:
        if not self._broker.is_running:
            self._history.violated(
                f"the broker ended by itself with {self._broker.wait()}\n{self._broker.log_tail()}"
            )
        self._broker.kill()
        self._history.counts["kills"] += 1
        self._broker = self._start_broker()
        self._started = time.perf_counter()

    async def ready(self) -> None:
        """Wait until the broker is, and note how long it took."""
        await asyncio.to_thread(broker_address, self._broker)
        self._history.recoveries.append(time.perf_counter() - self._started)

    def last_words(self) -> str:
        """The end of the broker's log."""
        return self._broker.log_tail()

    def close(self) -> None:
        for process in (*self._workers, self._broker):
            process.kill()
        self._port.close()

    def _start_broker(self) -> Process:
        return start_broker(self._directory, *BROKER_OPTIONS, port=self._port.number)

    def _start_worker(self, number: int) -> Process:
        return start_worker(
            self._directory, self.address, "--queues", WORK, "--concurrency", "16", name=f"worker-{number}"
        )


@contextmanager
def campaign(directory: Path, rng: random.Random, history: History) -> Iterator[Campaign]:
    opened = Campaign(directory, rng, history)
    try:
        yield opened
    finally:
        opened.close()


async def run(directory: Path, *, kills: int, seed: int, acknowledged: int = 0) -> History:
    """Kill the broker at least so many times, then judge. The same seed gives the same choices, not the same timing.

    acknowledged: tasks there have to be, too, before it is judged; a slow machine takes more kills for them.
    """
    history = History()
    rng = random.Random(seed)
    with campaign(directory, rng, history) as running:
        stop = asyncio.Event()
        exact = ExactWorker(
            running.address, history, queue=WORK, task_types=("exact", "flaky", "timed"), capacity=CAPACITY
        )
        working = asyncio.create_task(exact.run_until(stop))
        stop_submitting = asyncio.Event()
        submitting = [
            asyncio.create_task(
                submit_until(
                    stop_submitting, submitter, running.address, history, random.Random(rng.random())
                )
            )
            for submitter in SUBMITTERS
        ]
        while history.counts["kills"] < kills or len(history.acknowledged) < acknowledged:
            await running.kill_and_restart()
            await running.ready()
        stop_submitting.set()
        await asyncio.gather(*submitting)
        try:
            await judge(running.address, history)
        except TqError as error:
            history.violated(f"the judge got no answer: {error}\n{running.last_words()}")
        stop.set()
        await working
    return history
