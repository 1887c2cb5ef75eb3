"""Dead letters by what went wrong: grouped, and found by group. Nothing is kept per group: rows are read when somebody asks."""

from __future__ import annotations

from collections.abc import Callable

from tq.broker.backend import Answer, Peer
from tq.broker.engine.dead_groups import DeadGroups, Later
from tq.broker.engine.dead_rows import STEP_ROWS, DeadRow, DeadRows
from tq.broker.engine.reads import Reads
from tq.broker.machine.state import State
from tq.broker.storage.store import Store
from tq.errors import TqError
from tq.verbs import DeadLetters, GroupDeadLetters

SEARCHED_ROWS_MAX = 20_000
"""Looked at for one page; when they are through it may be short, and its cursor goes on."""

Found = tuple[list[tuple[int, bytes]], int, int]
"""([(seq, task id)], next cursor or 0, how many the group has)"""


class DeadLetterReader:
    def __init__(
        self, store: Store, reads: Reads, state: State, elapsed_ms: Callable[[], int], later: Later
    ) -> None:
        """elapsed_ms: a clock that never goes back."""
        self._rows = DeadRows(store, reads, state)
        self._groups = DeadGroups(self._rows, state.kinds_by_number, elapsed_ms, later)
        self.groups: Callable[[Peer, GroupDeadLetters, Answer], None] = self._groups.ask
        self.left: Callable[[str, int], None] = self._groups.left
        """To be told of how many of a group, by its fingerprint, were retried or forgotten."""

    def page(
        self,
        peer: Peer,
        chosen: GroupDeadLetters,
        fingerprint: str,
        *,
        limit: int,
        cursor: int,
        done: Callable[[Found | TqError], None],
    ) -> None:
        """The next of a group's tasks, newest first. A page may be short though its cursor goes on."""

        def counted(reply: object) -> None:
            if isinstance(reply, TqError):
                done(reply)
                return
            assert isinstance(reply, DeadLetters), "groups are answered with groups"
            group = next((one for one in reply.groups if one.fingerprint == fingerprint), None)
            # A group is of one type and queue: where they are known, the dead letters of no other are looked at.
            within = chosen if group is None else GroupDeadLetters(group.task_type, group.queue)
            total = 0 if group is None else group.tasks
            self._search(peer, within, fingerprint, limit=limit, cursor=cursor, total=total, done=done)

        self.groups(peer, chosen, counted)

    def _search(
        self,
        peer: Peer,
        chosen: GroupDeadLetters,
        fingerprint: str,
        *,
        limit: int,
        cursor: int,
        total: int,
        done: Callable[[Found | TqError], None],
    ) -> None:
        found: list[tuple[int, bytes]] = []
        scanned = 0

        def take(rows: list[DeadRow] | TqError) -> bool:
            nonlocal scanned
            if isinstance(rows, TqError):
                done(rows)
                return False
            scanned += len(rows)
            found.extend((row.seq, row.task_id) for row in rows if row.fingerprint == fingerprint)
            is_through = len(rows) < STEP_ROWS
            if len(found) > limit:
                done((found[:limit], found[limit - 1][0], total))
            elif is_through:
                done((found, 0, total))
            elif scanned >= SEARCHED_ROWS_MAX:
                done((found, rows[-1].seq, total))
            else:
                return True
            return False

        kinds = self._rows.kinds(chosen.task_type, chosen.queue)[0]
        self._rows.walk(kinds, cursor, take, peer)
