"""Group commit: while one entry commits, all that arrives gathers into the next.

One entry is in flight at any time; it holds as many commands as arrived while the one before it was on its way
to the disk. Under load entries grow by themselves and the cost of an fsync is shared; without load a command waits
for nobody.

Some commands are patient: nobody can tell whether they are done now or a few milliseconds later. Right behind an
entry they wait for company, so that a broker that is half busy does not pay for twice the entries it needs.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, TimerHandle
from collections import deque
from collections.abc import Callable

from tq.broker.backend import Answer
from tq.broker.engine.entries import pack_entry, unpack_entry
from tq.broker.machine.commands import Command
from tq.broker.machine.effects import Outcome
from tq.broker.measures import DISK_BOUNDS_NS, Histogram, no_time
from tq.broker.replication.log import ReplicatedLog
from tq.errors import BrokerUnavailable, OutcomeUnknown, TqError
from tq.verbs import Reply

ENTRY_TASKS_MAX = 2_000
"""Tasks an entry gathers before the next one begins: bounds how long applying it holds the loop. A single larger
submit makes an entry of its own."""
ENTRY_BYTES_MAX = 16 * 1024 * 1024
"""The same in payload bytes, so that a few large submits do not become one huge write."""
PATIENCE_SECONDS = 0.003
"""How long after an entry patient commands wait for others to share the next one with. At a few hundred entries a
second the next command is sooner here than that; with fewer, an entry of their own costs nothing that counts."""
PATIENT_COMMANDS_MAX = 64
"""So many wait no longer."""

Apply = Callable[[int, int, list[Command]], Outcome]


class Proposer:
    """Turns commands into entries and outcomes into answers."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        log: ReplicatedLog,
        *,
        stamp: Callable[[], int],
        apply: Apply,
        proposed: Callable[[], None],
        act: Callable[[Outcome], None],
        on_fatal: Callable[[BaseException], None],
        wait_ms: int,
        elapsed_ns: Callable[[], int] = no_time,
    ) -> None:
        """apply: applies an entry. proposed: called when an entry is on its way to the disk, and there is time. act: performs the outcome's effects, after the answers.

        wait_ms: the longest an entry waits for company when the log is idle; 0 = not at all.
        elapsed_ns: a monotonic clock for `commits`.
        """
        self._loop = loop
        self._log = log
        self._stamp = stamp
        self._apply = apply
        self._proposed = proposed
        self._act = act
        self._on_fatal = on_fatal
        self._wait_ms = wait_ms
        self._waiting: deque[tuple[Command, Answer, int, int, int]] = deque()
        self._in_flight: tuple[bytes, int, list[Command], list[Answer]] | None = None
        self._is_due = False
        self._is_urgent = False
        self._timer: TimerHandle | None = None
        self._proposed_s = 0.0
        self._idle: Future[None] | None = None
        self._is_stopped = False
        self._in_flight_new = 0
        self.new_under_way = 0
        """New tasks of submits that are not applied yet: they are not among those that wait, and will be."""
        self._elapsed_ns = elapsed_ns
        self._proposed_ns = 0
        self.commits = Histogram(DISK_BOUNDS_NS)
        """How long entries took from this node's proposal until they were committed."""

    def add(
        self,
        command: Command,
        answer: Answer,
        *,
        tasks: int = 1,
        size: int = 0,
        new: int = 0,
        is_patient: bool = False,
    ) -> None:
        """Put a command into the next entry; answer gets the machine's reply, or an error.

        tasks: how many tasks it touches, about; size: payload bytes it carries; new: tasks it may add.
        is_patient: nobody is worse off if it waits for company a few milliseconds.
        """
        if self._is_stopped:
            answer(
                BrokerUnavailable(
                    "the broker is stopping; try another node or try again", retry_after_ms=1_000
                )
            )
            return
        self._waiting.append((command, answer, tasks, size, new))
        self.new_under_way += new
        self._is_urgent = self._is_urgent or not is_patient or len(self._waiting) >= PATIENT_COMMANDS_MAX
        if self._in_flight is None and not self._is_due:
            self._schedule()

    def _schedule(self) -> None:
        """The log is idle and something waits: it leaves at the end of this turn of the loop, or a little later."""
        if self._is_urgent:
            self._is_due = True
            if self._wait_ms:
                self._loop.call_later(self._wait_ms / 1000, self._propose)
            else:
                self._loop.call_soon(self._propose)
        elif self._timer is None:
            self._timer = self._loop.call_at(self._proposed_s + PATIENCE_SECONDS, self._propose)

    def _propose(self) -> None:
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._in_flight is not None or not self._waiting:
            return
        commands: list[Command] = []
        answers: list[Answer] = []
        room, bytes_left = ENTRY_TASKS_MAX, ENTRY_BYTES_MAX
        waiting = self._waiting
        while waiting and (not commands or (waiting[0][2] <= room and waiting[0][3] <= bytes_left)):
            command, answer, tasks, size, new = waiting.popleft()
            commands.append(command)
            answers.append(answer)
            room -= tasks
            bytes_left -= size
            self._in_flight_new += new
        self._is_urgent = self._is_urgent and bool(waiting)
        now_ms = self._stamp()
        data = pack_entry(now_ms, commands)
        self._in_flight = (data, now_ms, commands, answers)
        self._proposed_s = self._loop.time()
        self._proposed_ns = self._elapsed_ns()
        self._log.propose(data).add_done_callback(self._ended)
        self._proposed()

    def committed(self, index: int, data: bytes) -> None:
        """The log's on_commit: apply, answer, act. Entries of this process are not decoded again."""
        in_flight = self._in_flight
        try:
            if in_flight is not None and in_flight[0] is data:
                self.commits.observe(self._elapsed_ns() - self._proposed_ns)
                _, now_ms, commands, answers = in_flight
                # Its time may be over as well: what the log says of it in the next turn concerns nobody any more.
                self._in_flight = (data, now_ms, commands, [])
                outcome = self._apply(index, now_ms, commands)
                self._count_in()
                for answer, reply in zip(answers, outcome.replies, strict=True):
                    answer(reply)
            else:
                outcome = self._apply(index, *unpack_entry(data))
            self._act(outcome)
        except Exception as error:  # noqa: BLE001  a machine that cannot apply must not go on
            self._on_fatal(error)

    def _ended(self, future: Future[int]) -> None:
        assert self._in_flight is not None, "an entry ended that was not in flight"
        answers = self._in_flight[3]
        self._in_flight = None
        self._count_in()
        error = future.exception() if not future.cancelled() else OutcomeUnknown()
        if error is not None:
            refusal = (
                error
                if isinstance(error, TqError)
                else OutcomeUnknown(f"the entry's fate is unknown: {error}")
            )
            for answer in answers:
                answer(refusal)
        if self._waiting and self._is_urgent:
            self._propose()
        elif self._waiting:
            self._schedule()
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _count_in(self) -> None:
        """The entry in flight is applied, and its new tasks are counted where they wait; or it is lost."""
        self.new_under_way -= self._in_flight_new
        self._in_flight_new = 0

    async def drain(self) -> None:
        """Take no more commands and return once those taken are answered."""
        self._is_stopped = self._is_urgent = True
        if self._in_flight is not None or self._waiting:
            self._idle = self._loop.create_future()
            if self._in_flight is None and not self._is_due:
                self._schedule()
            await self._idle


def ignore(reply: Reply | TqError) -> None:
    """The answer for commands that nobody waits for."""
