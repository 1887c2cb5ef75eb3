"""What every task of the demo must come to, and the comparison with what it did come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from examples.demo.tasks import Digest
from tq import Cause, TaskInfo
from tq.worker.handle import Handle

FAILING_RUNS = 3
"""`read_missing_file` may be retried twice."""


class Job(NamedTuple):
    """Everything that was submitted: the files by name, which must all complete, and what must not."""

    digests: Mapping[str, Handle[Digest]]
    failing: Sequence[Handle[Digest]]
    endless: Sequence[Handle[Digest]]

    @property
    def task_ids(self) -> list[str]:
        return [handle.id for handle in (*self.digests.values(), *self.failing, *self.endless)]


class Verdict(NamedTuple):
    """What became of the tasks.

    dead_lettered: of those that had to be. lost: tasks that did not end, or that the broker does not know.
    wrong: a sentence for each that ended otherwise than it must, or twice, or with another result.
    rerun: tasks that completed after an attempt of theirs had been lost.
    """

    total: int
    completed: int
    dead_lettered: int
    rerun: int
    lost: int
    wrong: Sequence[str]

    @property
    def is_good(self) -> bool:
        return not self.lost and not self.wrong and self.completed + self.dead_lettered == self.total


def judge(job: Job, ended: Mapping[str, TaskInfo], expected: Mapping[str, Digest]) -> Verdict:
    """ended: the tasks that have, by id. expected: each file's digest, worked out in this process."""
    digested = {name: ended[handle.id] for name, handle in job.digests.items() if handle.id in ended}
    failed = [ended[handle.id] for handle in job.failing if handle.id in ended]
    timed_out = [ended[handle.id] for handle in job.endless if handle.id in ended]
    problems = [
        *(_digest_problem(name, task, job.digests[name], expected[name]) for name, task in digested.items()),
        *(_failure_problem(task, [Cause.ERROR] * FAILING_RUNS) for task in failed),
        *(_failure_problem(task, [Cause.TIMEOUT]) for task in timed_out),
    ]
    return Verdict(
        total=len(job.task_ids),
        completed=sum(task.succeeded for task in digested.values()),
        dead_lettered=sum(task.status == "dead_letter" for task in (*failed, *timed_out)),
        rerun=sum(len(task.attempts) > 1 for task in digested.values()),
        lost=len(job.task_ids) - len(ended),
        wrong=[problem for problem in problems if problem],
    )


def _digest_problem(name: str, task: TaskInfo, handle: Handle[Digest], expected: Digest) -> str:
    if not task.succeeded:
        return f"{name} is {task.status}: {task.state_reason}"
    if sum(attempt.cause == Cause.DONE for attempt in task.attempts) != 1:
        return f"{name} was completed other than once: {task.attempts}"
    found = handle.result(timeout=10)
    return "" if found == expected else f"{name} gave {found}, should have given {expected}"


def _failure_problem(task: TaskInfo, causes: Sequence[Cause]) -> str:
    found = [Cause(attempt.cause) for attempt in task.attempts]
    # An attempt that died with the killed worker is no failure of the task's.
    charged = [cause for cause in found if cause in (Cause.ERROR, Cause.TIMEOUT)]
    if task.status == "dead_letter" and charged == causes:
        return ""
    return f"{task.task_type} is {task.status} after {[cause.name for cause in found]}"
