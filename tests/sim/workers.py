"""Workers: they register with whoever leads, run what is delivered, settle it, and keep what they hold across leaders.

A worker that dies is never heard of again; another takes its place. A worker that lost its broker goes on with what
it runs and settles it at the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.sim.clients import HOP_SECONDS, TASK_TYPE
from tests.sim.history import History
from tests.sim.node import Process, SimNode
from tests.sim.world import World
from tq.errors import TqError
from tq.task import Cause
from tq.verbs import (
    SETTLED_OK,
    Abort,
    Deliver,
    Push,
    Register,
    Registered,
    Reply,
    Settle,
    Settled,
    SettleItem,
)

BEAT_SECONDS = 1.0
LOOK_SECONDS = 0.3
ANSWER_SECONDS = 2.0
RUN_SECONDS = (0.002, 0.2)
CAPACITY = 16
CAUSES = (Cause.DONE,) * 9 + (Cause.ERROR,)

Lease = tuple[bytes, int]


class Connection:
    """A worker's to one process: the `Peer` of its broker. What comes over it arrives after a hop, if it is up by
    then."""

    def __init__(self, process: Process, hop: Callable[[Callable[[], None]], None], worker: Worker) -> None:
        self.process = process
        self._hop = hop
        self._worker = worker

    def push(self, push: Push) -> None:
        self._hop(lambda: self._worker.arrived(self, push))

    def dismiss(self, error: TqError) -> None:
        self._hop(lambda: self._worker.dismissed(self))


class Worker:
    """It knows who leads when it looks for a broker, and then only what that one tells it."""

    def __init__(self, name: str, world: World, nodes: Sequence[SimNode], history: History) -> None:
        self._world = world
        self._nodes = nodes
        self._history = history
        self._rng = world.stream(f"worker/{name}")
        self._name = name
        self._session_id = self._rng.randbytes(16)
        self._connection: Connection | None = None
        self._is_registered = False
        self._asked = 0.0
        self._running: set[Lease] = set()
        self._finished: dict[Lease, Cause] = {}
        self._sent: set[Lease] = set()
        self.is_dead = False

    def start(self) -> None:
        self._world.after(self._rng.random() * LOOK_SECONDS, self._look)

    def die(self) -> None:
        self.is_dead = True
        self._leave()

    def dismissed(self, connection: Connection) -> None:
        """The broker let it go."""
        if connection is self._connection:
            self._leave()

    def _hop(self, arrive: Callable[[], None]) -> None:
        self._world.after(self._rng.uniform(*HOP_SECONDS), arrive)

    # ------------------------------------------------------------ where the broker is

    def _look(self) -> None:
        if self.is_dead:
            return
        self._world.after(LOOK_SECONDS, self._look)
        if self._connection is not None and self._connection.process.loop.is_dead:
            self._leave()
        if self._connection is None:
            self._register()
        elif self._world.now - self._asked > ANSWER_SECONDS:
            self._leave()
        elif self._is_registered:
            self._beat(self._connection)
            self._settle()

    def _register(self) -> None:
        leading = [node.process for node in self._nodes if node.is_leading and node.process is not None]
        if not leading:
            return
        process = self._rng.choice(leading)
        connection = self._connection = Connection(process, self._hop, self)
        self._asked = self._world.now
        holds = tuple(sorted(self._running | set(self._finished)))
        request = Register(
            self._session_id,
            self._name,
            ("default",),
            (TASK_TYPE,),
            CAPACITY,
            holds,
            int(BEAT_SECONDS * 1000),
        )

        def answer(reply: Reply | TqError) -> None:
            self._hop(lambda: self._registered(connection, reply))

        assert process.broker is not None
        process.loop.call_soon(process.broker.register, connection, request, answer)

    def _registered(self, connection: Connection, reply: Reply | TqError) -> None:
        if connection is not self._connection or self.is_dead:
            return
        if not isinstance(reply, Registered):
            self._leave()
            return
        self._is_registered = True
        self._asked = self._world.now
        for lease in reply.lost:
            self._history.counts["leases lost"] += 1
            self._running.discard(lease)
            self._finished.pop(lease, None)
        self._settle()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        self._is_registered = False
        self._sent.clear()
        if connection is not None and connection.process.broker is not None:
            connection.process.loop.call_soon(connection.process.broker.gone, connection)

    def _beat(self, connection: Connection) -> None:
        process = connection.process
        assert process.broker is not None

        def answer(reply: Reply | TqError) -> None:
            if connection is self._connection:
                if isinstance(reply, TqError):
                    self._leave()
                else:
                    self._asked = self._world.now

        process.loop.call_soon(process.broker.heartbeat, connection, answer)

    # ------------------------------------------------------------ tasks

    def arrived(self, connection: Connection, push: Push) -> None:
        """The broker said something by itself."""
        if connection is not self._connection or self.is_dead:
            return
        if isinstance(push, Deliver):
            for task in push.tasks:
                lease = (task.task_id, task.token)
                if lease in self._running or lease in self._finished:
                    continue
                self._running.add(lease)
                self._history.counts["deliveries"] += 1
                self._world.after(self._rng.uniform(*RUN_SECONDS), partial(self._finish, lease))
        elif isinstance(push, Abort):
            for task_id, token, _ in push.items:
                self._running.discard((task_id, token))

    def _finish(self, lease: Lease) -> None:
        if self.is_dead or lease not in self._running:
            return
        self._running.discard(lease)
        self._finished[lease] = self._rng.choice(CAUSES)
        self._settle()

    def _settle(self) -> None:
        """Settle what is finished; what one broker did not answer goes to the next as it was."""
        connection = self._connection
        sent = tuple(one for one in self._finished.items() if one[0] not in self._sent)
        if connection is None or not self._is_registered or not sent:
            return
        self._sent.update(lease for lease, _ in sent)
        items = tuple(SettleItem(lease[0], lease[1], int(cause), delay_ms=200) for lease, cause in sent)

        def answer(reply: Reply | TqError) -> None:
            self._hop(lambda: self._settled(connection, sent, reply))

        process = connection.process
        assert process.broker is not None
        process.loop.call_soon(process.broker.settle, connection, Settle(items), answer)

    def _settled(
        self, connection: Connection, sent: tuple[tuple[Lease, Cause], ...], reply: Reply | TqError
    ) -> None:
        if not isinstance(reply, Settled):
            if connection is self._connection:
                self._leave()
            return
        self._asked = max(self._asked, self._world.now)
        for (lease, cause), code in zip(sent, reply.codes, strict=True):
            if self._finished.pop(lease, None) is None:
                continue
            self._sent.discard(lease)
            self._history.counts["settled" if code == SETTLED_OK else "fenced"] += 1
            if code == SETTLED_OK and cause is Cause.DONE:
                self._history.done.setdefault(lease[0], []).append(lease[1])
