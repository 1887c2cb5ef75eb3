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
from tq.retry import EXPONENTIAL, RetryPolicy
from tq.task import CANCELLED, COMPLETED, DEAD_LETTER, METADATA_BYTES_MAX, EndedTask, TaskSpec

if TYPE_CHECKING:
    from tq.client.sync import Client

PROGRAM = (sys.executable, "-m", "tq.broker.adapters.stackduck.inspection")
BATCH_MAX = 200
QUEUE = "stackduck"
LEASE_MS = 1_800_000
ERROR, DELAY = "stackduck.error", "stackduck.delay"
DEFAULT_DELAY_S = 30
WAITING = "waiting"
STATE_OF_KIND = {"dead": DEAD_LETTER, "completed": COMPLETED, "cancelled": CANCELLED}
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
    is a task already stays as it is. What has ended keeps how and when: dead letters with their error, completed jobs with
    their result. It is forgotten when the broker's retention says so.
    """
    options = options_of(context)
    counts: Counter[str] = Counter()
    with changing(options) as client, progress("adopting", None) as advance:
        adopter = Adopter(client, counts, is_dry=dry_run)
        for batch in _batches(_lines("read", redis_url, database_url, counts)):
            adopter.take(batch)
            advance(len(batch))
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
    """Submits jobs that wait, imports those that have ended. Each step may be done again."""

    def __init__(self, client: Client, counts: Counter[str], *, is_dry: bool) -> None:
        self._client = client
        self._counts = counts
        self._is_dry = is_dry

    def take(self, jobs: Sequence[dict[str, Any]]) -> None:
        if self._is_dry:
            return
        from tq.client.batches import imports, submits

        for submit in submits([_waiting(job) for job in jobs if job["kind"] == WAITING]):
            existing = len(ask(self._client, submit, verbs.Submitted).existing)
            self._count(len(submit.tasks) - existing, existing)
        for request in imports([_ended(job) for job in jobs if job["kind"] != WAITING]):
            changed = ask(self._client, request, verbs.Changed)
            self._count(changed.done, changed.skipped)

    def _count(self, moved: int, existing: int) -> None:
        self._counts["moved"] += moved
        self._counts["already_there"] += existing


def _waiting(job: dict[str, Any]) -> TaskSpec:
    metadata = _metadata(job)
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
        # Those that are used up stay used up.
        max_retries=max(job["max_retries"] - job["retry_count"], 0),
        retry=_retry(job),
        metadata=metadata,
    )


def _ended(job: dict[str, Any]) -> EndedTask:
    state = STATE_OF_KIND[job["kind"]]
    return EndedTask(
        ids.from_text(job["task_id"]),
        job["task_type"],
        state,
        base64.b64decode(job["payload"]),
        base64.b64decode(job["result"]),
        job["error"],
        QUEUE,
        job["priority"],
        timeout_ms=LEASE_MS,
        max_retries=max(job["max_retries"], 0),
        retry=_retry(job),
        # Its last run failed as well, and no retry followed.
        failures=job["retry_count"] + (state == DEAD_LETTER),
        created_ms=job["created_ms"],
        started_ms=job["started_ms"],
        ended_ms=job["ended_ms"],
        metadata=_metadata(job),
    )


def _metadata(job: dict[str, Any]) -> dict[str, str]:
    return {DELAY: str(job["delay_s"])} if job["delay_s"] != DEFAULT_DELAY_S else {}


def _retry(job: dict[str, Any]) -> RetryPolicy:
    return RetryPolicy(EXPONENTIAL, max(job["delay_s"], 1) * 1000, 2_000, 3_600_000, jitter_permille=0)


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
