"""Questions about tasks, answered from memory and store without touching the log.

What lives is looked up on the loop; rows are read on the disk thread, behind every batch written before, so an
answer shows at least everything that was acknowledged before the question.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable

from tq.broker.backend import Answer, Peer
from tq.broker.engine.backups import back_up
from tq.broker.engine.dead_letters import DeadLetterReader, Found
from tq.broker.engine.lists import plan_list, read_page
from tq.broker.engine.reads import Reads
from tq.broker.engine.roster import Roster
from tq.broker.engine.views import PageViews, ViewReader, has_past, live_view
from tq.broker.engine.waiters import Tell, Waiters
from tq.broker.machine.effects import Outcome
from tq.broker.machine.heads import Head
from tq.broker.machine.machine import Machine
from tq.broker.storage.store import Store
from tq.errors import BadRequest, TaskNotFound, TqError
from tq.ids import to_text
from tq.task import TaskView
from tq.verbs import (
    BackedUp,
    GetTask,
    GroupDeadLetters,
    ListTasks,
    Reply,
    TaskEnded,
    TaskPage,
    Watch,
    Watching,
)


class Reader:
    def __init__(
        self,
        loop: AbstractEventLoop,
        store: Store,
        reads: Reads,
        machine: Machine,
        waiters: Waiters,
        roster: Roster,
        dead_letters: DeadLetterReader,
    ) -> None:
        self.dead_letters = dead_letters
        self._loop = loop
        self._store = store
        self._reads = reads
        self._machine = machine
        self._state = machine.state
        self._views = ViewReader(store, machine.state.kinds_by_number)
        self._waiters = waiters
        self._roster = roster
        self._open_waits: dict[object, Callable[[], None]] = {}

    def get(self, peer: Peer, request: GetTask, answer: Answer) -> None:
        head = self._state.heads.get(request.task_id)
        if head is not None and request.wait_ms:
            self._wait(peer, request, answer)
        else:
            self._get_now(peer, request, answer)

    def _get_now(self, peer: Peer, request: GetTask, answer: Answer) -> None:
        task_id, with_payload, with_result = request.task_id, request.with_payload, request.with_result
        head = self._state.heads.get(task_id)
        if head is None:
            self._read(
                lambda: self._views.ended(
                    task_id, whole=True, with_payload=with_payload, with_result=with_result
                ),
                peer,
                task_id,
                answer,
            )
            return
        view, seq = live_view(self._machine, head, self._progress(head)), head.seq
        self._read(
            lambda: self._views.complete(view, seq, whole=True, with_payload=with_payload),
            peer,
            task_id,
            answer,
        )

    def _wait(self, peer: Peer, request: GetTask, answer: Answer) -> None:
        """Answer when the task ends or the time is up, whichever is first."""
        wait = object()

        def end() -> None:
            del self._open_waits[wait]
            timer.cancel()
            take_back()
            self._get_now(peer, request, answer)

        take_back = self._waiters.call(request.task_id, lambda view: end())
        timer = self._loop.call_later(request.wait_ms / 1000, end)
        self._open_waits[wait] = end

    def end_waits(self) -> None:
        """Answer everybody who waits with the task as it is; for a broker that stops."""
        for end in list(self._open_waits.values()):
            end()

    def _read(self, job: Callable[[], TaskView | None], peer: Peer, task_id: bytes, answer: Answer) -> None:
        def read(result: TaskView | None | Exception) -> None:
            if result is None:
                answer(
                    TaskNotFound(
                        f"no task {to_text(task_id)}; it was never submitted, or its retention is over"
                    )
                )
            else:
                answer(_as_reply(result))

        self._reads.call(job, read, peer)

    def _progress(self, head: Head) -> tuple[int, str] | None:
        """The latest that the handler of a running task told."""
        if head.hold is None:
            return None
        presence = self._roster.presence(head.hold.session_id)
        return presence.progress.get(head.task_id) if presence is not None else None

    # ------------------------------------------------------------ watching

    def watch(self, peer: Peer, request: Watch, answer: Answer) -> None:
        heads = self._state.heads
        gone = []
        for task_id in request.task_ids:
            if task_id in heads:
                self._waiters.watch(peer, task_id)
            else:
                gone.append(task_id)
        if not gone:
            answer(Watching())
            return

        def read(result: list[tuple[bytes, TaskView | None]] | Exception) -> None:
            if isinstance(result, Exception):
                answer(_as_error(result))
                return
            ended = tuple(view for _, view in result if view is not None)
            unknown = tuple(task_id for task_id, view in result if view is None)
            answer(Watching(ended, unknown))

        self._reads.call(lambda: self._read_ended(gone), read, peer)

    def tell(self, outcome: Outcome) -> None:
        """Tell those who wait for tasks this entry ended. Its rows are on their way to the disk, and read behind."""
        awaited = [head.task_id for head in outcome.ended if self._waiters.is_awaited(head.task_id)]
        if not awaited:
            return
        waiting = [(task_id, *self._waiters.take(task_id)) for task_id in awaited]

        def read(result: list[tuple[bytes, TaskView | None]] | Exception) -> None:
            if isinstance(result, Exception):
                return
            self._tell_all(waiting, dict(result))

        self._reads.call(lambda: self._read_ended(awaited), read)

    def _tell_all(
        self, waiting: list[tuple[bytes, list[Peer], list[Tell]]], views: dict[bytes, TaskView | None]
    ) -> None:
        pushes: dict[Peer, list[TaskView]] = {}
        for task_id, peers, tells in waiting:
            view = views[task_id]
            if view is None:
                # Ended and brought back, or forgotten, before it could be read: wait on, or hear nothing.
                for peer in peers:
                    if task_id in self._state.heads:
                        self._waiters.watch(peer, task_id)
                continue
            for peer in peers:
                pushes.setdefault(peer, []).append(view)
            for tell in tells:
                tell(view)
        for peer, found in pushes.items():
            peer.push(TaskEnded(tuple(found)))

    def _read_ended(self, task_ids: list[bytes]) -> list[tuple[bytes, TaskView | None]]:
        return [(task_id, self._views.ended(task_id, whole=False)) for task_id in task_ids]

    # ------------------------------------------------------------ lists and copies

    def page(self, peer: Peer, request: ListTasks, answer: Answer) -> None:
        if request.fingerprint:
            self._page_of_group(peer, request, answer)
            return
        plan = plan_list(self._state, request)

        def read(result: tuple[list[tuple[int, bytes]], int] | Exception) -> None:
            if isinstance(result, Exception):
                answer(_as_error(result))
                return
            self._show_page(peer, request, plan.total, *result, answer)

        self._reads.call(lambda: read_page(self._store, self._state, plan, request), read, peer)

    def _page_of_group(self, peer: Peer, request: ListTasks, answer: Answer) -> None:
        def found(result: Found | TqError) -> None:
            if isinstance(result, TqError):
                answer(result)
            else:
                rows, next_cursor, total = result
                self._show_page(peer, request, total, rows, next_cursor, answer)

        chosen = GroupDeadLetters(request.task_type, request.queue)
        limit, cursor = request.limit, request.cursor
        self.dead_letters.page(peer, chosen, request.fingerprint, limit=limit, cursor=cursor, done=found)

    def _show_page(
        self,
        peer: Peer,
        request: ListTasks,
        total: int,
        rows: list[tuple[int, bytes]],
        next_cursor: int,
        answer: Answer,
    ) -> None:
        with_result = request.with_result
        heads = self._state.heads
        seen = PageViews(self._machine)
        live = {
            task_id: seen.of(head, self._progress(head))
            for _, task_id in rows
            if (head := heads.get(task_id)) is not None
        }
        if len(live) == len(rows) and not any(map(has_past, live.values())):
            # All that there is to say is in memory.
            answer(TaskPage(tuple(live.values()), total, request.limit, request.offset, next_cursor))
            return

        def complete() -> list[TaskView]:
            views = []
            for seq, task_id in rows:
                view = live.get(task_id)
                if view is not None:
                    views.append(self._views.complete(view, seq, whole=False))
                elif (ended := self._views.ended(task_id, whole=False, with_result=with_result)) is not None:
                    views.append(ended)
            return views

        def read(result: list[TaskView] | Exception) -> None:
            if isinstance(result, Exception):
                answer(_as_error(result))
                return
            answer(TaskPage(tuple(result), total, request.limit, request.offset, next_cursor))

        self._reads.call(complete, read, peer)

    def backup(self, directory: str, answer: Answer) -> None:
        index = self._state.index
        self._reads.call(
            lambda: back_up(self._store, directory, index), lambda result: answer(_as_reply(result))
        )


def _as_reply(result: TaskView | BackedUp | Exception) -> Reply | TqError:
    return _as_error(result) if isinstance(result, Exception) else result


def _as_error(error: Exception) -> TqError:
    if isinstance(error, TqError):
        return error
    return (
        BadRequest(str(error))
        if isinstance(error, FileExistsError | FileNotFoundError)
        else TqError(str(error))
    )
