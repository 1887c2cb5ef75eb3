"""Group commit: what shares an entry, and what becomes of the answers."""

from __future__ import annotations

import asyncio

import pytest

from tests.engine.harness import Engine, spec, with_engine
from tq.broker.engine.entries import pack_entry, unpack_entry
from tq.broker.engine.proposer import ENTRY_BYTES_MAX, ENTRY_TASKS_MAX
from tq.broker.machine.commands import CODE_OF, SubmitTasks, Tick
from tq.broker.replication.memory import MemoryLog
from tq.errors import BrokerUnavailable, OutcomeUnknown, StoreDamaged
from tq.retry import CUSTOM, RetryPolicy
from tq.task import TaskSpec
from tq.verbs import Submit, Submitted


def test_an_entry_gathers_no_more_tasks_than_its_bound() -> None:
    async def run(engine: Engine) -> None:
        engine.log.holds = True
        first = engine.begin(Submit((spec(),)))
        await asyncio.sleep(0)
        size = ENTRY_TASKS_MAX // 2
        rest = [engine.begin(Submit(tuple(spec() for _ in range(size)))) for _ in range(3)]
        engine.log.let_go()
        await asyncio.gather(first, *rest)
        counts = [len(unpack_entry(data)[1]) for data in engine.log.entries]
        assert counts == [1, 2, 1]

    with_engine(run)


def test_an_entry_gathers_no_more_bytes_than_its_bound() -> None:
    async def run(engine: Engine) -> None:
        engine.log.holds = True
        first = engine.begin(Submit((spec(),)))
        await asyncio.sleep(0)
        big = b"x" * (ENTRY_BYTES_MAX // 2)
        rest = [engine.begin(Submit((spec(payload=big),))) for _ in range(3)]
        engine.log.let_go()
        await asyncio.gather(first, *rest)
        assert [len(unpack_entry(data)[1]) for data in engine.log.entries] == [1, 2, 1]

    with_engine(run)


def test_a_submit_larger_than_an_entry_s_bound_goes_alone() -> None:
    async def run(engine: Engine) -> None:
        reply = await engine.call(Submit(tuple(spec() for _ in range(ENTRY_TASKS_MAX + 1))))
        assert len(reply.states) == ENTRY_TASKS_MAX + 1

    with_engine(run)


def test_what_was_taken_before_a_stop_is_answered_and_what_comes_after_is_refused() -> None:
    async def run(engine: Engine) -> None:
        engine.log.holds = True
        taken = engine.begin(Submit((spec(),)))
        await asyncio.sleep(0)
        stopping = asyncio.ensure_future(engine.backend.stop())
        await asyncio.sleep(0)
        with pytest.raises(BrokerUnavailable):
            await engine.call(Submit((spec(),)))
        engine.log.let_go()
        await stopping
        assert taken.done()
        assert taken.exception() is None

    with_engine(run)


class LateLog(MemoryLog):
    """Entries are given up and committed in the same turn, as after a pause that was longer than their time."""

    def _commit(self, data: bytes, future: asyncio.Future[int]) -> None:
        future.set_exception(OutcomeUnknown("its time is over"))
        self.entries.append(data)
        self._on_commit(len(self.entries), data)


def test_an_entry_that_is_committed_as_it_is_given_up_is_answered_once() -> None:
    async def run(engine: Engine) -> None:
        assert isinstance(await engine.call(Submit((spec(),))), Submitted)

    with_engine(run, log=LateLog())


def test_an_entry_that_cannot_be_applied_stops_the_process() -> None:
    async def run(engine: Engine) -> None:
        engine.log._on_commit(1, pack_entry(0, [Tick()]))
        engine.log._on_commit(1, pack_entry(0, [Tick()]))  # the same index twice is a broken log
        assert isinstance(engine.fatal.pop(), AssertionError)

    with_engine(run)


def test_an_entry_is_the_same_after_its_way_through_bytes() -> None:
    full = TaskSpec(
        b"i" * 16, "t", b"p", "q", 7, 1, 2, 3, 4, RetryPolicy(CUSTOM, delays_ms=(1, 2)), (b"d" * 16,), 5, "k", 6,
        {"a": "b"},
    )  # fmt: skip
    commands = [SubmitTasks((full, TaskSpec(b"j" * 16, "t"))), Tick()]
    assert unpack_entry(pack_entry(42, commands)) == (42, commands)


def test_an_entry_of_another_release_is_refused_by_name() -> None:
    data = bytearray(pack_entry(0, []))
    data[1] = 99
    with pytest.raises(StoreDamaged, match="format 99"):
        unpack_entry(bytes(data))
    with pytest.raises(StoreDamaged, match="command 120"):
        unpack_entry(pack_entry(0, [Tick()]).replace(bytes([CODE_OF[Tick]]), bytes([120])))
    with pytest.raises(StoreDamaged, match="cannot be read"):
        unpack_entry(b"\xc1")


def test_command_codes_are_never_reused() -> None:
    assert {kind.__name__: code for kind, code in CODE_OF.items()} == {
        "SubmitTasks": 1,
        "OpenSession": 2,
        "CloseSession": 3,
        "ChangeCapacity": 4,
        "ClaimTasks": 5,
        "SettleTasks": 6,
        "ExtendLeases": 7,
        "CancelTask": 8,
        "RetryTask": 9,
        "ForgetTasks": 10,
        "SetPause": 11,
        "Tick": 12,
        "DrainSessions": 13,
        "ImportTasks": 14,
    }


def test_a_longest_wait_lets_commands_gather_before_an_idle_log_is_used() -> None:
    from tq.broker.engine.backend import EngineSettings

    async def run(engine: Engine) -> None:
        first = engine.begin(Submit((spec(),)))
        await asyncio.sleep(0.001)
        second = engine.begin(Submit((spec(),)))
        await asyncio.gather(first, second)
        assert engine.log.last_index == 1

    with_engine(run, log=MemoryLog(), settings=EngineSettings(wal_sync_interval_ms=100))
