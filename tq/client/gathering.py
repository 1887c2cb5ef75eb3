"""Submits of one turn of the loop, made one: tasks that are submitted side by side travel in one request.

A request costs the broker several times what a task in it costs, and callers that submit at the same moment do not
care in which frame their task leaves. Each still gets the answer to its own task. What was refused because of its
company (one bad task refuses a whole request, a queue that is nearly full may have room for some) is asked again
alone; every task carries its own id, so asking again submits nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable

from tq.client.waiter import Waiter
from tq.errors import Outcome, QueueFull, RateLimited, TqError
from tq.task import TaskSpec
from tq.verbs import Existing, Reply, Submit, Submitted

GATHERED_TASKS_MAX = 1_000
GATHERED_BYTES_MAX = 1024**2
"""Payload bytes. Larger requests cost little less per task, and are answered later."""
DEADLINES_APART_MAX = 1.0
"""Seconds. All of a request share its earliest deadline: nobody gives up sooner than he said by more than this."""

AskAlone = Callable[[Submit, Waiter], None]


class Gathering:
    """Submits of one task each that wait to leave together."""

    def __init__(self) -> None:
        self.specs: list[TaskSpec] = []
        """What is held; for others to count."""
        self._waiters: list[Waiter] = []
        self._bytes = 0
        self._deadline = 0.0

    def takes(self, request: Submit, waiter: Waiter) -> bool:
        """Whether it was taken; if not, what is held must leave first."""
        spec, deadline = request.tasks[0], waiter.deadline
        if not self.specs:
            self._deadline = deadline
        elif (
            len(self.specs) >= GATHERED_TASKS_MAX
            or self._bytes + len(spec.payload) > GATHERED_BYTES_MAX
            # Two without a deadline are no distance apart: inf - inf is no number.
            or abs(deadline - self._deadline) > DEADLINES_APART_MAX
        ):
            return False
        elif deadline < self._deadline:
            self._deadline = deadline
        self.specs.append(spec)
        self._waiters.append(waiter)
        self._bytes += len(spec.payload)
        return True

    def leave(self, ask_alone: AskAlone) -> tuple[Submit, Waiter]:
        """One request with everything held, and the waiter for its answer; nothing is held after.

        ask_alone: called for each of those that were refused together.
        """
        request = Submit(tuple(self.specs))
        waiters, self.specs, self._waiters, self._bytes = self._waiters, [], [], 0
        if len(waiters) == 1:
            return request, waiters[0]
        return request, _Company(request, waiters, self._deadline, ask_alone)


class _Company:
    """The waiter for the answer to many."""

    __slots__ = ("_ask_alone", "_request", "_waiters", "deadline")

    def __init__(self, request: Submit, waiters: list[Waiter], deadline: float, ask_alone: AskAlone) -> None:
        self._request, self._waiters, self.deadline = request, waiters, deadline
        self._ask_alone = ask_alone

    def settle(self, answer: Reply | TqError) -> None:
        if isinstance(answer, Submitted):
            self._share(answer)
        elif isinstance(answer, QueueFull | RateLimited) or (
            isinstance(answer, TqError) and answer.outcome is Outcome.REJECTED
        ):
            for spec, waiter in zip(self._request.tasks, self._waiters, strict=True):
                self._ask_alone(Submit((spec,)), waiter)
        else:
            for waiter in self._waiters:
                waiter.settle(_copy(answer))

    def _share(self, answer: Submitted) -> None:
        """To each its own part. New tasks in the same state share one: nothing in it is of one task only."""
        created_ms, states, existing = answer
        found = {one.position: (Existing(0, one.task_id, one.created_ms),) for one in existing}
        of_state: dict[bytes, Submitted] = {}
        for position, waiter in enumerate(self._waiters):
            state = states[position : position + 1]
            if position in found:
                own = Submitted(created_ms, state, found[position])
            elif state in of_state:
                own = of_state[state]
            else:
                own = of_state[state] = Submitted(created_ms, state)
            waiter.settle(own)


def _copy(answer: Reply | TqError) -> Reply | TqError:
    """Each waiter its own: an exception raised in two places would mix their tracebacks."""
    if isinstance(answer, TqError):
        return type(answer)(answer.text, retry_after_ms=answer.retry_after_ms, leader=answer.leader)
    return answer
