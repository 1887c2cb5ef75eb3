"""The functions that run jobs, by job type, and what becomes of one run."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from tq.client.rustq.job import Job
from tq.errors import BadRequest
from tq.task import NAME_CHARS_MAX

Decode: TypeAlias = Callable[[Any], Any]
"""From the JSON value to what the handler takes, such as a dataclass made of it. What it raises sets the job aside."""
AsyncHandler: TypeAlias = Callable[[Any], Awaitable[object]]
SyncHandler: TypeAlias = Callable[[Any], object]


class Ending(Enum):
    """How one run of a job ended."""

    DONE = "done"
    FAILED = "failed"
    """It may be tried again."""
    UNFIT = "unfit"
    """Trying again is useless."""
    STOPPED = "stopped"
    """The worker is going; it has not been run."""


class Outcome(NamedTuple):
    """error: with rustq's prefix, as `last_error` shows it."""

    ending: Ending
    error: str = ""


DONE = Outcome(Ending.DONE)
STOPPED = Outcome(Ending.STOPPED)


class Unfit(Exception):
    """The handler cannot take this payload, now or later."""


class Handler(NamedTuple):
    function: Callable[[Any], object]
    is_async: bool
    decode: Decode | None


class Handlers:
    """job type -> function. Those of a thread share a pool of as many threads as the worker has slots."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._threads: ThreadPoolExecutor | None = None

    def add(
        self, job_type: str, function: Callable[[Any], object], *, is_async: bool, decode: Decode | None
    ) -> None:
        """Raises BadRequest for a type that is there already or cannot be."""
        if not isinstance(job_type, str) or not 1 <= len(job_type) <= NAME_CHARS_MAX:
            raise BadRequest(
                f"the job type is {job_type!r:.80}; it is a text of 1 to {NAME_CHARS_MAX} characters"
            )
        if job_type in self._handlers:
            raise BadRequest(f"job type {job_type!r} has a handler already")
        self._handlers[job_type] = Handler(function, is_async, decode)

    @property
    def job_types(self) -> tuple[str, ...]:
        return tuple(self._handlers)

    @property
    def registered(self) -> Mapping[str, Handler]:
        return self._handlers

    def open(self, concurrency: int) -> None:
        """Make the threads, if a handler needs any."""
        if self._threads is None and not all(handler.is_async for handler in self._handlers.values()):
            self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="rustq")

    def close(self) -> None:
        """Let the threads go; one whose function still runs ends with it."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, job: Job) -> Outcome:
        """Run the job once, within its time. Raises CancelledError only when this run itself is cancelled."""
        handler = self._handlers.get(job.job_type)
        if handler is None:
            return Outcome(Ending.FAILED, f"Handler error: no handler for job type {job.job_type!r}")
        try:
            data = decoded(handler, job.payload)
        except Unfit as unfit:
            return Outcome(Ending.UNFIT, str(unfit))
        return await self._timed(handler, data, job.additions.timeout_ms)

    async def _timed(self, handler: Handler, data: object, timeout_ms: int) -> Outcome:
        timeout = asyncio.timeout(timeout_ms / 1000) if timeout_ms else None
        try:
            if timeout is None:
                await self._called(handler, data)
            else:
                async with timeout:
                    await self._called(handler, data)
        except TimeoutError as error:
            if timeout is not None and timeout.expired():
                return Outcome(Ending.FAILED, f"Handler error: it ran longer than {timeout_ms / 1000:g} s")
            return _failed(error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return _failed(error)  # the handler's own
        except BaseException as error:  # noqa: BLE001  whatever a handler raises, SystemExit too, is its job's end only
            return _failed(error)
        return DONE

    async def _called(self, handler: Handler, data: object) -> None:
        if handler.is_async:
            called = handler.function(data)
            assert isinstance(called, Awaitable)
            await called
            return
        assert self._threads is not None, "open() comes first"
        context = contextvars.copy_context()
        run = asyncio.get_running_loop().run_in_executor(
            self._threads, context.run, _guarded, handler.function, data
        )
        try:
            failure = await asyncio.shield(run)
        except asyncio.CancelledError:
            # A thread cannot be stopped. Its slot stays taken until the function returns, so that no more of them run
            # than there are slots; the job itself has been given up.
            run.add_done_callback(_forget)
            raise
        if failure is not None:
            raise failure


def decoded(handler: Handler, payload: bytes) -> object:
    """What the handler takes. Raises Unfit."""
    try:
        data = json.loads(payload)
        return data if handler.decode is None else handler.decode(data)
    except Exception as error:  # noqa: BLE001  a decoder is the user's, and raises what it likes
        raise Unfit(f"Deserialization error: {type(error).__name__}: {error}") from error


def _guarded(function: SyncHandler, data: object) -> BaseException | None:
    """The error as a value: a future would take StopIteration or SystemExit for something else."""
    try:
        function(data)
    except BaseException as error:  # noqa: BLE001  as above
        return error
    return None


def _forget(run: asyncio.Future[Any]) -> None:
    if not run.cancelled():
        run.exception()


def _failed(error: BaseException) -> Outcome:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  a handler's exception may fail in its own __str__
        text = type(error).__name__
    return Outcome(Ending.FAILED, f"Handler error: {text}")
