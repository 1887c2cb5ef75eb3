"""Many tasks at once, step by step: cancelled, retried, forgotten.

A step finds up to a thousand tasks, proposes one command for each and counts what came of them. Its cursor goes by
where tasks stand in the order of submission, so a walk ends, whatever moves meanwhile and whatever could not be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tq.broker.backend import Answer, Peer
from tq.broker.engine.dead_letters import DeadLetterReader, Found
from tq.broker.engine.lists import plan_list, read_page
from tq.broker.engine.proposer import Proposer
from tq.broker.engine.reads import Reads
from tq.broker.machine.commands import CancelTask, Command, ForgetTasks, RetryTask
from tq.broker.machine.state import State
from tq.broker.storage.store import Store
from tq.errors import BadRequest, Outcome, TqError
from tq.task import (
    BLOCKED,
    CANCELLED,
    DEAD_LETTER,
    ENDED_STATES,
    IN_PROGRESS,
    PENDING,
    RETRYING,
    SCHEDULED,
)
from tq.verbs import (
    CancelMany,
    Changed,
    ForgetMany,
    GroupDeadLetters,
    ListTasks,
    Purged,
    Reply,
    RetryMany,
)

Request: TypeAlias = CancelMany | RetryMany | ForgetMany

LIVE_STATES = (SCHEDULED, BLOCKED, PENDING, IN_PROGRESS, RETRYING)
RETRIABLE_STATES = (DEAD_LETTER, CANCELLED)


class Many:
    def __init__(
        self,
        store: Store,
        reads: Reads,
        state: State,
        proposer: Proposer,
        dead_letters: DeadLetterReader,
    ) -> None:
        self._store = store
        self._reads = reads
        self._state = state
        self._proposer = proposer
        self._dead_letters = dead_letters

    def cancel(self, peer: Peer, request: CancelMany, answer: Answer) -> None:
        def change(task_ids: Sequence[bytes], next_cursor: int) -> None:
            commands = [CancelTask(task_id, request.force) for task_id in task_ids]
            self._propose(commands, next_cursor, answer)

        self._choose(peer, request, LIVE_STATES, change, answer)

    def retry(self, peer: Peer, request: RetryMany, answer: Answer) -> None:
        def change(task_ids: Sequence[bytes], next_cursor: int) -> None:
            commands = [RetryTask(task_id, request.max_retries) for task_id in task_ids]
            self._propose(commands, next_cursor, self._telling(request, answer))

        self._choose(peer, request, RETRIABLE_STATES, change, answer)

    def forget(self, peer: Peer, request: ForgetMany, answer: Answer) -> None:
        def change(task_ids: Sequence[bytes], next_cursor: int) -> None:
            def forgotten(reply: Reply | TqError) -> None:
                if isinstance(reply, Purged):
                    reply = Changed(reply.purged, len(task_ids) - reply.purged, next_cursor)
                told(reply)

            told = self._telling(request, answer)
            if not task_ids:
                answer(Changed(0, 0, next_cursor))
                return
            self._proposer.add(ForgetTasks(tuple(task_ids)), forgotten, tasks=len(task_ids))

        self._choose(peer, request, ENDED_STATES, change, answer)

    # ------------------------------------------------------------ which

    def _choose(
        self,
        peer: Peer,
        request: Request,
        states: tuple[int, ...],
        change: Callable[[Sequence[bytes], int], None],
        answer: Answer,
    ) -> None:
        """Find this step's tasks and give them to `change`, with the cursor of the next step."""
        if request.task_ids:
            change(request.task_ids, 0)
            return
        if request.state and request.state not in states:
            answer(BadRequest("status: no task of it can be changed so"))
            return

        def found(result: tuple[list[tuple[int, bytes]], int] | Exception) -> None:
            if isinstance(result, Exception):
                answer(result if isinstance(result, TqError) else TqError(f"reading failed: {result}"))
                return
            rows, next_cursor = result
            change([task_id for _, task_id in rows], next_cursor)

        if not isinstance(request, CancelMany) and request.fingerprint:
            self._choose_of_group(peer, request, found)
            return
        wanted = ListTasks(
            request.state, request.task_type, request.queue, request.limit, cursor=request.cursor
        )
        plan = plan_list(self._state, wanted, states)
        self._reads.call(lambda: read_page(self._store, self._state, plan, wanted), found, peer)

    def _choose_of_group(
        self,
        peer: Peer,
        request: RetryMany | ForgetMany,
        found: Callable[[tuple[list[tuple[int, bytes]], int] | Exception], None],
    ) -> None:
        def paged(result: Found | TqError) -> None:
            found(result if isinstance(result, TqError) else (result[0], result[1]))

        chosen = GroupDeadLetters(request.task_type, request.queue)
        self._dead_letters.page(
            peer, chosen, request.fingerprint, limit=request.limit, cursor=request.cursor, done=paged
        )

    def _telling(self, request: RetryMany | ForgetMany, answer: Answer) -> Answer:
        """The answer, once the groups know of it: whoever looks at them next sees what was done."""
        if not request.fingerprint:
            return answer

        def told(reply: Reply | TqError) -> None:
            if isinstance(reply, Changed):
                self._dead_letters.left(request.fingerprint, reply.done)
            answer(reply)

        return told

    # ------------------------------------------------------------ what

    def _propose(self, commands: Sequence[Command], next_cursor: int, answer: Answer) -> None:
        """One command for each task; what its status does not allow is skipped, what fails otherwise is the answer."""
        left, done, skipped = len(commands), 0, 0
        failure: TqError | None = None

        def changed(reply: Reply | TqError) -> None:
            nonlocal left, done, skipped, failure
            left -= 1
            if not isinstance(reply, TqError):
                done += 1
            elif reply.outcome is Outcome.REJECTED:
                skipped += 1
            else:
                failure = reply
            if not left:
                answer(failure or Changed(done, skipped, next_cursor))

        if not commands:
            answer(Changed(0, 0, next_cursor))
        for command in commands:
            self._proposer.add(command, changed)
