"""`python -m tests.rustq --rounds N [--victims redis,rabbitmq,broker] [--seed S]`: the campaign; exits 1 on a violation."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.ports import ReservedPort
from lab.processes import Process, broker_address, start_broker, stop_on_signals
from lab.servers import RabbitServer, RedisServer
from tests.rustq.faults import History, Victim, run
from tests.rustq.places import Place

VICTIMS = ("redis", "rabbitmq", "broker")


class Broker:
    """A tq broker that comes back on its port and its data."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = ReservedPort()
        self._process: Process = start_broker(directory, port=self._port.number)
        self.address = broker_address(self._process)

    def kill(self) -> None:
        self._process.kill()

    def start(self) -> None:
        self._process = start_broker(self._directory, port=self._port.number)
        broker_address(self._process)

    def pause(self) -> None:
        self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send(signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._port.close()


@contextmanager
def scene(name: str) -> Iterator[tuple[Place, Victim]]:
    """The servers of one campaign, and the one that suffers."""
    queue = f"campaign-{uuid.uuid4().hex[:8]}"
    if name == "broker":
        with tempfile.TemporaryDirectory() as directory:
            broker = Broker(Path(directory))
            try:
                yield Place(queue, f"tq://{broker.address}", ""), broker
            finally:
                broker.close()
        return
    with RedisServer() as redis, RabbitServer() as rabbit:
        yield Place(queue, redis.url, rabbit.url), redis if name == "redis" else rabbit


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.rustq", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="of each server (50)")
    parser.add_argument("--victims", default=",".join(VICTIMS), help=f"of {', '.join(VICTIMS)}")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of every choice"
    )
    arguments = parser.parse_args()
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it tells of every refused connection
    violations = 0
    with stop_on_signals():
        for name in arguments.victims.split(","):
            print(f"{name}: {arguments.rounds} rounds, seed {arguments.seed}", flush=True)
            start = time.perf_counter()
            with scene(name) as (place, victim):
                history = asyncio.run(run(place, victim, rounds=arguments.rounds, seed=arguments.seed))
            print(table(history, time.perf_counter() - start), flush=True)
            violations += len(history.violations)
    return 1 if violations else 0


def table(history: History, seconds: float) -> str:
    counts = history.counts
    twice = sum(1 for times in history.runs.values() if times > 1)
    shown = {
        "SIGKILL and restart": counts["kills"],
        "SIGSTOP and SIGCONT": counts["stops"],
        "workers replaced": counts["workers replaced"],
        "jobs acknowledged": len(history.acknowledged),
        "adds not done, unknown": f"{counts['adds unavailable'] + counts['adds rejected']}, {counts['adds unknown']}",
        "completed in the record": sum(history.completions.values()),
        "retried": counts["retried"],
        "ran more than once": f"{twice} (of these some were told to fail once)",
        "copies answered unrun": counts["duplicates"],
        "set aside": counts["set_aside"],
        "reconnects": counts["reconnects"],
        "took": f"{seconds:.0f} s",
        "verdict": f"{len(history.violations)} violations"
        if history.violations
        else "none lost, none completed twice",
    }
    lines = [f"  {name:<26} {value}" for name, value in shown.items()]
    return "\n".join(lines + [f"violated: {each}" for each in history.violations[:20]])


if __name__ == "__main__":
    sys.exit(main())
