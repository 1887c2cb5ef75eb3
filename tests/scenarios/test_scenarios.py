"""Every scenario through every door."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.access.keyring import hash_of
from tests.doors.serving import Dialler, run
from tests.scenarios.said import Said
from tests.scenarios.speakers import LACKS, SPEAKERS, Speaker
from tests.scenarios.table import KEYS, QUEUE_DEPTH_MAX, SCENARIOS, Step
from tq.broker.lifecycle import Fatal
from tq.broker.node import Node
from tq.clock import SystemClock
from tq.config import load_broker
from tq.ids import new_id
from tq.protocol.events import Welcomed
from tq.task import Cause
from tq.verbs import Deliver, Register, Registered, Settle, Settled, SettleItem


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """A node tunes the collector of its process; this one has other tests to run."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.parametrize("door", SPEAKERS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_door_answers_the_same(name: str, door: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(tmp_path) as addresses, AsyncExitStack() as stack:
            worker = Worker(addresses["tcp"])
            stack.push_async_callback(worker.leave)
            speakers: dict[str, Speaker] = {}
            for number, step in enumerate(SCENARIOS[name], 1):
                if step.do in LACKS.get(door, ()):
                    return
                if step.do in ("work", "settle", "fail"):
                    await getattr(worker, step.do)(*step.arguments)
                    continue
                if step.key not in speakers:
                    speaker = SPEAKERS[door](addresses[door], step.key and f"token-of-{step.key}")
                    speakers[step.key] = await stack.enter_async_context(speaker)
                said = await getattr(speakers[step.key], step.do)(*step.arguments, **step.named)
                assert shown(said, step) == step.says, f"step {number}: {step.do} with the key {step.key!r}"

    run(scenario())


def test_every_method_of_a_speaker_is_in_a_scenario() -> None:
    methods = {name for name in vars(Speaker) if not name.startswith("_")}

    assert methods <= {step.do for steps in SCENARIOS.values() for step in steps}


def shown(said: Said, step: Step) -> Said:
    """The answer with only those facts that the step names."""
    return said._replace(facts={name: said.facts.get(name) for name in step.says.facts})


@asynccontextmanager
async def started(directory: Path) -> AsyncIterator[dict[str, str]]:
    """A broker with all doors. Yields their addresses."""
    file = directory / "tq.yaml"
    keys = [
        f"{{name: {name}, key_hash: '{hash_of(f'token-of-{name}')}', permissions: [{permissions}], "
        f"rate_limit_per_second: {'null' if rate is None else rate}}}"
        for name, (permissions, rate) in {**KEYS, "worker": ("work_tasks", None)}.items()
    ]
    file.write_text("auth:\n  enabled: true\n  api_keys:\n" + "".join(f"    - {key}\n" for key in keys))
    flags = {
        "host": "127.0.0.1",
        "data-dir": str(directory / "data"),
        "queue-depth-threshold": QUEUE_DEPTH_MAX,
        **dict.fromkeys(("port", "rest-port", "grpc-port"), 0),
    }

    def die(code: int) -> None:
        raise AssertionError(f"the broker would have exited with {code}")

    node = Node(load_broker(str(file), {}, flags), SystemClock(), Fatal(die), tls=None)
    addresses = await node.start()
    hurry = asyncio.Event()
    hurry.set()
    try:
        yield addresses
    finally:
        await node.stop(hurry)


class Worker:
    """Has one slot, and one task at a time in its hands."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._peer: Dialler | None = None
        self._held: tuple[bytes, int] = (b"", 0)

    async def work(self) -> None:
        """Take the next task."""
        host, _, port = self._address.rpartition(":")
        self._peer = peer = Dialler(*await asyncio.open_connection(host, int(port)))
        peer.core.start_hello("worker", "token-of-worker", "the-worker")
        peer.flush()
        await peer.next(Welcomed)
        register = Register(new_id(), "the-worker", ("default",), ("t",), 1)
        assert isinstance(await peer.ask(register), Registered)
        push = await peer.next_push()
        assert isinstance(push, Deliver)
        self._held = push.tasks[0].task_id, push.tasks[0].token

    async def settle(self, result: bytes) -> None:
        await self._end(SettleItem(*self._held, result=result))

    async def fail(self, error: str) -> None:
        await self._end(SettleItem(*self._held, cause=Cause.ERROR, error=error))

    async def leave(self) -> None:
        if self._peer is not None:
            await self._peer.hang_up()
            self._peer = None

    async def _end(self, item: SettleItem) -> None:
        assert self._peer is not None
        assert await self._peer.ask(Settle((item,))) == Settled(b"\0")
        # It takes no further task: what comes back to pending is to stay there.
        await self.leave()
