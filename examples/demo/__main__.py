"""The demo, top to bottom. Exits 0 only if every task ended as it must and every result is right."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, track
from rich.table import Table

from examples.demo.expected import Job, Verdict, judge
from examples.demo.tasks import app, digest_file, library_files, read_endless_file, read_missing_file
from lab.processes import (
    Process,
    ProcessFailed,
    broker_address,
    start_broker,
    start_worker,
    stop_on_signals,
    wait_until,
)
from tq import TaskInfo, TaskNotFound

ROOT = Path(__file__).parents[2]
FAILING_TASKS = 3
KILL_AFTER_SHARE = 0.3
"""So much of the job is done when the worker is killed."""
CONCURRENCY = 4
LOOK_SECONDS = 0.1
DEMO_SECONDS_MAX = 300.0


def main() -> int:
    """The exit code: 0 all is well, 1 it is not, 130 interrupted."""
    console = Console()
    directory = Path(tempfile.mkdtemp(prefix="tq-demo-"))
    verdict = None
    try:
        with stop_on_signals():
            verdict = run(console, directory)
    except KeyboardInterrupt:
        console.print("interrupted; everything the demo started was stopped")
        return 130
    finally:
        if verdict is not None and verdict.is_good:
            shutil.rmtree(directory)
        else:
            console.print(f"logs and data are kept in {directory}")
    for problem in verdict.wrong[:20]:
        console.print(f"[red]{problem}", highlight=False)
    print(
        f"demo: {verdict.total} tasks, {verdict.completed} completed, {verdict.dead_lettered} dead-lettered as expected, "
        f"{verdict.lost} lost, {len(verdict.wrong)} wrong"
    )
    return 0 if verdict.is_good else 1


def run(console: Console, directory: Path) -> Verdict:
    """Start everything, do the job, stop everything, compare."""
    with ExitStack() as started:
        broker = started.enter_context(start_broker(directory))
        address = broker_address(broker)

        def start_one(name: str) -> Process:
            options = ("examples.demo.tasks:app", "--concurrency", str(CONCURRENCY))
            worker = start_worker(directory, address, *options, name=name, python_path=ROOT)
            return started.enter_context(worker)

        def lose_one() -> None:
            victim.kill()
            replacement = start_one("worker-3")
            console.print(f"worker {victim.pid} was killed with SIGKILL; {replacement.pid} takes its place")

        _, victim = workers = start_one("worker-1"), start_one("worker-2")
        console.print(
            f"broker {broker.pid} at {address}, workers {', '.join(str(each.pid) for each in workers)}"
        )
        os.environ["TQ_BROKER_ADDR"] = address
        started.callback(app.close)
        start = time.monotonic()
        job = submit()
        follow(console, total=len(job.task_ids), at_share=KILL_AFTER_SHARE, then=lose_one)
        took = time.monotonic() - start
        ended = fetch(job)
        verdict = judge(
            job, ended, {name: digest_file(name) for name in track(job.digests, "comparing", console=console)}
        )
    show(console, ended, verdict, took=took)
    return verdict


def submit() -> Job:
    """One task for each file, and a few among them that cannot succeed."""
    endless = [read_endless_file.send()]
    failing = read_missing_file.send_many((f"missing-{number}.py",) for number in range(FAILING_TASKS))
    names = library_files()
    return Job(
        dict(zip(names, digest_file.send_many((name,) for name in names), strict=True)), failing, endless
    )


def follow(console: Console, *, total: int, at_share: float, then: Callable[[], None]) -> None:
    """Draw the bar until every task has ended or the time is up; at this share of the job, call then() once."""
    columns = (TextColumn("working"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    is_due = True
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=total)

        def is_done() -> bool:
            nonlocal is_due
            stats = app.client.stats()
            ended = stats.completed_count + stats.dead_letter_count
            progress.update(bar, completed=ended)
            if is_due and ended >= at_share * total:
                is_due = False
                then()
            return ended >= total

        with suppress(ProcessFailed):  # out of time: what has not ended is counted as lost
            wait_until(is_done, DEMO_SECONDS_MAX, what=lambda: "tasks that do not end", every=LOOK_SECONDS)


def fetch(job: Job) -> dict[str, TaskInfo]:
    """Every task of the job that has ended, by id."""
    found = {}
    for task_id in job.task_ids:
        with suppress(TaskNotFound):  # then it is counted as lost
            found[task_id] = app.client.get_task(task_id)
    return {task_id: task for task_id, task in found.items() if task.has_ended}


def show(console: Console, ended: Mapping[str, TaskInfo], verdict: Verdict, *, took: float) -> None:
    """What was done, by task type, and what it took."""
    table = Table("task type", "status", "tasks", "attempts", title=f"{len(ended):,} tasks in {took:.1f} s")
    kinds = Counter((task.task_type, task.status) for task in ended.values())
    attempts: Counter[tuple[str, str]] = Counter()
    for task in ended.values():
        attempts[task.task_type, task.status] += len(task.attempts)
    for kind, count in sorted(kinds.items()):
        table.add_row(*kind, f"{count:,}", f"{attempts[kind]:,}")
    console.print(table)
    console.print(f"{verdict.rerun} tasks were in the hands of the killed worker and ran again elsewhere")


if __name__ == "__main__":
    sys.exit(main())
