"""Forgetting tasks: by hand (Purge) and by age (retention). Found in the store, forgotten by a command.

The machine cannot look for tasks by age, it has no ended ones in memory. So the leader looks, and proposes the ids;
the machine passes over those that are no longer what they were.
"""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.backend import Answer
from tq.broker.engine.entries import unpack_ended
from tq.broker.engine.lists import STATES
from tq.broker.engine.proposer import Proposer, ignore
from tq.broker.engine.reads import Reads
from tq.broker.machine.commands import CancelTask, ForgetTasks
from tq.broker.machine.state import CLASS_OF_STATE, State
from tq.broker.storage import keys
from tq.broker.storage.store import Store
from tq.broker.tables import Table
from tq.errors import BadRequest, TqError
from tq.task import CANCELLED, COMPLETED, DEAD_LETTER, EXPIRED, IN_PROGRESS
from tq.verbs import Purge, Purged, Reply

RETENTION_CHUNK = 1_000


class Purges:
    def __init__(
        self,
        store: Store,
        reads: Reads,
        state: State,
        proposer: Proposer,
        *,
        now_ms: Callable[[], int],
        retention_ms: int,
        dead_letter_retention_ms: int,
    ) -> None:
        """retention_ms: how long ended tasks are kept; 0 = for ever. Dead letters have their own."""
        self._store = store
        self._reads = reads
        self._state = state
        self._proposer = proposer
        self._now_ms = now_ms
        self._retention_ms = {
            COMPLETED: retention_ms,
            CANCELLED: retention_ms,
            EXPIRED: retention_ms,
            DEAD_LETTER: dead_letter_retention_ms,
        }
        self._is_retiring = False

    def purge(self, request: Purge, answer: Answer) -> None:
        if request.state not in STATES or request.state == IN_PROGRESS:
            answer(BadRequest("status: name one whose tasks are not running; cancel running tasks first"))
            return
        buckets = self._buckets(request.state, request.queue, request.task_type)
        before_ms = self._now_ms() - request.older_than_ms

        def found(result: tuple[list[bytes], bool] | Exception) -> None:
            if isinstance(result, Exception):
                answer(_as_error(result))
                return
            self._forget(request.state, result[0], result[1], answer)

        self._reads.call(lambda: self._find(buckets, request.state, before_ms, request.limit), found)

    def retire(self) -> None:
        """Forget what is past its retention, a chunk of each state. To be called every minute or so."""
        if self._is_retiring:
            return
        self._is_retiring = True
        self._retire_next([state for state, ms in self._retention_ms.items() if ms])

    def _retire_next(self, states: list[int]) -> None:
        if not states:
            self._is_retiring = False
            return
        request = Purge(states[0], self._retention_ms[states[0]], limit=RETENTION_CHUNK)

        def purged(reply: Reply | TqError) -> None:
            more = isinstance(reply, Purged) and reply.more
            self._retire_next(states if more else states[1:])

        self.purge(request, purged)

    def _buckets(self, state: int, queue: str, task_type: str) -> list[tuple[int, int]]:
        return [
            (CLASS_OF_STATE[state], kind.number)
            for kind in self._state.kinds.values()
            if kind.counts[state]
            and (not queue or kind.queue == queue)
            and (not task_type or kind.task_type == task_type)
        ]

    def _find(
        self, buckets: list[tuple[int, int]], state: int, before_ms: int, limit: int
    ) -> tuple[list[bytes], bool]:
        """Up to limit ids in this state and untouched since before_ms, oldest first; whether there may be more."""
        found: list[bytes] = []
        for state_class, kind in buckets:
            for _, task_id in self._store.scan(Table.INDEX, *keys.index_range(state_class, kind)):
                created_ms, updated_ms, is_in_state = self._times(task_id, state)
                if created_ms > before_ms:
                    # Rows stand in the order of submission: those behind this one are younger still.
                    break
                if is_in_state and updated_ms <= before_ms:
                    if len(found) == limit:
                        return found, True
                    found.append(task_id)
        return found, False

    def _times(self, task_id: bytes, state: int) -> tuple[int, int, bool]:
        """(created, updated, is it in this state)"""
        if state < COMPLETED:
            head = self._state.heads.get(task_id)
            return (0, 0, False) if head is None else (head.created_ms, head.updated_ms, head.state == state)
        value = self._store.get(Table.ENDED, task_id)
        if value is None:
            return 0, 0, False
        record = unpack_ended(value)
        return record.created_ms, record.ended_ms, record.state == state

    def _forget(self, state: int, task_ids: list[bytes], more: bool, answer: Answer) -> None:
        def forgotten(reply: Reply | TqError) -> None:
            answer(reply._replace(more=more) if isinstance(reply, Purged) else reply)

        if not task_ids:
            answer(Purged(0, False))
            return
        if state < COMPLETED:
            for task_id in task_ids:
                # One that moved on meanwhile is not cancelled, and so not forgotten.
                self._proposer.add(CancelTask(task_id, False), ignore)
        self._proposer.add(ForgetTasks(tuple(task_ids)), forgotten, tasks=len(task_ids))


def _as_error(error: Exception) -> TqError:
    return error if isinstance(error, TqError) else TqError(f"reading the store failed: {error}")
