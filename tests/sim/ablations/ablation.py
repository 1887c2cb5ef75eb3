"""One mitigation switched off, in the code as it runs and for the length of a block, and what must notice it."""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.sim.consensus import Make
from tests.sim.hardened import HARDENED
from tests.sim.schedule import Fault, Options, Schedule, from_seed

ABSENT = object()
"""In the place of a method: it is taken away, and what it overrode is there again."""


class Change(NamedTuple):
    """owner: a class or a module. other: what takes the attribute's place."""

    owner: Any
    attribute: str
    other: Any


class Seeds(NamedTuple):
    """Short runs of which one must violate `sign`; tried in this order.

    kinds: of faults. options: beside those of the seed. faults: these instead of those of the seed.
    """

    sign: str
    kinds: tuple[str, ...]
    seeds: tuple[int, ...]
    options: dict[str, Any] = {}  # noqa: RUF012  never written to
    seconds: float = 7.0
    faults: tuple[Fault, ...] = ()

    def schedules(self) -> Iterator[Schedule]:
        for seed in self.seeds:
            schedule = from_seed(seed, seconds=self.seconds, kinds=self.kinds)
            options = schedule.options._replace(**self.options)
            yield schedule._replace(options=options, faults=self.faults or schedule.faults)


class Scene(NamedTuple):
    """A test, or a scene of `scenes`, that holds with the mitigation and must not hold without it.

    by: what shows it, where that is an error that could also come from a change that went wrong by itself.
    """

    test: Callable[..., None]
    arguments: dict[str, Any] = {}  # noqa: RUF012  never written to
    by: type[Exception] | None = None


class Ablation(NamedTuple):
    """codes: of the mitigations it takes away; more than one where one covers for the other."""

    codes: str
    name: str
    changes: tuple[Change, ...]
    trap: Seeds | Scene

    def make(self) -> Make:
        """A kind of node without it."""

        @contextmanager
        def during(options: Options) -> Iterator[None]:
            with HARDENED.during(options), self.in_force():
                yield

        return HARDENED._replace(name=self.name, during=during)

    @contextmanager
    def in_force(self) -> Iterator[None]:
        before = [(owner, name, vars(owner)[name]) for owner, name, _ in self.changes]
        for owner, name, other in self.changes:
            if other is ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, other)
        try:
            yield
        finally:
            for owner, name, original in before:
                setattr(owner, name, original)


def edited(owner: Any, attribute: str, *edits: tuple[str, str]) -> Change:
    """The owner's function with pieces of its text replaced.

    edits: (what stands there once, what stands there instead). Raises LookupError when the text is another one by
    now: then the mitigation has moved, and this must follow it.
    """
    found = vars(owner)[attribute]
    function: Any = found.fget if isinstance(found, property) else getattr(found, "__wrapped__", found)
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        if source.count(old) != 1:
            raise LookupError(f"{attribute} has {source.count(old)} times {old!r}")
        source = source.replace(old, new)
    names: dict[str, Any] = {}
    code = compile(source, f"<{attribute} edited>", "exec", __future__.annotations.compiler_flag)
    exec(code, function.__globals__, names)
    return Change(owner, attribute, names[attribute])
