"""Clients: they submit tasks to whoever they believe leads, and remember what they were told.

An answer counts only while its client still waits. After `unknown` a client may send the same task again, with the
same id; after a definite failure it never does, so that a task that was refused and exists all the same is seen.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.sim.history import FAILED, OK, UNKNOWN, History, Submitted
from tests.sim.node import SimNode
from tests.sim.world import World
from tq.errors import Outcome, TqError
from tq.task import TaskSpec
from tq.verbs import Reply

ANSWER_SECONDS = 3.0
TRIES_MAX = 3
HOP_SECONDS = (0.0005, 0.01)
LEADER_SHARE = 0.85
"""How often a client knows who leads; otherwise it asks anybody."""
TASK_TYPE = "work"
BATCH_MAX = 3
PAYLOAD_BYTES = (0, 120)


class Clients:
    """Submits arrive on their own, so many a second, whatever becomes of those before."""

    def __init__(self, world: World, nodes: Sequence[SimNode], history: History, rate: float) -> None:
        self._world = world
        self._nodes = nodes
        self._history = history
        self._rate = rate
        self._rng = world.stream("clients")
        self._made = 0
        self.is_stopped = False

    def start(self) -> None:
        self._world.after(self._rng.expovariate(self._rate), self._next)

    def submit(self, count: int) -> list[bytes]:
        """Submit so many new tasks at once; their ids."""
        specs = tuple(self._spec() for _ in range(count))
        for spec in specs:
            self._history.submits[spec.task_id] = Submitted(self._world.now)
        self._send(specs)
        return [spec.task_id for spec in specs]

    def _next(self) -> None:
        if self.is_stopped:
            return
        self._world.after(self._rng.expovariate(self._rate), self._next)
        self.submit(self._rng.randint(1, BATCH_MAX))

    def _spec(self) -> TaskSpec:
        self._made += 1
        task_id = self._made.to_bytes(16, "big")
        payload = b"x" * self._rng.randint(*PAYLOAD_BYTES)
        delay_ms = self._rng.choice((0, 0, 0, 0, 0, 500))
        return TaskSpec(task_id, TASK_TYPE, payload, priority=self._rng.choice((10, 150)), delay_ms=delay_ms)

    def _send(self, specs: tuple[TaskSpec, ...]) -> None:
        node = self._choose()
        for spec in specs:
            self._history.submits[spec.task_id].tries += 1
        attempt = _Attempt(self, specs, self._world.now)
        self._world.after(self._rng.uniform(*HOP_SECONDS), lambda: self._arrive(node, attempt))
        self._world.after(ANSWER_SECONDS, attempt.give_up)

    def _choose(self) -> SimNode:
        leading = [node for node in self._nodes if node.is_leading]
        if leading and self._rng.random() < LEADER_SHARE:
            return self._rng.choice(leading)
        return self._rng.choice(self._nodes)

    def _arrive(self, node: SimNode, attempt: _Attempt) -> None:
        process = node.process
        if process is None or process.broker is None:
            attempt.end(FAILED)
            return
        broker = process.broker

        def answer(reply: Reply | TqError) -> None:
            if isinstance(reply, TqError):
                outcome = UNKNOWN if reply.outcome is Outcome.UNKNOWN else FAILED
            else:
                outcome = OK
            self._world.after(self._rng.uniform(*HOP_SECONDS), lambda: attempt.end(outcome))

        process.loop.call_soon(broker.submit, attempt.specs, answer)

    def ended(self, attempt: _Attempt, outcome: str) -> None:
        """One attempt ended. A failure after an unknown one does not undo it."""
        self._history.counts[f"submit {outcome}"] += 1
        again = False
        for spec in attempt.specs:
            one = self._history.submits[spec.task_id]
            if outcome == OK:
                if one.outcome != OK:
                    self._history.acknowledged.append(spec.task_id)
                one.outcome = OK
                self._history.waits.append(self._world.now - attempt.sent)
            elif one.tries == 1 and outcome == FAILED:
                one.outcome = FAILED
            else:
                again = one.tries < TRIES_MAX and self._rng.random() < 0.7
        if again and not self.is_stopped:
            self._world.after(self._rng.uniform(0.05, 0.5), lambda: self._send(attempt.specs))


class _Attempt:
    """One sending of one submit."""

    def __init__(self, clients: Clients, specs: tuple[TaskSpec, ...], sent: float) -> None:
        self._clients = clients
        self.specs = specs
        self.sent = sent
        self._has_ended = False

    def end(self, outcome: str) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._clients.ended(self, outcome)

    def give_up(self) -> None:
        self.end(UNKNOWN)
