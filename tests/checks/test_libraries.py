"""Each foreign library is known in one place, so that replacing it is a change in one place."""

from __future__ import annotations

import re
import sys
import tomllib

from tests.checks.sources import ROOT, imports_of, name_of, sources

IMPORTERS: dict[str, tuple[str, ...]] = {
    "aio_pika": ("tq/client/rustq/amqp.py",),
    "aiormq": ("tq/client/rustq/",),
    "asyncpg": ("tq/broker/adapters/stackduck/",),
    "bcrypt": ("tq/admin/commands/keys.py", "tq/broker/checks.py"),
    "fastapi": ("tq/broker/api/rest/",),
    "google": ("tq/proto/", "tq/broker/api/grpc/"),
    "grpc": ("tq/proto/", "tq/broker/api/grpc/"),
    "grpc_health": ("tq/broker/api/grpc/door.py", "tq/broker/api/grpc/health.py"),
    "grpc_reflection": ("tq/broker/api/grpc/reflection.py",),
    "hiredis": ("tq/broker/adapters/stackduck/wire.py", "tq/client/rustq/redis_storage.py"),
    "h11": ("tq/broker/api/rest/http_connection.py",),
    "msgpack": (
        "tq/protocol/",
        "tq/broker/engine/entries.py",
        "tq/broker/replication/handshake.py",
        "tq/broker/replication/membership.py",
        "tq/broker/replication/messages.py",
        "tq/broker/replication/snapshot.py",
        "tq/worker/arguments.py",
        "tq/worker/lanes/pipe.py",
    ),
    "opentelemetry": ("tq/spans.py",),
    "pamqp": ("tq/client/rustq/",),
    "pydantic": ("tq/broker/api/rest/",),
    "pytest": ("tq/testing/__init__.py",),
    "prometheus_client": ("tq/exposition.py", "tq/broker/metrics/", "tq/worker/metrics.py"),
    "psutil": ("tq/worker/upkeep.py",),
    "redis": ("tq/client/rustq/redis_storage.py", "tq/broker/adapters/stackduck/"),
    "rich": ("tq/admin/",),
    "rocksdict": (
        "tq/broker/rocksdb/",
        "tq/broker/replication/journal.py",
        "tq/broker/verify.py",
        "tq/broker/digests.py",
    ),
    "starlette": ("tq/broker/api/rest/",),
    "structlog": ("tq/logs.py",),
    "typer": ("tq/admin/",),
    "uvicorn": ("tq/broker/api/rest/",),
    "uvloop": ("tq/broker/main.py", "tq/worker/main.py", "tq/worker/lanes/loops.py"),
    "websockets": ("tq/broker/api/rest/event_socket.py",),
    "yaml": ("tq/config/", "tq/admin/screen.py"),
}
"""library -> files, or directories, that may import it"""
DISTRIBUTIONS = {
    "aio_pika": "aio-pika",
    "aiormq": "aio-pika",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "h11": "uvicorn",
    "hiredis": "redis",
    "opentelemetry": "opentelemetry-api",
    "pamqp": "aio-pika",
    "prometheus_client": "prometheus-client",
    "pydantic": "fastapi",
    "starlette": "fastapi",
    "yaml": "pyyaml",
}
"""library -> the distribution it comes in, where the two differ"""
LOADED = {"pysyncobj": "tq/broker/replication/library.py"}
"""library -> where its audited source is loaded from, without an import statement"""
EXTRAS = ("otel", "rustq", "stackduck", "testing")
"""Optional dependencies that tq itself imports, when they are there."""


def foreign_imports() -> list[tuple[str, str]]:
    """(library, file) for every import of tq that is neither tq nor the standard library."""
    known = {*sys.stdlib_module_names, "tq"}
    return [
        (library, name_of(path))
        for path in sources("tq/*.py")
        for library in sorted({name.partition(".")[0] for name in imports_of(path)} - known)
    ]


def test_a_foreign_library_is_imported_only_where_it_is_at_home() -> None:
    strays = [
        (library, file)
        for library, file in foreign_imports()
        if not any(file.startswith(home) for home in IMPORTERS.get(library, ()))
    ]

    assert not strays


def test_every_permitted_library_and_home_is_in_use() -> None:
    found = foreign_imports()
    unused = [
        (library, home)
        for library, homes in IMPORTERS.items()
        for home in homes
        if not any(library == name and file.startswith(home) for name, file in found)
    ]

    assert not unused


def test_every_permitted_library_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (requirement for name in EXTRAS for requirement in project["optional-dependencies"][name])
    declared = [*project["dependencies"], *extras]
    names = {re.split(r"[^a-z0-9_-]", requirement)[0] for requirement in declared}

    assert names == {DISTRIBUTIONS.get(library, library) for library in IMPORTERS} | LOADED.keys()
    assert all(library in (ROOT / file).read_text() for library, file in LOADED.items())
