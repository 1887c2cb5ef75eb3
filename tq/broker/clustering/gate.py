"""A node's own backend in a cluster: what it may answer by itself, and whose word a read takes.

Everything but a look at this very node is the leader's: another node says who that is. A read that asks for `local`
is answered from what this node has applied, late or not; `leader`, by the node that believes to lead; `linearizable`,
by the leader once a majority has confirmed it after the read was asked, without an entry in the log (ReadIndex).
"""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import Sequence

from tq.broker.backend import Answer, Backend, Capabilities, Peer
from tq.broker.clustering.desk import Desk
from tq.broker.clustering.seat import Seat
from tq.errors import BrokerUnavailable, TqError
from tq.task import TaskSpec
from tq.verbs import (
    LEADER,
    LINEARIZABLE,
    LOCAL,
    AddNode,
    Backup,
    GetCluster,
    GetHealth,
    GetStats,
    GetTask,
    ListTasks,
    Ping,
    RemoveNode,
    Request,
    TransferLeadership,
)

HERE: frozenset[type[Request]] = frozenset({GetCluster, GetHealth, Backup, Ping})
"""Answered by the node that is asked, whoever leads."""
_LEVELLED: frozenset[type[Request]] = frozenset({GetTask, ListTasks, GetStats})
"""Reads that name their consistency."""
_LOOKED_AT = HERE | _LEVELLED | {AddNode, RemoveNode, TransferLeadership}
CONFIRMING_MAX = 1_000
"""Linearizable reads that wait for their confirmation."""


def level_of(request: Request) -> int:
    """LOCAL, LEADER or LINEARIZABLE; writes and what has no choice are the leader's."""
    return request.consistency if isinstance(request, GetTask | ListTasks | GetStats) else LEADER


class LeaderGate:
    """Serves `Backend` in front of the native one."""

    def __init__(self, native: Backend, seat: Seat, desk: Desk) -> None:
        self._native = native
        self._seat = seat
        self._desk = desk
        # The loop keeps no reference to a task, and these must not be collected under way.
        self._confirming: set[Task[None]] = set()

    @property
    def capabilities(self) -> Capabilities:
        return self._native.capabilities

    @property
    def depth(self) -> int:
        return self._native.depth

    def new_among(self, tasks: Sequence[TaskSpec]) -> int:
        return self._native.new_among(tasks)

    async def start(self) -> None:
        await self._native.start()

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        if type(request) in _LOOKED_AT:
            self._look_at(peer, request, answer)
        elif self._seat.leads:
            self._native.handle(peer, request, answer)
        else:
            answer(self._seat.not_leader())

    def disconnected(self, peer: Peer) -> None:
        self._native.disconnected(peer)

    async def stop(self) -> None:
        await self._native.stop()
        self._desk.stop()
        for task in self._confirming:
            task.cancel()
        await asyncio.gather(*self._confirming, return_exceptions=True)

    def _look_at(self, peer: Peer, request: Request, answer: Answer) -> None:
        """What is rarer than tasks and their ends, and not simply the leader's."""
        level = level_of(request)
        if isinstance(request, GetCluster):
            self._desk.show(request, answer)
        elif isinstance(request, AddNode | RemoveNode | TransferLeadership):
            self._desk.change(request, answer)
        elif type(request) in HERE or level == LOCAL:
            self._native.handle(peer, request, answer)
        elif not self._seat.leads:
            answer(self._seat.not_leader())
        elif level == LINEARIZABLE:
            self._confirm(peer, request, answer)
        else:
            self._native.handle(peer, request, answer)

    def _confirm(self, peer: Peer, request: Request, answer: Answer) -> None:
        if len(self._confirming) >= CONFIRMING_MAX:
            answer(BrokerUnavailable("too many linearizable reads wait to be confirmed", retry_after_ms=100))
            return
        task = asyncio.get_running_loop().create_task(self._read(peer, request, answer))
        self._confirming.add(task)
        task.add_done_callback(self._confirming.discard)

    async def _read(self, peer: Peer, request: Request, answer: Answer) -> None:
        try:
            await self._seat.read_index()
        except TqError as error:
            answer(error)
        except asyncio.CancelledError:
            answer(BrokerUnavailable("the broker is stopping; ask another node"))
            raise
        else:
            self._native.handle(peer, request, answer)
