"""A submitted task in the hands of whoever sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

from tq.client.durations import Duration
from tq.worker.arguments import unpack_result

if TYPE_CHECKING:
    from tq.client.info import TaskInfo
    from tq.worker.app import App

R = TypeVar("R")


class Handle(Generic[R]):
    """One task, by id; R is what its function returns. Cheap, and as good in another process: `App.handle(id)`."""

    __slots__ = ("_app", "_id", "_is_raw")

    def __init__(self, app: App, task_id: str, *, is_raw: bool = False) -> None:
        """is_raw: the result stays bytes."""
        self._app = app
        self._id = task_id
        self._is_raw = is_raw

    @property
    def id(self) -> str:
        """UUID text."""
        return self._id

    def result(self, timeout: Duration | None = None) -> R:
        """Wait for the end and give the return value. timeout: None waits as long as it takes.

        Tuples come back as lists: results travel as msgpack.
        Raises TaskFailed with the task's error when it ended without a result, TimeoutError.
        """
        return self._value(self._app.client.wait_for_result(self._id, timeout))

    async def aresult(self, timeout: Duration | None = None) -> R:
        """`result` for async code."""
        return self._value(await self._app.async_client.wait_for_result(self._id, timeout))

    def info(self) -> TaskInfo:
        """Everything the broker tells of it. Raises TaskNotFound once it has been forgotten."""
        return self._app.client.get_task(self._id)

    async def ainfo(self) -> TaskInfo:
        """`info` for async code."""
        return await self._app.async_client.get_task(self._id)

    def status(self) -> str:
        """The outside word: pending, in_progress, completed, failed (a retry is due), dead_letter, ..."""
        return self.info().status

    async def astatus(self) -> str:
        """`status` for async code."""
        return (await self.ainfo()).status

    def cancel(self, *, force: bool = False) -> None:
        """End it. force: also when it runs already. Raises InvalidStatus when it runs (without force) or has ended."""
        self._app.client.cancel_task(self._id, force=force)

    async def acancel(self, *, force: bool = False) -> None:
        """`cancel` for async code."""
        await self._app.async_client.cancel_task(self._id, force=force)

    def _value(self, result: bytes) -> R:
        # The function's annotation is the promise; whether it is kept cannot be seen from bytes.
        return cast("R", result if self._is_raw else unpack_result(result))

    def __eq__(self, other: object) -> bool:
        return self._id == other._id if isinstance(other, Handle) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"Handle({self._id})"
