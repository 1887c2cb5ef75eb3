"""What the machine says besides its new state: replies, writes, and hints for the leader.

Effects are hints: the leader acts on them, followers drop them, and whatever one would have caused can be derived
again from the state (a lost delivery is sent again when the worker lists what it holds).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tq.broker.tables import Table
from tq.errors import TqError
from tq.task import Attempt
from tq.verbs import Reply

if TYPE_CHECKING:
    from tq.broker.machine.heads import EndedRecord, Head
    from tq.broker.machine.kinds import Kind


class Lease(NamedTuple):
    """Hand these heads to this session (Deliver, or the answer to its claim)."""

    session_id: bytes
    heads: tuple[Head, ...]


class Revoke(NamedTuple):
    """Tell this session to stop an attempt."""

    session_id: bytes
    task_id: bytes
    token: int
    reason: str


class Dismiss(NamedTuple):
    """Tell this session to finish what it holds and go."""

    session_id: bytes


Effect: TypeAlias = Lease | Revoke | Dismiss

Record: TypeAlias = bytes | tuple[object, ...] | dict[str, str] | None
"""A write's value: bytes as they are, a tuple or map to be packed, None to delete."""


class Outcome(NamedTuple):
    """What one entry did.

    replies: one per command, in order: a reply class of `tq.verbs` or an error.
    writes: (table, key, record) in order; keys are values (seq, id, name or a tuple of them), which
        `storage/keys` turns into bytes. payloads, metadata: by seq, of tasks submitted by this entry, and
        archived: what the archive must answer for an id from now on: until the writes have reached the store,
        these stand in for it.
    ended: heads that reached an end in this entry, with their final state; for those who wait, and for metrics. A
        later command of the entry may have brought one back or forgotten it: `archived` says what stands.
    changed: every head this entry touched, ended ones too, in the order they were first touched.
    leased: (kind, ms) for every new lease, how long its task had been ready; for metrics.
    attempts: attempts that ended without completing their task, with the head; for metrics, events and the log.
    """

    replies: list[Reply | TqError]
    writes: list[tuple[Table, object, Record]]
    effects: list[Effect]
    payloads: dict[int, bytes]
    metadata: dict[int, dict[str, str]]
    archived: dict[bytes, EndedRecord | None]
    ended: list[Head]
    changed: list[Head]
    leased: list[tuple[Kind, int]]
    attempts: list[tuple[Head, Attempt]]
