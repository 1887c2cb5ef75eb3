"""Questions share the disk thread fairly: with each other, and with commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.engine.harness import Engine, FakePeer, spec, with_engine
from tq.broker.engine.reads import BATCH_NS_MAX, READS_MAX, Reads
from tq.broker.storage.disk import DiskThread
from tq.errors import BrokerUnavailable
from tq.verbs import ListTasks, TaskPage

WAIT_SECONDS = 60.0


class Asked:
    """Reads on a real disk thread; each job may take as long as it says, on a clock of its own."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.done: list[tuple[str, object]] = []
        self.batches = 0
        loop = asyncio.get_running_loop()
        self.disk = DiskThread(loop, lambda error: None)
        self.disk.start()
        self.reads = Reads(self.disk, self._count, lambda: self.now_ns)

    def _count(self) -> None:
        self.batches += 1

    def ask(self, name: str, asker: object, takes_ns: int = 0) -> None:
        def job() -> str:
            self.now_ns += takes_ns
            return name

        self.reads.call(job, lambda result: self.done.append((name, result)), asker)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.done) < count:
                turned = asyncio.get_running_loop().create_future()
                self.disk.call(lambda: None, turned.set_result)
                await turned

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.done]


def asked(scenario: Callable[[Asked], asyncio.Future[None] | object]) -> None:
    async def run() -> None:
        it = Asked()
        try:
            await scenario(it)  # type: ignore[misc]
        finally:
            await it.disk.stop()

    asyncio.run(run())


def test_one_question_of_another_waits_for_one_of_the_flood_and_not_for_all() -> None:
    async def scenario(it: Asked) -> None:
        for number in range(3 * READS_MAX):
            it.ask(f"flood {number}", "flood")
        it.ask("other", "other")
        await it.until(3 * READS_MAX + 1)
        # The first went at once, alone; the second batch begins with the flood's next, and then takes the other's.
        assert it.order.index("other") == 2
        assert [name for name in it.order if name != "other"] == [f"flood {n}" for n in range(3 * READS_MAX)]

    asked(scenario)


def test_batch_ends_when_its_time_is_up_and_what_is_left_comes_next_in_its_order() -> None:
    async def scenario(it: Asked) -> None:
        for number in range(6):
            it.ask(str(number), "slow", takes_ns=BATCH_NS_MAX // 2)
        await it.until(6)
        assert it.order == ["0", "1", "2", "3", "4", "5"]
        # The first alone, for nothing else waited; then two each.
        assert it.batches == 4

    asked(scenario)


def test_questions_of_one_who_is_gone_are_not_read_and_answered_as_unavailable() -> None:
    async def scenario(it: Asked) -> None:
        for number in range(5):
            it.ask(str(number), "gone")
        it.ask("stays", "other")
        it.reads.drop("gone")
        await it.until(6)
        told = dict(it.done)
        assert told["0"] == "0" and told["stays"] == "stays"
        assert all(isinstance(told[str(number)], BrokerUnavailable) for number in range(1, 5))

    asked(scenario)


def test_peer_that_disconnects_leaves_its_questions_behind() -> None:
    async def run(engine: Engine) -> None:
        await engine.submit(*[spec() for _ in range(100)])
        flood = FakePeer()
        pages = [engine.begin(ListTasks(0, "", "", 100, 0, 0), flood) for _ in range(500)]
        engine.backend.disconnected(flood)
        ended = await asyncio.wait_for(asyncio.gather(*pages, return_exceptions=True), WAIT_SECONDS)
        assert sum(isinstance(each, TaskPage) for each in ended) <= 1
        assert isinstance(await engine.call(ListTasks(0, "", "", 100, 0, 0)), TaskPage)

    with_engine(run)
