"""What a worker knows of one task type: the function, and how to run it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from tq.clock import SystemClock
from tq.errors import BadRequest
from tq.task import NAME_CHARS_MAX
from tq.worker.options import SubmitOptions

Kind = Literal["auto", "async", "thread", "process"]
TRIAL_ID = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Definition:
    """One task type.

    kind: as declared. lane: `async`, `thread` or `process`; a coroutine function outside of the async lane gets an
        event loop for itself.
    is_raw: the function takes the payload's bytes and returns the result's, instead of arguments and a value.
    aliases: older names under which tasks may still wait; a worker serves them too.
    """

    name: str
    function: Callable[..., object]
    kind: Kind
    lane: str
    is_coroutine: bool
    is_raw: bool
    options: SubmitOptions
    aliases: tuple[str, ...] = ()


def define(
    function: Callable[..., object],
    *,
    name: str | None,
    kind: Kind,
    is_raw: bool,
    options: SubmitOptions,
    aliases: tuple[str, ...] = (),
) -> Definition:
    """Check everything that can be checked now. Raises BadRequest naming the task."""
    name = name or default_name(function)
    for each in (name, *aliases):
        if not 1 <= len(each) <= NAME_CHARS_MAX:
            raise BadRequest(
                f"task name {each!r} has {len(each)} characters; 1 to {NAME_CHARS_MAX} are allowed"
            )
    is_coroutine = inspect.iscoroutinefunction(function)
    # A wrong timeout or priority is found here, at the decorator, instead of at the first send.
    try:
        options.task(name, b"", new_id=TRIAL_ID, clock=SystemClock())
    except BadRequest as error:
        raise BadRequest(f"task {name!r}: {error.text}") from error
    return Definition(
        name=name,
        function=function,
        kind=kind,
        lane=lane_of(name, kind, is_coroutine),
        is_coroutine=is_coroutine,
        is_raw=is_raw,
        options=options,
        aliases=aliases,
    )


def lane_of(name: str, kind: str, is_coroutine: bool) -> str:
    """auto: a coroutine function runs on the loop, a plain one in a thread. Raises BadRequest for what cannot be."""
    if kind not in get_args(Kind):
        raise BadRequest(f"task {name!r}: kind {kind!r} is not one of {', '.join(get_args(Kind))}")
    if kind == "auto":
        return "async" if is_coroutine else "thread"
    if kind == "async" and not is_coroutine:
        raise BadRequest(
            f"task {name!r}: kind 'async' needs an async def; a plain function would block the loop"
        )
    return kind


def in_lane_of(definition: Definition, kind: Kind) -> Definition:
    """The definition as a worker with this --kind runs it: what was declared `auto` follows, if it can."""
    if definition.kind != "auto" or kind == "auto" or (kind == "async" and not definition.is_coroutine):
        return definition
    return replace(definition, lane=kind)


def default_name(function: Callable[..., object]) -> str:
    """module.qualname. In a script run as the program, the script's own module name stands for `__main__`,
    so that a worker started with `tq-worker script:app` knows the task by the same name."""
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        path = getattr(main, "__file__", None)
        module = spec.name if spec else Path(path).stem if path else module
    return f"{module}.{function.__qualname__}"
