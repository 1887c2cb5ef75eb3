"""Groups of dead letters, made when somebody asks: of the newest at once, of all of them in the background.

Rules of the file:
- Whoever asks first is answered from the newest QUICK_ROWS, in some 100 milliseconds. Where there are more, a survey of
  all begins in the background, one at a time, that leaves the disk thread alone for most of the time; once it is
  through, its groups are the answer.
- An answer is kept for twenty times as long as the work for it took, so that however many look, and however many dead
  letters there are, looking costs a twentieth of the time at most. A survey's answer is told until the next one is through.
- How many there are is told as of now, and a group that was retried or deleted shrinks at once. What leaves while a
  survey is under way is taken off its answer: it may not have been counted yet, so the answer may say too few, and is
  good for no longer than until somebody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tq.broker.backend import Answer, Peer
from tq.broker.engine.dead_rows import STEP_ROWS, DeadRow, DeadRows
from tq.broker.machine.kinds import Kind
from tq.errors import TqError
from tq.verbs import DeadLetterGroup, DeadLetters, GroupDeadLetters

QUICK_ROWS = 10_000
"""Looked at before the first answer: the newest."""
SURVEYED_ROWS_MAX = 5_000_000
"""Looked at in the background; a bound, and no limit that is meant to be met."""
DISTINCT_MAX = 10_000
"""Groups told apart in one question; what says something new after that is counted as looked at only."""
GROUPS_SHOWN_MAX = 200
KEPT_FACTOR = 20
KEPT_MAX = 100
"""Different questions whose answers are kept."""
REST_FACTOR = 4
"""A survey rests for so many times as long as its last step took: it has a fifth of the disk thread, and commits the rest."""
REST_S_MIN, REST_S_MAX = 0.001, 0.2

Later = Callable[[float, Callable[[], None]], object]
"""(seconds, what to do then)"""


class _Group:
    __slots__ = ("count", "first_ms", "last_ms", "row")

    def __init__(self, row: DeadRow) -> None:
        self.row = row
        self.count = 0
        self.first_ms = self.last_ms = row.ended_ms


class _Kept(NamedTuple):
    """An answer. is_survey: of all there were, and good until there is a newer one."""

    reply: DeadLetters
    until_ms: int
    is_survey: bool


class DeadGroups:
    def __init__(
        self, rows: DeadRows, kinds: dict[int, Kind], elapsed_ms: Callable[[], int], later: Later
    ) -> None:
        """kinds: by number. elapsed_ms: a clock that never goes back."""
        self._rows = rows
        self._kinds = kinds
        self._elapsed_ms = elapsed_ms
        self._later = later
        self._kept: dict[GroupDeadLetters, _Kept] = {}
        self._asking: dict[GroupDeadLetters, list[Answer]] = {}
        self._survey: _Survey | None = None

    def ask(self, peer: Peer, request: GroupDeadLetters, answer: Answer) -> None:
        """Answer with the groups, or with what went wrong."""
        kept = self._kept.get(request)
        is_fresh = kept is not None and self._elapsed_ms() < kept.until_ms
        if kept is not None and (is_fresh or kept.is_survey):
            if not is_fresh:
                self._begin_survey(request)
            answer(self._as_of_now(request, kept.reply))
            return
        asking = self._asking.setdefault(request, [])
        asking.append(answer)
        if len(asking) == 1:
            self._look(peer, request)

    def left(self, fingerprint: str, tasks: int) -> None:
        """So many of a group are dead letters no more."""
        for request, kept in self._kept.items():
            self._kept[request] = kept._replace(reply=_less(kept.reply, fingerprint, tasks))
        if self._survey is not None:
            self._survey.left[fingerprint] += tasks

    def _look(self, peer: Peer, request: GroupDeadLetters) -> None:
        """Group the newest, and tell all who asked meanwhile."""
        began_ms = self._elapsed_ms()
        kinds, total = self._rows.kinds(request.task_type, request.queue)
        found = _Found()

        def take(rows: list[DeadRow] | TqError) -> bool:
            if isinstance(rows, TqError):
                self._tell(request, rows)
                return False
            found.count(rows)
            is_through = len(rows) < STEP_ROWS
            if not is_through and found.scanned < QUICK_ROWS:
                return True
            reply = found.reply(self._kinds, total)
            self._keep(request, reply, self._elapsed_ms() - began_ms, is_survey=False)
            self._tell(request, reply)
            if not is_through:
                self._begin_survey(request)
            return False

        self._rows.walk(kinds, 0, take, peer)

    def _tell(self, request: GroupDeadLetters, reply: DeadLetters | TqError) -> None:
        for answer in self._asking.pop(request):
            answer(reply)

    def _keep(self, request: GroupDeadLetters, reply: DeadLetters, took_ms: int, *, is_survey: bool) -> None:
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        self._kept[request] = _Kept(reply, self._elapsed_ms() + KEPT_FACTOR * took_ms, is_survey)

    def _as_of_now(self, request: GroupDeadLetters, reply: DeadLetters) -> DeadLetters:
        """What has come since was not looked at; what has gone was, as far as that can be known."""
        total = self._rows.kinds(request.task_type, request.queue)[1]
        if total == reply.total:
            return reply
        if total == 0:
            return DeadLetters((), 0, 0)
        return reply._replace(total=total, scanned=min(reply.scanned, total))

    # ------------------------------------------------------------ all of them

    def _begin_survey(self, request: GroupDeadLetters) -> None:
        if self._survey is None:
            kinds = self._rows.kinds(request.task_type, request.queue)[0]
            if kinds:  # all may be gone since the survey whose answer is told
                self._survey = _Survey(request, kinds, self._elapsed_ms())
                self._go_on(self._survey)

    def _go_on(self, survey: _Survey) -> None:
        """One step of a survey: kind by kind, so that a step reads in one place."""
        survey.step_ms = self._elapsed_ms()
        self._rows.step(survey.kinds[-1:], survey.cursor, lambda rows: self._surveyed(survey, rows), None)

    def _surveyed(self, survey: _Survey, rows: list[DeadRow] | TqError) -> None:
        took_ms = self._elapsed_ms() - survey.step_ms
        if isinstance(rows, TqError):
            self._survey = None  # the broker stops, or its disk is gone; whoever asks next is told
            return
        survey.work_ms += took_ms
        survey.take(rows)
        if survey.kinds and survey.found.scanned < SURVEYED_ROWS_MAX:
            rest_s = min(max(REST_FACTOR * took_ms / 1000, REST_S_MIN), REST_S_MAX)
            self._later(rest_s, lambda: self._go_on(survey))
            return
        self._survey = None
        total = self._rows.kinds(survey.request.task_type, survey.request.queue)[1]
        reply = survey.found.reply(self._kinds, total)
        for fingerprint, tasks in survey.left.items():
            reply = _less(reply, fingerprint, tasks)
        self._keep(survey.request, reply, 0 if survey.left else survey.work_ms, is_survey=True)


class _Survey:
    """A walk over all dead letters of some kinds.

    kinds: what is left of them; the last one is read. left: fingerprint -> how many left since it began.
    """

    def __init__(self, request: GroupDeadLetters, kinds: list[int], now_ms: int) -> None:
        self.request = request
        self.kinds = kinds
        self.cursor = 0
        self.found = _Found()
        self.left: Counter[str] = Counter()
        self.work_ms = 0
        self.step_ms = now_ms

    def take(self, rows: list[DeadRow]) -> None:
        self.found.count(rows)
        if len(rows) < STEP_ROWS:
            self.kinds.pop()
            self.cursor = 0
        else:
            self.cursor = rows[-1].seq


class _Found:
    """What was looked at so far."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self.scanned = 0

    def count(self, rows: list[DeadRow]) -> None:
        self.scanned += len(rows)
        groups = self._groups
        for row in rows:
            group = groups.get(row.fingerprint)
            if group is None:
                if len(groups) >= DISTINCT_MAX:
                    continue
                group = groups[row.fingerprint] = _Group(row)
            group.count += 1
            group.first_ms = min(group.first_ms, row.ended_ms)
            group.last_ms = max(group.last_ms, row.ended_ms)

    def reply(self, kinds: dict[int, Kind], total: int) -> DeadLetters:
        """total: how many there are; some may have come or gone while they were looked at."""
        groups = sorted(self._groups.values(), key=lambda group: -group.count)[:GROUPS_SHOWN_MAX]
        shown = tuple(_shown(group, kinds[group.row.kind]) for group in groups)
        return DeadLetters(shown, max(total, self.scanned), self.scanned)


def _shown(group: _Group, kind: Kind) -> DeadLetterGroup:
    row = group.row
    return DeadLetterGroup(
        row.fingerprint,
        kind.task_type,
        kind.queue,
        row.error,
        group.count,
        group.first_ms,
        group.last_ms,
        row.task_id,
    )


def _less(reply: DeadLetters, fingerprint: str, tasks: int) -> DeadLetters:
    """The answer without so many of a group, and without the group when none is left."""
    groups = (
        group._replace(tasks=group.tasks - tasks) if group.fingerprint == fingerprint else group
        for group in reply.groups
    )
    return reply._replace(groups=tuple(group for group in groups if group.tasks > 0))
