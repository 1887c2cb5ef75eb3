"""Pages of tasks, newest or oldest first, read from the index: the cost is that of the page, not of what is stored.

The index has one row per task under (state class, kind, seq). A page is a merge, by seq, of the buckets that can match,
and the machine's counts say which have any. A cursor is the seq of the last task shown, so a page starts where the
last one ended whatever has moved in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import NamedTuple

from tq.broker.machine.kinds import Kind
from tq.broker.machine.state import CLASS_OF_STATE, State
from tq.broker.storage import keys
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.task import IN_PROGRESS, PENDING
from tq.verbs import ListTasks

SEQ_MAX = 2**63
OFFSET_MAX = 100_000
STATES = tuple(CLASS_OF_STATE)


class Plan(NamedTuple):
    """buckets: (state class, kind number) that hold any match. total: how many match.

    found: for running tasks, which memory knows: (seq, task id), in order; buckets is empty then.
    """

    buckets: tuple[tuple[int, int], ...]
    total: int
    found: tuple[tuple[int, bytes], ...] | None = None


def plan_list(state: State, request: ListTasks, states: tuple[int, ...] = STATES) -> Plan:
    """Which parts of the index a page needs. On the loop.

    states: what a request for every state is about.
    """
    kinds = [
        kind
        for kind in state.kinds.values()
        if (not request.queue or kind.queue == request.queue)
        and (not request.task_type or kind.task_type == request.task_type)
    ]
    if request.worker_id and request.state not in (0, IN_PROGRESS):
        return Plan((), 0, ())
    if request.worker_id or request.state == IN_PROGRESS:
        return _plan_running(state, kinds, request)
    states = (request.state,) if request.state else states
    buckets: dict[tuple[int, int], None] = {}
    total = 0
    for kind in kinds:
        for one in states:
            if kind.counts[one]:
                total += kind.counts[one]
                buckets[CLASS_OF_STATE[one], kind.number] = None
    return Plan(tuple(buckets), total)


def _plan_running(state: State, kinds: list[Kind], request: ListTasks) -> Plan:
    wanted = {kind.number for kind in kinds}
    found = []
    for session in state.sessions.values():
        for task_id, token in session.held.items():
            head = state.heads.get(task_id)
            if head is None or head.hold is None or head.hold.token != token:
                continue
            if head.terms.kind.number in wanted and request.worker_id in ("", head.hold.worker_id):
                found.append((head.seq, task_id))
    found.sort(reverse=not request.oldest_first)
    return Plan((), len(found), tuple(found))


def read_page(
    store: Store, state: State, plan: Plan, request: ListTasks
) -> tuple[list[tuple[int, bytes]], int]:
    """([(seq, task id)], next cursor or 0). On the disk thread."""
    above, below = (request.cursor, SEQ_MAX) if request.oldest_first else (0, request.cursor or SEQ_MAX)
    if plan.found is not None:
        rows: Iterator[tuple[int, bytes]] = (row for row in plan.found if above < row[0] < below)
    else:
        scans = [
            bucket_rows(store, state_class, kind, below, above=above, oldest_first=request.oldest_first)
            for state_class, kind in plan.buckets
        ]
        rows = merge(*scans, reverse=not request.oldest_first)
    if request.state == PENDING:
        # Running tasks are filed with the pending ones; a look at the head tells them apart.
        heads = state.heads
        rows = (row for row in rows if (head := heads.get(row[1])) is not None and head.state == PENDING)
    page = list(islice(rows, request.offset, request.offset + request.limit + 1))
    more = len(page) > request.limit
    page = page[: request.limit]
    return page, page[-1][0] if more else 0


def bucket_rows(
    store: Store, state_class: int, kind: int, below: int, *, above: int = 0, oldest_first: bool = False
) -> Iterator[tuple[int, bytes]]:
    """(seq, task id) of one class and kind with above < seq < below, newest first unless told otherwise."""
    start, stop = keys.index_key(state_class, kind, above + 1), keys.index_key(state_class, kind, below)
    for key, task_id in store.scan(Table.INDEX, start, stop, reverse=not oldest_first):
        yield keys.index_of(key)[2], task_id
