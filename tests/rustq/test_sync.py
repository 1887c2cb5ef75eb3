"""The blocking Queue and Worker: the same, from threads."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.rustq.places import Place
from tq.client.rustq import BackoffStrategy, Job, JobOptions, JobStatus, Queue, WorkerOptions
from tq.errors import BadRequest

WAIT_SECONDS_MAX = 90.0


def test_jobs_run_in_a_worker_that_blocks_until_a_handler_closes_it(place: Place) -> None:
    with Queue(place.name, place.redis_url, place.amqp_url) as queue:
        ids = queue.add_many("work", range(5))
        worker = queue.create_worker(WorkerOptions(concurrency=2))
        seen: list[object] = []

        def work(data: object) -> None:
            seen.append(data)
            if len(seen) == 5:
                worker.close()

        worker.process_sync("work", work)
        worker.run()

        assert sorted(seen) == list(range(5))  # type: ignore[type-var]
        assert [queue.get_job_status(job_id) for job_id in ids] == [JobStatus.COMPLETED] * 5
        metrics = worker.get_metrics()
        assert (metrics.completed, metrics.active_tasks, worker.get_available_slots()) == (5, 0, 2)


def test_a_worker_runs_in_one_thread_while_others_add_and_ask(place: Place) -> None:
    with Queue(place.name, place.redis_url, place.amqp_url) as queue:
        worker = queue.create_worker()

        async def work(_: object) -> None: ...

        worker.process_async("work", work)
        running = threading.Thread(target=worker.run)
        running.start()
        job_id = queue.add("work", {"a": 1}, JobOptions(backoff=BackoffStrategy.fixed("1s")))
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while queue.get_job_status(job_id) is not JobStatus.COMPLETED:
            assert time.monotonic() < deadline
        worker.close()
        running.join(WAIT_SECONDS_MAX)

        assert not running.is_alive()
        job = queue.get_job(job_id)
        assert isinstance(job, Job) and job.data == {"a": 1}


def test_a_closed_queue_says_so(place: Place) -> None:
    queue = Queue(place.name, place.redis_url, place.amqp_url)
    queue.close()
    queue.close()
    with pytest.raises(BadRequest, match="closed"):
        queue.add("work", 1)


PROGRAM = """
import asyncio, sys
from tq.client.rustq import Queue

async def hang(_):
    print("started", flush=True)
    await asyncio.Event().wait()

with Queue(*sys.argv[1:]) as queue:
    job_id = queue.add("hang", 1)
    worker = queue.create_worker()
    worker.process_async("hang", hang)
    try:
        worker.run()
    except KeyboardInterrupt:
        print(queue.get_job_status(job_id))
"""


def test_ctrl_c_hands_back_what_runs_and_ends_the_worker(place: Place) -> None:
    command = [sys.executable, "-c", PROGRAM, place.name, place.redis_url, place.amqp_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "started\n"
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=WAIT_SECONDS_MAX)

    assert (out, program.returncode) == ("Pending\n", 0)
