"""stackduck adopt, stackduck check: take a StackDuck deployment over into a broker, and look for what is wrong in one.

Only the broker's code reads StackDuck's stores, in a process of its own: `tq.broker.adapters.stackduck.inspection`.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tq import ids, verbs
from tq.admin import words
from tq.admin.layout import Facts, Lines, Part
from tq.admin.progress import progress
from tq.admin.screen import Result, show
from tq.admin.session import ask, changing, options_of, refuse, refuse_watch
from tq.errors import InvalidStatus
from tq.retry import DELAY_MS_MAX, EXPONENTIAL, RetryPolicy
from tq.task import METADATA_BYTES_MAX, TaskSpec

if TYPE_CHECKING:
    from tq.client.sync import Client

PROGRAM = (sys.executable, "-m", "tq.broker.adapters.stackduck.inspection")
BATCH_MAX = 200
QUEUE, HISTORY = "stackduck", "stackduck-history"
LEASE_MS = 1_800_000
STATUS, ERROR, DELAY = "stackduck.status", "stackduck.error", "stackduck.delay"
DEFAULT_DELAY_S = 30
WAITING, DEAD = "waiting", "dead"
FAR_MS = DELAY_MS_MAX
MEANINGS = {
    "queue": "jobs that wait",
    "running": "jobs that somebody ran; they run again",
    "orphan_rows": "rows that wait and that no queue knows",
    "redis_only": "jobs without a row",
    "dead_letters": "dead letters",
    "history": "jobs that have completed or were cancelled",
    "unreadable": "members that are no jobs; left",
    "moved": "jobs that are tasks now",
    "already_there": "jobs that were tasks before",
}
RedisUrl = Annotated[
    str, typer.Option("--redis-url", envvar="TQ_STACKDUCK_REDIS_URL", metavar="U", help="Its Redis.")
]
DatabaseUrl = Annotated[
    str,
    typer.Option("--database-url", envvar="TQ_STACKDUCK_DATABASE_URL", metavar="U", help="Its PostgreSQL."),
]


def adopt(
    context: typer.Context,
    redis_url: RedisUrl,
    database_url: DatabaseUrl,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count everything, change nothing.")] = False,
) -> None:
    """Make every job of a StackDuck deployment a task of the broker, with its id.

    Stop StackDuck's servers first; its stores are read and left as they are. May be interrupted and run again: a job that
    is a task already stays as it is. Dead letters are dead letters here too; what had completed is kept as history, as
    cancelled tasks of the queue stackduck-history.
    """
    options = options_of(context)
    counts: Counter[str] = Counter()
    with changing(options) as client, progress("adopting", None) as advance:
        adopter = Adopter(client, counts, is_dry=dry_run)
        for batch in _batches(_lines("read", redis_url, database_url, counts)):
            adopter.take(batch)
            advance(len(batch))
        adopter.finish()
    shown = {name: counts[name] for name in MEANINGS}
    facts = [(name, f"{words.number(shown[name]):>8}  {meaning}") for name, meaning in MEANINGS.items()]
    parts: list[Part] = [Facts(facts)]
    if dry_run:
        parts.insert(0, Lines("nothing was changed", ""))
    show(Result({"dry_run": dry_run, **shown}, parts), options)


def check(context: typer.Context, redis_url: RedisUrl, database_url: DatabaseUrl) -> None:
    """Compare StackDuck's Redis with its PostgreSQL and name what one has and the other has not. Exit code 1 if anything."""
    options = options_of(context)
    refuse_watch(options)
    counts: Counter[str] = Counter()
    document: dict[str, Any] = {}
    for line in _lines("check", redis_url, database_url, counts):
        document = line
    findings: dict[str, list[str]] = document.get("findings", {})
    named = [f"{name.replace('_', ' ')}: {job_id}" for name, found in findings.items() for job_id in found]
    named += [f"unreadable: {text}" for text in document.get("unreadable", [])]
    facts = [(name.replace("_", " "), words.number(number)) for name, number in counts.items()]
    shown = {**counts, "findings": findings, "unreadable_members": document.get("unreadable", [])}
    show(Result(shown, [Facts(facts), *(Lines(text, "") for text in named)]), options)
    if named:
        raise refuse(f"{len(named)} findings; a broker on these stores puts them right")


