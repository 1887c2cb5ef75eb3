"""pysyncobj, pinned, checked, and cut off from clock, chance, network, disk and pickle.

Each node gets the library's main module as a module of its own, made from the very bytes whose hash was checked, and
with these of its names bound to something else: the clock, the source of chance, the journal, the serializer, the
poller and pickle. So nodes of one process do not share a clock, nothing of the imported package is changed, and a
path that would unpickle, write a dump or open a socket ends in an error.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any, NoReturn

from tq.broker.replication.ports import Chance, Monotonic
from tq.errors import Unsupported

VERSION = "0.3.17"
SOURCES = {
    "syncobj.py": "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4",
    "config.py": "fbbc7ff9f18e4d15a7fd563376e42f5bd192956879d4b810b056d5248b955698",
    "node.py": "e4a3f027cd8291f558334bb9c977e952f6b6989e7e1fa1588d3005ef0b990e2c",
    "fast_queue.py": "8477fe5fdf36d9766df933310d3d66ee953d1afc195b1e6482b3a1498fc517bd",
    "serializer.py": "4d39fde2f15000ad8f507ec229ebd4f6a86371b6f84d4dc1439a9cccd52857ee",
}
"""SHA-256 of the files whose code runs here, as audited. A newer release is read and simulated before this changes."""
NEVER = 2.0**60
"""Seconds and entries that do not come: what the library would do by itself then, it never does."""


def load_library(clock: Monotonic, chance: Chance, log: object) -> Any:
    """The library's main module, for one node. Raises Unsupported when it is not the audited one.

    log: what the library shall use as its journal.
    """
    directory = _directory()
    library = ModuleType("pysyncobj.syncobj")
    library.__package__ = "pysyncobj"
    library.__file__ = str(directory / "syncobj.py")
    exec(_code(directory), library.__dict__)
    names: dict[str, object] = {
        "monotonicTime": clock,
        "random": SimpleNamespace(random=chance),
        "time": SimpleNamespace(sleep=_refuse),
        "pickle": SimpleNamespace(loads=_refuse, dumps=_refuse, load=_refuse, dump=_refuse),
        "createPoller": lambda _: SimpleNamespace(poll=lambda _: None),
        "createJournal": lambda _: log,
        "Serializer": lambda *_: SimpleNamespace(
            checkSerializing=lambda: (library.SERIALIZER_STATE.NOT_SERIALIZING, None)
        ),
        "globalDnsResolver": lambda: SimpleNamespace(
            setTimeouts=lambda *_: None, setPreferredAddrFamily=lambda _: None
        ),
    }
    missing = names.keys() - library.__dict__.keys()
    if missing:
        raise Unsupported(f"pysyncobj has no {', '.join(sorted(missing))}; install version {VERSION}")
    library.__dict__.update(names)
    return library


def _directory() -> Path:
    spec = find_spec("pysyncobj")
    if spec is None or spec.origin is None:
        raise Unsupported(f"a cluster needs pysyncobj {VERSION}, which is not installed")
    return Path(spec.origin).parent


@lru_cache(maxsize=1)
def _code(directory: Path) -> CodeType:
    """The checked source, compiled once: a simulation starts thousands of nodes."""
    for name, expected in SOURCES.items():
        content = (directory / name).read_bytes()
        found = sha256(content).hexdigest()
        if found != expected:
            raise Unsupported(
                f"{directory / name} is not that of pysyncobj {VERSION} (SHA-256 {found[:12]}..., not "
                f"{expected[:12]}...): tq's replication is audited against that release only; install it"
            )
    return compile((directory / "syncobj.py").read_bytes(), str(directory / "syncobj.py"), "exec")


def _refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("the Raft library took a path that is closed: pickle, a dump or a sleep")
