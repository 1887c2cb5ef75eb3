"""What a Queue and its Worker do, the same on a rustq deployment and on a tq broker."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid

import pytest

from tests.rustq.places import WAIT_SECONDS_MAX, Place, Seen, ended, serving, until
from tq.client.rustq import BackoffStrategy, Job, JobOptions, JobStatus, WorkerOptions
from tq.errors import BadRequest

QUICK = BackoffStrategy.fixed(0.02)


def test_a_job_that_was_added_is_pending_until_it_has_run_and_completed_then(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            job_id = await queue.add("send", {"to": "a@b.c", "text": "ä😀"})
            waiting = await queue.get_job(job_id)
            assert waiting is not None and waiting.status is JobStatus.PENDING
            assert waiting.data == {"to": "a@b.c", "text": "ä😀"}
            seen = Seen()

            async def send(data: object) -> None:
                await seen(data)

            async with serving(queue, send=send):
                await ended(queue, job_id)

            assert seen.data == [{"to": "a@b.c", "text": "ä😀"}]
            after = await queue.get_job(job_id)
            assert after is not None and after.status is JobStatus.COMPLETED

    asyncio.run(scene())


def test_nobody_knows_a_job_that_was_never_added(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            assert await queue.get_job(str(uuid.uuid4())) is None
            assert await queue.get_job_status(str(uuid.uuid4())) is None

    asyncio.run(scene())


def test_a_failing_job_runs_again_until_its_retries_are_spent_and_then_has_failed(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            job_id = await queue.add("snap", 1, JobOptions(max_retries=2, backoff=QUICK))
            runs: list[object] = []

            async def fail(data: object) -> None:
                runs.append(data)
                raise ValueError("it is broken")

            async with serving(queue, snap=fail):
                await ended(queue, job_id, JobStatus.FAILED)

            job = await queue.get_job(job_id)
            assert job is not None
            assert len(runs) == 3
            assert job.retry_count == 2
            assert "Handler error: ValueError: it is broken" in str(job.last_error).replace("\n", " ")

    asyncio.run(scene())


def test_a_job_that_fails_once_completes_at_its_second_attempt(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            job_id = await queue.add("flaky", 1, JobOptions(backoff=QUICK))
            attempts = iter((False, True))

            async def flaky(_: object) -> None:
                if not next(attempts):
                    raise RuntimeError("not yet")

            async with serving(queue, flaky=flaky) as worker:
                await ended(queue, job_id)
            assert worker.get_metrics().retried == 1

    asyncio.run(scene())


@pytest.mark.parametrize(("attempts", "max_retries", "runs"), [(1, 3, 1), (2, 3, 2), (9, 1, 2), (None, 0, 1)])
def test_attempts_and_max_retries_are_both_obeyed(
    place: Place, attempts: int | None, max_retries: int, runs: int
) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            options = JobOptions(attempts=attempts, max_retries=max_retries, backoff=QUICK)
            job_id = await queue.add("snap", 1, options)
            count = 0

            async def fail(_: object) -> None:
                nonlocal count
                count += 1
                raise ValueError

            async with serving(queue, snap=fail):
                await ended(queue, job_id, JobStatus.FAILED)
            assert count == runs

    asyncio.run(scene())


def test_the_backoff_of_the_options_decides_when_a_job_runs_again(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            options = JobOptions(max_retries=2, backoff=BackoffStrategy.custom([0.1, 0.3]))
            job_id = await queue.add("snap", 1, options)
            at: list[float] = []

            async def fail(_: object) -> None:
                at.append(time.monotonic())
                raise ValueError

            async with serving(queue, snap=fail):
                await ended(queue, job_id, JobStatus.FAILED)
            assert at[1] - at[0] >= 0.1
            assert at[2] - at[1] >= 0.3

    asyncio.run(scene())


def test_a_delayed_job_does_not_start_before_its_time(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            seen = Seen()

            async def note(data: object) -> None:
                await seen((data, time.monotonic()))

            added = time.monotonic()
            async with serving(queue, note=note):
                await queue.add("note", "late", JobOptions(delay="400ms"))
                await queue.add("note", "now")
                at: dict[str, float] = dict(await seen.count(2))  # type: ignore[arg-type]
            assert at.keys() == {"now", "late"}
            assert at["late"] - added >= 0.4

    asyncio.run(scene())


def test_higher_priorities_run_first(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            for priority in ("low", "normal", "high"):
                await queue.add("note", priority, JobOptions(priority=priority))
            await queue.add("note", "lowest", JobOptions(priority="low"))
            seen = Seen()

            async def note(data: object) -> None:
                await seen(data)

            async with serving(queue, WorkerOptions(concurrency=1), note=note):
                await seen.count(4)
            assert seen.data == ["high", "normal", "low", "lowest"]

    asyncio.run(scene())


def test_a_job_past_its_timeout_is_stopped_and_has_failed(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            job_id = await queue.add("hang", 1, JobOptions(timeout=0.1, max_retries=0))
            stopped = asyncio.Event()

            async def hang(_: object) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    stopped.set()

            async with serving(queue, hang=hang):
                await ended(queue, job_id, JobStatus.FAILED)
                await asyncio.wait_for(stopped.wait(), WAIT_SECONDS_MAX)

    asyncio.run(scene())


def test_a_plain_handler_runs_in_a_thread_and_an_async_one_on_the_callers_loop(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            threads: dict[str, int] = {}

            def plain(_: object) -> None:
                threads["plain"] = threading.get_ident()

            async def on_loop(_: object) -> None:
                threads["async"] = threading.get_ident()

            ids = [await queue.add("plain", 1), await queue.add("on_loop", 1)]
            async with serving(queue, plain=plain, on_loop=on_loop):
                for job_id in ids:
                    await ended(queue, job_id)
            assert threads["async"] == threading.get_ident() != threads["plain"]

    asyncio.run(scene())


def test_no_more_jobs_run_at_once_than_concurrency_says(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            await queue.add_many("work", range(12))
            running, most, done = 0, 0, Seen()

            async def work(data: object) -> None:
                nonlocal running, most
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                running -= 1
                await done(data)

            async with serving(queue, WorkerOptions(concurrency=3, num_workers=2), work=work) as worker:
                await done.count(12)
                assert worker.get_metrics().max_concurrency == 3
            assert most <= 3
            assert sorted(done.data) == list(range(12))  # type: ignore[type-var]

    asyncio.run(scene())


def test_close_lets_running_jobs_finish_and_takes_no_more(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            ids = await queue.add_many("work", range(3))
            started, go = Seen(), asyncio.Event()

            async def work(data: object) -> None:
                await started(data)
                await go.wait()

            async with serving(queue, WorkerOptions(concurrency=1), work=work) as worker:
                await started.count(1)
                worker.close()
                go.set()
            statuses = [await queue.get_job_status(job_id) for job_id in ids]
            assert statuses.count(JobStatus.COMPLETED) == 1
            assert statuses.count(JobStatus.PENDING) == 2
            assert len(started.data) == 1

    asyncio.run(scene())


def test_what_runs_past_the_grace_is_handed_back_and_runs_elsewhere(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            job_id = await queue.add("work", 1)
            started = Seen()

            async def hang(data: object) -> None:
                await started(data)
                await asyncio.Event().wait()

            async with serving(queue, WorkerOptions(grace=0.05), work=hang):
                await started.count(1)
            assert await queue.get_job_status(job_id) is JobStatus.PENDING
            second = Seen()

            async def work(data: object) -> None:
                await second(data)

            async with serving(queue, work=work):
                await ended(queue, job_id)
            assert second.data == [1]

    asyncio.run(scene())


def test_adding_an_id_again_adds_nothing(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            job_id = str(uuid.uuid4())
            assert await queue.add("work", 1, job_id=job_id) == job_id
            assert await queue.add("work", 1, job_id=job_id) == job_id
            last = await queue.add("work", 2)
            seen = Seen()

            async def work(data: object) -> None:
                await seen(data)

            async with serving(queue, WorkerOptions(concurrency=1), work=work) as worker:
                await ended(queue, last)
                await ended(queue, job_id)

                async def all_answered() -> bool:
                    return worker.get_metrics().active_tasks == 0

                await until(all_answered)
            assert sorted(seen.data) == [1, 2]  # type: ignore[type-var]

    asyncio.run(scene())


def test_a_payload_that_the_decoder_refuses_is_set_aside_without_a_retry(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            job_id = await queue.add("send", {"wrong": 1})
            worker = queue.create_worker()

            async def send(_: object) -> None:
                raise AssertionError("it must not run")

            worker.process_async("send", send, decode=lambda data: data["to"])
            running = asyncio.create_task(worker.run())
            await ended(queue, job_id, JobStatus.FAILED)
            worker.close()
            await running
            job = await queue.get_job(job_id)
            assert isinstance(job, Job)
            assert worker.get_metrics().retried == 0
            assert worker.get_metrics().set_aside == 1
            assert "Deserialization error: KeyError" in str(job.last_error)

    asyncio.run(scene())


def test_a_worker_without_handlers_and_one_that_runs_twice_are_refused(place: Place) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            worker = queue.create_worker()
            with pytest.raises(BadRequest, match="no handlers"):
                await worker.run()

            async def work(_: object) -> None: ...

            worker.process_async("work", work)
            with pytest.raises(BadRequest, match="has a handler already"):
                worker.process_sync("work", print)
            with pytest.raises(BadRequest, match="process_sync"):
                worker.process_async("other", print)  # type: ignore[arg-type]
            worker.close()
            await worker.run()
            with pytest.raises(BadRequest, match="runs once"):
                await worker.run()

    asyncio.run(scene())


@pytest.mark.parametrize("data", [{1, 2}, float("nan"), b"bytes"], ids=["set", "nan", "bytes"])
def test_data_that_json_cannot_say_is_refused(place: Place, data: object) -> None:
    async def scene() -> None:
        async with place.queue() as queue:
            with pytest.raises(BadRequest, match="must be JSON"):
                await queue.add("work", data)

    asyncio.run(scene())
