"""A whole broker in this process: put together, asked, taken apart, and what happens when a part is missing."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.doors.serving import Dialler, run
from tq.broker.lifecycle import EXIT_DAMAGED, EXIT_UNAVAILABLE, CannotStart, Fatal
from tq.broker.node import Node
from tq.clock import SystemClock
from tq.config import BrokerConfig, load_broker
from tq.errors import BrokerUnavailable
from tq.ids import new_id
from tq.protocol.events import Welcomed
from tq.task import PENDING, TaskSpec, TaskView
from tq.verbs import Deliver, Draining, GetTask, Register, Registered, Submit, Submitted

MADE = 500_000
WALKED_MAX = 250_000
"""New objects that one collection may walk: about 40 ms."""


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """A node tunes the collector of its process; this one has other tests to run."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def config(path: Path, port: int = 0, durability: str = "strict") -> BrokerConfig:
    file = path / "tq.yaml"
    file.write_text(f"persistence: {{durability: {durability}}}\n")
    return load_broker(
        str(file), {}, {"host": "127.0.0.1", "port": str(port), "data-dir": str(path / "data")}
    )


def node(settings: BrokerConfig) -> Node:
    def die(code: int) -> None:
        raise AssertionError(f"the broker would have exited with {code}")

    return Node(settings, SystemClock(), Fatal(die), tls=None)


async def dial(addresses: dict[str, str], role: str = "client") -> Dialler:
    host, port = addresses["tcp"].split(":")
    peer = Dialler(*await asyncio.open_connection(host, int(port)))
    peer.core.start_hello(role)
    peer.flush()
    await peer.next(Welcomed)
    return peer


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_what_one_broker_acknowledged_the_next_one_has(tmp_path: Path, durability: str) -> None:
    async def scenario() -> None:
        task = TaskSpec(new_id(), "t", b"kept")
        first = node(config(tmp_path, durability=durability))
        assert first.facts["durability"] == durability
        client = await dial(await first.start())
        assert isinstance(await client.ask(Submit((task,))), Submitted)
        stopping = asyncio.ensure_future(first.stop(asyncio.Event()))
        assert isinstance(await client.next_push(), Draining)
        assert isinstance(await client.farewell(), BrokerUnavailable)
        await client.hang_up()
        await stopping

        second = node(config(tmp_path, durability=durability))
        addresses = await second.start()
        client, worker = await dial(addresses), await dial(addresses, "worker")
        view = await client.ask(GetTask(task.task_id, with_payload=True))
        assert isinstance(view, TaskView)
        assert (view.state, view.payload) == (PENDING, b"kept")
        register = Register(new_id(), "w1", ("default",), ("t",), 1)
        assert isinstance(await worker.ask(register), Registered)
        assert isinstance(await worker.next_push(), Deliver)
        await client.hang_up()
        await worker.hang_up()
        await second.stop(asyncio.Event())

    run(scenario())


def test_the_collector_walks_few_of_a_crowd_of_new_tasks_at_once(tmp_path: Path) -> None:
    made: list[list[object]] = []
    walks = [0]

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"]:
            walks.append(len(made))

    async def scenario() -> None:
        broker = node(config(tmp_path))
        await broker.start()
        gc.callbacks.append(note)
        try:
            # As heads do: they come, are tracked, and stay.
            made.extend([] for _ in range(MADE))
        finally:
            gc.callbacks.remove(note)
        await broker.stop(asyncio.Event())

    run(scenario())
    walks.append(MADE)
    assert max(end - start for start, end in pairwise(walks)) <= WALKED_MAX


def test_a_hurried_stop_waits_for_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        broker = node(config(tmp_path))
        client = await dial(await broker.start())
        waiting = client.send(GetTask(new_id(), wait_ms=60_000))
        hurry = asyncio.Event()
        hurry.set()

        await broker.stop(hurry)

        assert waiting
        await client.hang_up()

    run(scenario())


def test_a_start_that_fails_at_the_port_lets_go_of_the_data(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotStart) as caught:
            await node(config(tmp_path, taken.getsockname()[1])).start()
        assert caught.value.exit_code == EXIT_UNAVAILABLE

        broker = node(config(tmp_path))
        await broker.start()
        await broker.stop(asyncio.Event())

    run(scenario())


def test_a_data_directory_in_use_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        broker = node(config(tmp_path))
        await broker.start()

        with pytest.raises(CannotStart) as caught:
            await node(config(tmp_path)).start()

        assert caught.value.exit_code == EXIT_UNAVAILABLE
        await broker.stop(asyncio.Event())

    run(scenario())


def test_a_store_that_lost_a_file_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        broker = node(config(tmp_path))
        await broker.start()
        await broker.stop(asyncio.Event())
        (tmp_path / "data" / "store" / "CURRENT").unlink()

        with pytest.raises(CannotStart) as caught:
            await node(config(tmp_path)).start()

        assert caught.value.exit_code == EXIT_DAMAGED

    run(scenario())
