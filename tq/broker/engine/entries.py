"""Commands and rows to bytes and back.

An entry is msgpack `[format, now_ms, [[code, *fields], ...]]`; a row's value is the machine's record as msgpack, or
the bytes themselves for payloads, results and ids. Formats are versioned: an entry of a newer one is refused with a
clear error, never guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack

from tq.broker.machine.commands import (
    CODE_OF,
    Command,
    ExtendLeases,
    ForgetTasks,
    ImportTasks,
    OpenSession,
    SettleTasks,
    SubmitTasks,
)
from tq.broker.machine.effects import Record
from tq.broker.machine.heads import EndedRecord
from tq.broker.storage import keys
from tq.broker.tables import Table
from tq.errors import StoreDamaged
from tq.retry import RetryPolicy
from tq.task import Attempt, Counters, EndedTask, TaskSpec
from tq.verbs import SettleItem

ENTRY_FORMAT = 1

_pack = msgpack.Packer(autoreset=True).pack
_CLASS_OF_CODE: dict[int, Any] = {code: kind for kind, code in CODE_OF.items()}


def pack_entry(now_ms: int, commands: Sequence[Command]) -> bytes:
    """One entry for the log. now_ms: the stamp every command in it is applied at."""
    packed: bytes = _pack(
        (ENTRY_FORMAT, now_ms, [(CODE_OF[type(command)], *command) for command in commands])
    )
    return packed


def unpack_entry(data: bytes) -> tuple[int, list[Command]]:
    """(now_ms, commands). Raises StoreDamaged for what this release cannot read."""
    version, now_ms, rows = _unpack(data)
    if version != ENTRY_FORMAT:
        raise StoreDamaged(
            f"a log entry has format {version}, and this release reads {ENTRY_FORMAT}; start the release that wrote it"
        )
    return now_ms, [_command_of(code, fields) for code, *fields in rows]


def _command_of(code: int, fields: list[Any]) -> Command:
    kind = _CLASS_OF_CODE.get(code)
    if kind is None:
        raise StoreDamaged(
            f"a log entry holds command {code}, which this release does not know; upgrade this node"
        )
    revive = _REVIVE.get(kind)
    command: Command = kind(*fields) if revive is None else revive(fields)
    return command


def _revive_submit(fields: list[Any]) -> SubmitTasks:
    return SubmitTasks(tuple(_spec_of(task) for task in fields[0]))


def _spec_of(fields: list[Any]) -> TaskSpec:
    fields[9] = retry_of(fields[9])
    fields[10] = tuple(fields[10])
    return TaskSpec._make(fields)


def _revive_import(fields: list[Any]) -> ImportTasks:
    return ImportTasks(tuple(_ended_of(task) for task in fields[0]))


def _ended_of(fields: list[Any]) -> EndedTask:
    fields[10] = retry_of(fields[10])
    return EndedTask._make(fields)


def _revive_open(fields: list[Any]) -> OpenSession:
    command = OpenSession(*fields)
    return command._replace(
        queues=tuple(command.queues),
        task_types=tuple(command.task_types),
        holds=tuple((task_id, token) for task_id, token in command.holds),
    )


_REVIVE: dict[type[Command], Callable[[list[Any]], Command]] = {
    SubmitTasks: _revive_submit,
    OpenSession: _revive_open,
    SettleTasks: lambda fields: SettleTasks(fields[0], tuple(SettleItem._make(item) for item in fields[1])),
    ExtendLeases: lambda fields: ExtendLeases(
        fields[0], tuple((item[0], item[1], item[2]) for item in fields[1])
    ),
    ForgetTasks: lambda fields: ForgetTasks(tuple(fields[0])),
    ImportTasks: _revive_import,
}


def retry_of(fields: Any) -> RetryPolicy | None:
    return None if fields is None else RetryPolicy._make((*fields[:5], tuple(fields[5])))


# ---------------------------------------------------------------- rows

_KEY_OF: dict[Table, Callable[[Any], bytes]] = {
    Table.META: keys.name_key,
    Table.LIVE: keys.seq_key,
    Table.ENDED: bytes,
    Table.PAYLOAD: keys.seq_key,
    Table.EXTRA: keys.seq_key,
    Table.RESULT: keys.seq_key,
    Table.ATTEMPT: lambda key: keys.attempt_key(*key),
    Table.INDEX: lambda key: keys.index_key(*key),
    Table.KIND: keys.kind_key,
    Table.SESSION: bytes,
    Table.UNIQUE: keys.name_key,
    Table.QUEUE: keys.name_key,
    Table.METER: keys.minute_key,
    Table.COUNT: keys.kind_key,
}
_KEY_FROM: dict[Table, Callable[[bytes], Any]] = {
    Table.META: keys.name_of,
    Table.LIVE: keys.seq_of,
    Table.KIND: keys.kind_of,
    Table.SESSION: bytes,
    Table.UNIQUE: keys.name_of,
    Table.QUEUE: keys.name_of,
    Table.METER: keys.minute_of,
    Table.COUNT: keys.kind_of,
}


def pack_writes(writes: Iterable[tuple[Table, object, Record]]) -> list[tuple[Table, bytes, bytes | None]]:
    """The machine's writes as the store takes them."""
    key_of, pack = _KEY_OF, _pack
    return [
        (table, key_of[table](key), record if record is None or type(record) is bytes else pack(record))
        for table, key, record in writes
    ]


def unpack_row(table: Table, key: bytes, value: bytes) -> tuple[Any, Any]:
    """A row of the machine's state as `Machine.restore` takes it."""
    return _KEY_FROM[table](key), _unpack(value)


def unpack_ended(value: bytes) -> EndedRecord:
    fields = _unpack(value)
    fields[5] = retry_of(fields[5])
    if fields[10] is not None:
        fields[10] = Counters._make(fields[10])
    return EndedRecord._make(fields)


def unpack_attempt(value: bytes) -> Attempt:
    return Attempt._make(_unpack(value))


def unpack_metadata(value: bytes | None) -> dict[str, str]:
    found: dict[str, str] = {} if value is None else _unpack(value)
    return found


def _unpack(value: bytes) -> Any:
    try:
        return msgpack.unpackb(value, use_list=True, strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise StoreDamaged(
            f"a record of {len(value)} bytes cannot be read: {error}; run `tq-admin verify`"
        ) from error
