"""Questions about the cluster, and changes of it: each node is asked what it says of itself.

The loop's tasks are rare here: operators and dashboards ask.
"""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import Callable, Coroutine
from functools import partial

from tq.broker.backend import Answer
from tq.broker.clustering.links import Links
from tq.broker.clustering.seat import Seat
from tq.errors import BrokerUnavailable, TqError
from tq.verbs import (
    AddNode,
    Cluster,
    GetCluster,
    Member,
    RemoveNode,
    Reply,
    TransferLeadership,
)

ASKING_SECONDS = 1.0
"""How long the others have to answer for themselves."""
HEARING_SECONDS = 0.05
HEARINGS_MAX = 20
UNREACHABLE = "unreachable"
TASKS_MAX = 100
"""Questions and changes under way."""


class Desk:
    def __init__(self, seat: Seat, links: Links) -> None:
        self._seat = seat
        self._links = links
        self._tasks: set[Task[None]] = set()

    def show(self, request: GetCluster, answer: Answer) -> None:
        if request.own:
            answer(self._seat.view())
        else:
            self._begin(self._gather, answer)

    def change(self, request: AddNode | RemoveNode | TransferLeadership, answer: Answer) -> None:
        if not self._seat.leads:
            answer(self._seat.not_leader())
        elif isinstance(request, AddNode):
            self._begin(partial(self._add, request), answer)
        elif isinstance(request, RemoveNode):
            self._begin(partial(self._remove, request), answer)
        else:
            self._begin(partial(self._transfer, request), answer)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _add(self, request: AddNode) -> Cluster:
        await self._seat.add_node(request.node_id, request.address, votes=request.votes)
        return await self._gather()

    async def _remove(self, request: RemoveNode) -> Cluster:
        await self._seat.remove_node(request.node_id)
        return await self._gather()

    async def _transfer(self, request: TransferLeadership) -> Cluster:
        await self._seat.transfer(request.node_id)
        # This node leads no more, and has not heard from the one that does; the others may have.
        for _ in range(HEARINGS_MAX):
            cluster = await self._gather()
            if cluster.leader:
                break
            await asyncio.sleep(HEARING_SECONDS)
        return cluster

    def _begin(self, work: Callable[[], Coroutine[None, None, Cluster]], answer: Answer) -> None:
        if len(self._tasks) >= TASKS_MAX:
            answer(BrokerUnavailable("too many ask about the cluster at once", retry_after_ms=100))
            return
        task = asyncio.get_running_loop().create_task(_answered(work(), answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _gather(self) -> Cluster:
        """Everybody's word for themselves, beside what is known here."""
        peers = self._seat.peers
        asked = [self._links.ask(peer, GetCluster(own=True), ASKING_SECONDS) for peer in peers]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        told = dict(zip(peers, map(_cluster_in, answers), strict=True))
        here = self._seat.view()
        leader = here.leader
        if not leader:
            leader = next((cluster.leader for cluster in told.values() if cluster and cluster.leader), "")
        # Who is what in the cluster is its leader's word: a node that learns the log anew reads of the past.
        seen = next((cluster for cluster in told.values() if cluster and _leads(cluster)), here)
        told |= {member.node_id: here for member in here.members if member.is_self}
        members = [
            _merged(member, told[member.node_id]) if member.node_id in told else member
            for member in seen.members
        ]
        own = {member.node_id for member in here.members if member.is_self}
        members = [member._replace(is_self=member.node_id in own) for member in members]
        last = max((member.last_index for member in members), default=0)
        # Only the leader measures how far the others are; a node that does not answer lags by what it knew of it.
        lags = {member.node_id: member.lag for member in (seen if _leads(seen) else here).members}
        return Cluster(tuple(_with_lag(member, lags, last) for member in members), leader)


def _cluster_in(answer: Reply | BaseException) -> Cluster | None:
    return answer if isinstance(answer, Cluster) else None


def _leads(cluster: Cluster) -> bool:
    return any(member.is_self and member.role == "leader" for member in cluster.members)


def _merged(known: Member, told: Cluster | None) -> Member:
    if told is None:
        return known._replace(role=UNREACHABLE)
    own = next((member for member in told.members if member.is_self), None)
    if own is None:
        # It was not told yet that it is a member, or not that it is none any more.
        return known
    # What it is in the cluster is the cluster's word: one that begins anew does not know it yet.
    role = known.role if known.role == "observer" else own.role
    return own._replace(is_self=False, role=role, address=known.address, is_joining=known.is_joining)


def _with_lag(member: Member, lags: dict[str, int], last: int) -> Member:
    if member.role == UNREACHABLE:
        return member._replace(lag=max(lags.get(member.node_id, 0), last - member.last_index))
    return member._replace(lag=max(0, last - member.last_index))


async def _answered(work: Coroutine[None, None, Cluster], answer: Answer) -> None:
    try:
        answer(await work)
    except TqError as error:
        answer(error)
    except asyncio.CancelledError:
        answer(BrokerUnavailable("the broker is stopping; ask another node"))
        raise
