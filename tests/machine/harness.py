"""A machine with its rows kept as a store keeps them, replayed, restored and looked over after every entry."""

from __future__ import annotations

from collections.abc import Sequence

from tq.broker.engine.entries import pack_entry, pack_writes, unpack_ended, unpack_entry, unpack_row
from tq.broker.machine.commands import Command
from tq.broker.machine.effects import Lease, Outcome, Record
from tq.broker.machine.heads import EndedRecord, Head
from tq.broker.machine.machine import Machine
from tq.broker.machine.restore import RESTORE_ORDER
from tq.broker.machine.state import CLASS_OF_STATE, State
from tq.broker.storage import keys
from tq.broker.tables import Table
from tq.errors import TqError
from tq.task import COMPLETED, LEGAL_TRANSITIONS

START_MS = 1_700_000_000_000


class Rows:
    """What the store would hold: bytes under bytes, table by table. Also the machine's archive."""

    def __init__(self, tables: dict[Table, dict[bytes, bytes]] | None = None) -> None:
        self.tables = tables or {table: {} for table in Table}

    def write(self, outcome: Outcome) -> None:
        for table, key, value in pack_writes(outcome.writes):
            if value is None:
                self.tables[table].pop(key, None)
            else:
                self.tables[table][key] = value

    def get(self, task_id: bytes) -> EndedRecord | None:
        value = self.tables[Table.ENDED].get(task_id)
        return None if value is None else unpack_ended(value)

    def known(self, task_ids: Sequence[bytes]) -> list[bytes]:
        return [task_id for task_id in task_ids if task_id in self.tables[Table.ENDED]]

    def copy(self) -> Rows:
        return Rows({table: dict(rows) for table, rows in self.tables.items()})


class Node:
    """One node: a machine and its rows."""

    def __init__(self, rows: Rows | None = None) -> None:
        """rows: what an earlier node left behind; the machine is restored from it."""
        self.rows = rows or Rows()
        self.check_each = True
        """Off for scenes with so many tasks that looking at all of them after every entry takes too long."""
        self.machine = Machine(self.rows)
        _forbid_illegal_moves(self.machine.state)
        if rows is not None:
            for table in RESTORE_ORDER:
                for key in sorted(rows.tables[table]):
                    self.machine.restore(table, *unpack_row(table, key, rows.tables[table][key]))
            self.machine.restored()

    def apply(self, index: int, now_ms: int, commands: Sequence[Command]) -> Outcome:
        outcome = self.machine.apply(index, now_ms, commands)
        self.rows.write(outcome)
        for _, key, value in pack_writes([(Table.ENDED, *one) for one in outcome.archived.items()]):
            assert self.rows.tables[Table.ENDED].get(key) == value, (
                "what stands in for the store is written to it"
            )
        if self.check_each:
            self.machine.check()
        return outcome

    def restart(self) -> Node:
        """A node started from what this one has written; nothing of this one is shared."""
        node = Node(self.rows.copy())
        node.machine.check()
        assert node.machine.digest() == self.machine.digest()
        return node


def _forbid_illegal_moves(state: State) -> None:
    move = state.move

    def checked(head: Head, to: int) -> None:
        assert to in LEGAL_TRANSITIONS[head.state], f"{head.state} may not become {to}"
        move(head, to)

    state.move = checked  # type: ignore[method-assign, assignment]


class Broker:
    """A node on a clock, with the log of all it was told."""

    def __init__(self) -> None:
        self.node = Node()
        self.now_ms = START_MS
        self.log: list[bytes] = []

    @property
    def machine(self) -> Machine:
        return self.node.machine

    def apply(self, *commands: Command) -> Outcome:
        """Apply the commands as one entry, as it comes back out of the log."""
        self.log.append(pack_entry(self.now_ms, commands))
        outcome = self.node.apply(len(self.log), *unpack_entry(self.log[-1]))
        if self.node.check_each:
            check_rows(self.node)
        return outcome

    def replay(self) -> Node:
        """A second node that applies the same log from the beginning."""
        node = Node()
        for position, data in enumerate(self.log):
            node.apply(position + 1, *unpack_entry(data))
        return node


def said(outcome: Outcome) -> str:
    """Everything an entry said, as text: two nodes must say the same."""
    replies = [str(one) if isinstance(one, TqError) else repr(one) for one in outcome.replies]
    effects = [
        (one[0], [(head.task_id, head.hold, head.attempts) for head in one.heads])
        if isinstance(one, Lease)
        else one
        for one in outcome.effects
    ]
    ended = [(head.task_id, head.seq, head.state) for head in outcome.ended]
    changed = [head.record() for head in outcome.changed]
    sent = outcome.payloads, outcome.metadata, outcome.archived
    return repr((replies, outcome.writes, effects, sent, ended, changed))


def check_rows(node: Node) -> None:
    """The rows are those of the state: each task in exactly the tables it belongs in, and nothing left over."""
    state, tables = node.machine.state, node.rows.tables
    index: dict[bytes, bytes] = {}
    live: dict[bytes, bytes] = {}
    for head in state.heads.values():
        kind = head.terms.kind.number
        index[keys.index_key(CLASS_OF_STATE[head.state], kind, head.seq)] = head.task_id
        live.update(
            (key, value) for _, key, value in pack_writes([(Table.LIVE, head.seq, head.record())]) if value
        )
        assert head.task_id not in tables[Table.ENDED], "a live task is not among the ended ones"
    counts = {number: [0] * 4 for number in state.kinds_by_number}
    seqs = {head.seq for head in state.heads.values()}
    for task_id in tables[Table.ENDED]:
        record = node.rows.get(task_id)
        assert record is not None
        index[keys.index_key(CLASS_OF_STATE[record.state], record.kind, record.seq)] = task_id
        counts[record.kind][record.state - COMPLETED] += 1
        seqs.add(record.seq)
    assert tables[Table.LIVE] == live
    assert tables[Table.INDEX] == index
    for number, one in state.kinds_by_number.items():
        assert one.counts[COMPLETED:] == counts[number]
        row = tables[Table.COUNT].get(keys.kind_key(number))
        stored = [0] * 4 if row is None else unpack_row(Table.COUNT, keys.kind_key(number), row)[1]
        assert stored == counts[number]
    assert {keys.seq_of(key) for key in tables[Table.PAYLOAD]} == seqs
    for table in (Table.EXTRA, Table.RESULT, Table.ATTEMPT):
        assert {keys.seq_of(key) for key in tables[table]} <= seqs
    small: list[tuple[Table, object, Record]] = []
    small += [(Table.SESSION, session_id, session.record()) for session_id, session in state.sessions.items()]
    small += [(Table.UNIQUE, name, tuple(held)) for name, held in state.unique.items()]
    small += [(Table.QUEUE, name, tuple(pause)) for name, pause in state.pauses.items()]
    small += [(Table.METER, minute, tuple(meter)) for minute, meter in state.meter.items()]
    packed = pack_writes(small)
    for table in (Table.SESSION, Table.UNIQUE, Table.QUEUE, Table.METER):
        assert tables[table] == {key: value for where, key, value in packed if where is table}
