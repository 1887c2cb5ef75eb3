"""What plugs in by entry point: stores, engines and handlers of job types.

    [project.entry-points."tq.rustq.storages"]      name = scheme of the address, object = url -> JobStorage
    [project.entry-points."tq.rustq.engines"]       name = scheme, object = EngineOptions -> Engine
    [project.entry-points."tq.rustq.job_types"]     name = job type, object = its handler, async or plain

Each is loaded when it is needed. Redis, RabbitMQ and tq itself come the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from tq.client.rustq.engine import Engine, EngineOptions
from tq.client.rustq.storage import JobStorage
from tq.errors import BadRequest

STORAGES, ENGINES, JOB_TYPES = "tq.rustq.storages", "tq.rustq.engines", "tq.rustq.job_types"


def storage_of(url: str) -> JobStorage:
    """The store at this address. Raises BadRequest for a scheme that nothing is installed for."""
    make = cast("Callable[[str], JobStorage]", _load(STORAGES, _scheme(url), "job store"))
    return make(url)


def engine_of(options: EngineOptions) -> Engine:
    """What serves this queue. Both addresses name one system. Raises BadRequest."""
    schemes = {_scheme(url) for url in (options.redis_url, options.amqp_url) if url}
    installed = {each.name for each in entry_points(group=ENGINES)}
    named = schemes & installed
    if len(named) != 1 or ("tq" in named and schemes != named):
        raise BadRequest(
            f"a queue needs redis:// and amqp:// addresses, or tq:// alone; given were {', '.join(sorted(schemes)) or 'none'}"
        )
    make = cast("Callable[[EngineOptions], Engine]", _load(ENGINES, named.pop(), "engine"))
    return make(options)


def job_types() -> Iterator[tuple[str, Callable[[object], object]]]:
    """(job type, handler) of every installed package that brings some."""
    for each in sorted(entry_points(group=JOB_TYPES), key=lambda entry: entry.name):
        yield each.name, cast("Callable[[object], object]", _loaded(each))


def _load(group: str, scheme: str, what: str) -> object:
    found = entry_points(group=group)
    for each in found:
        if each.name == scheme:
            return _loaded(each)
    known = ", ".join(sorted({each.name for each in found})) or "none"
    raise BadRequest(f"there is no {what} for {scheme}:// addresses; installed are {known}")


def _loaded(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except ImportError as error:
        raise BadRequest(
            f"{entry.value} cannot be imported ({error}); the rustq library needs `pip install tq[rustq]`"
        ) from error


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise BadRequest("an address lacks its scheme, as in redis://, amqp:// or tq://")
    return scheme.lower()
