"""What `@app.task` makes of a function: called, it runs here; sent, it becomes a task."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, Unpack, cast

from tq.client.task import Task
from tq.errors import BadRequest
from tq.worker.arguments import pack_arguments
from tq.worker.definition import Definition
from tq.worker.handle import Handle
from tq.worker.options import OptionChanges, SubmitOptions

if TYPE_CHECKING:
    from tq.worker.app import App

P = ParamSpec("P")
C = TypeVar("C")
R = TypeVar("R")


class Prepared(Generic[R]):
    """A call that is ready to go: arguments checked and encoded, id made. `App.submit_many` sends many at once."""

    __slots__ = ("is_raw", "task")

    def __init__(self, task: Task, *, is_raw: bool) -> None:
        self.task = task
        self.is_raw = is_raw


class Sender(Generic[P, R]):
    """A function's sending side, with options; `.options` gives another one. Immutable."""

    def __init__(self, app: App, definition: Definition, options: SubmitOptions) -> None:
        self._app = app
        self._definition = definition
        self._options = options
        self._signature = inspect.signature(definition.function)

    def options(self, **changes: Unpack[OptionChanges]) -> Sender[P, R]:
        """The same with these options changed; `SubmitOptions` says what each means."""
        return Sender(self._app, self._definition, self._options.merged(changes))

    def send(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Submit the call; returns once the broker has it safe.

        Raises BadRequest for arguments that do not fit the signature or cannot travel, PayloadTooLarge, QueueFull,
        BrokerUnavailable (it did not happen), OutcomeUnknown (it may have: send again with the same task_id).
        """
        return self._app.submit_many([self._prepare(args, kwargs)])[0]

    delay = send
    """For those who come from Celery."""

    async def asend(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """`send` for async code."""
        return (await self._app.asubmit_many([self._prepare(args, kwargs)]))[0]

    def prepare(self, *args: P.args, **kwargs: P.kwargs) -> Prepared[R]:
        """Check and encode a call without sending it; for `App.submit_many`. Raises BadRequest, PayloadTooLarge."""
        return self._prepare(args, kwargs)

    def send_many(self, calls: Iterable[tuple[object, ...]]) -> list[Handle[R]]:
        """Submit one task per tuple of positional arguments, all or none, in one round trip.

        For keyword arguments, or different functions at once: `app.submit_many([f.prepare(...), ...])`.
        """
        return self._app.submit_many([self._prepare(args, {}) for args in calls])

    async def asend_many(self, calls: Iterable[tuple[object, ...]]) -> list[Handle[R]]:
        """`send_many` for async code."""
        return await self._app.asubmit_many([self._prepare(args, {}) for args in calls])

    def _prepare(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Prepared[R]:
        name = self._definition.name
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise BadRequest(f"{name}{self._signature}: {error}") from None
        payload = cast("bytes", args[0]) if self._definition.is_raw else pack_arguments(args, kwargs, of=name)
        task = self._options.task(name, payload, new_id=self._app.new_id(), clock=self._app.clock)
        return Prepared(task, is_raw=self._definition.is_raw)


class TaskFunction(Sender[P, R], Generic[P, C, R]):
    """A function that is a task. P: its parameters. C: what calling it gives. R: what its task results in; for an
    `async def`, C is the coroutine and R what it returns."""

    def __init__(self, app: App, definition: Definition) -> None:
        super().__init__(app, definition, definition.options)
        functools.update_wrapper(cast("Callable[..., object]", self), definition.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        """Run it here and now, without any broker."""
        return cast("C", self._definition.function(*args, **kwargs))

    @property
    def name(self) -> str:
        """The task type."""
        return self._definition.name

    @property
    def definition(self) -> Definition:
        """How a worker runs it."""
        return self._definition

    def __repr__(self) -> str:
        return f"<task {self.name}>"