class Adopter:
    """Submits jobs, and ends those that have ended. Each step may be done again."""

    def __init__(self, client: Client, counts: Counter[str], *, is_dry: bool) -> None:
        self._client = client
        self._counts = counts
        self._is_dry = is_dry
        self._grave = b""

    def take(self, jobs: Sequence[dict[str, Any]]) -> None:
        if self._is_dry:
            return
        self._submit([_waiting(job) for job in jobs if job["kind"] == WAITING])
        dead = [job for job in jobs if job["kind"] == DEAD]
        if dead:
            grave = self._dug()
            self._submit([_waiting(job)._replace(dependencies=(grave,), schedule_at_ms=0) for job in dead])
        past = [job for job in jobs if job["kind"] not in (WAITING, DEAD)]
        self._submit([_past(job) for job in past])
        self._cancel([ids.from_text(job["task_id"]) for job in past])

    def finish(self) -> None:
        """Without what they depended on the dead letters can be retried."""
        if self._grave:
            ask(self._client, verbs.ForgetMany((self._grave,)), verbs.Changed)

    def _dug(self) -> bytes:
        """A cancelled task: what depends on it is a dead letter at once, and nobody can run it before."""
        if not self._grave:
            self._grave = ids.new_id()
            spec = TaskSpec(self._grave, "stackduck-adopt", queue=HISTORY, delay_ms=FAR_MS)
            ask(self._client, verbs.Submit((spec,)), verbs.Submitted)
            ask(self._client, verbs.Cancel(self._grave), verbs.TaskRef)
        return self._grave

    def _submit(self, specs: Sequence[TaskSpec]) -> None:
        if not specs:
            return
        from tq.client.batches import submits

        for request in submits(list(specs)):
            existing = len(ask(self._client, request, verbs.Submitted).existing)
            self._counts["already_there"] += existing
            self._counts["moved"] += len(request.tasks) - existing

    def _cancel(self, task_ids: Sequence[bytes]) -> None:
        for task_id in task_ids:
            try:
                ask(self._client, verbs.Cancel(task_id), verbs.TaskRef)
            except InvalidStatus:
                continue


def _waiting(job: dict[str, Any]) -> TaskSpec:
    metadata = {}
    if job["delay_s"] != DEFAULT_DELAY_S:
        metadata[DELAY] = str(job["delay_s"])
    if job["error"]:
        metadata[ERROR] = job["error"][: METADATA_BYTES_MAX // 8]
    return TaskSpec(
        ids.from_text(job["task_id"]),
        job["task_type"],
        base64.b64decode(job["payload"]),
        QUEUE,
        job["priority"],
        schedule_at_ms=max(job["schedule_at_ms"], 0),
        timeout_ms=LEASE_MS,
        # Those that are used up stay used up; a dead letter that is retried has all of them again.
        max_retries=max(job["max_retries"] - (job["retry_count"] if job["kind"] == WAITING else 0), 0),
        retry=RetryPolicy(EXPONENTIAL, max(job["delay_s"], 1) * 1000, 2_000, 3_600_000, jitter_permille=0),
        metadata=metadata,
    )


def _past(job: dict[str, Any]) -> TaskSpec:
    spec = _waiting(job)
    metadata = {**spec.metadata, STATUS: job["status"]}
    return spec._replace(queue=HISTORY, schedule_at_ms=0, delay_ms=FAR_MS, metadata=metadata)


def _lines(command: str, redis_url: str, database_url: str, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """What the program says: jobs, or the last line of a check. The last line's counts are added to `counts`."""
    env = os.environ | {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with subprocess.Popen(
        [*PROGRAM, command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as tool:
        assert tool.stdout is not None
        assert tool.stderr is not None
        for line in tool.stdout:
            said = json.loads(line)
            if said["event"] == "refused":
                raise refuse(said["text"])
            if said["event"] == "done":
                counts.update(said["counts"])
                if command == "check":
                    yield said
                return
            yield said
        last = tool.stderr.read().strip().splitlines()[-1:]
        raise refuse(
            last[0] if last else "the stores could not be read; adopting needs `pip install tq[stackduck]`"
        )


def _batches(lines: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for line in lines:
        batch.append(line)
        if len(batch) == BATCH_MAX:
            yield batch
            batch = []
    if batch:
        yield batch
