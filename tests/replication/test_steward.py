"""What a leader says to operators' wishes before the log hears of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from tests.metrics.logged import Logged, logged
from tq.broker.replication.membership import Configuration
from tq.broker.replication.steward import Steward
from tq.errors import BadRequest, BrokerUnavailable, TqError


class Log:
    """The log of n1, which leads. n2 has everything, n3 lacks a thousand entries, and so on."""

    is_leader = True
    knows_members = True
    last_index = 2_000
    status = SimpleNamespace(match={"n2": 2_000, "n3": 1_000, "n4": 1_000}, last_index=2_000)

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.heard: list[object] = []

    def has_caught_up(self, node: str) -> bool:
        return self.last_index - self.status.match.get(node, 0) <= 256

    async def transfer(self, target: str) -> None:
        self.heard.append(target)

    async def change_members(self, wanted: Configuration) -> None:
        self.heard.append(wanted)


def of(voters: str) -> Configuration:
    return Configuration.of({name: f"{name}:1" for name in voters.split()}, {})


def steward_of(log: Log) -> Steward:
    """Of n1. n4 is not connected."""
    return Steward(
        "n1",
        log,  # type: ignore[arg-type]
        asyncio.get_running_loop(),
        is_connected=lambda node: node != "n4",
        disk_of=lambda _: "",
    )


def asked(log: Log, ask: Callable[[Steward], Awaitable[None]]) -> TqError | None:
    """What n1 says; None = it does it."""

    async def answer() -> TqError | None:
        steward = steward_of(log)
        try:
            await ask(steward)
        except TqError as error:
            return error
        return None

    return asyncio.run(asyncio.wait_for(answer(), 60))


@pytest.mark.parametrize(
    ("target", "kind", "text"),
    [("n4", BadRequest, "n4 is not connected"), ("n3", BrokerUnavailable, "n3 is 1000 entries behind")],
    ids=["away", "behind"],
)
def test_nobodys_writes_wait_for_a_node_that_cannot_lead(target: str, kind: type[TqError], text: str) -> None:
    log = Log(of("n1 n2 n3 n4"))
    said = asked(log, lambda steward: steward.transfer(target))
    assert isinstance(said, kind)
    assert text in said.text
    assert log.heard == []


def test_node_that_is_there_and_has_everything_may_lead() -> None:
    log = Log(of("n1 n2 n3 n4"))
    assert asked(log, lambda steward: steward.transfer("n2")) is None
    assert asked(log, lambda steward: steward.transfer()) is None
    assert log.heard == ["n2", "n2"]


def test_last_node_that_votes_is_told_at_once_that_it_can_neither_go_nor_hand_over() -> None:
    log = Log(of("n1"))
    assert isinstance(asked(log, lambda steward: steward.remove_node("n1")), BadRequest)
    assert isinstance(asked(log, lambda steward: steward.transfer()), BadRequest)
    assert log.heard == []


@pytest.mark.parametrize(
    ("node", "address"),
    [
        ("n5", "a..b:7379"),
        ("n5", f"{'a' * 64}.example:7379"),
        ("n5", "[::1:7379"),
        ("n5", "0.0.0.0:7379"),
        ("n5", "host5:0"),
        ("n5", "host5:70000"),
        ("n5", "host5"),
        ("n/5", "host5:7379"),
        ("n" * 65, "host5:7379"),
        ("", "host5:7379"),
    ],
    ids=[
        "empty label",
        "long label",
        "bracket",
        "any",
        "port 0",
        "port",
        "no port",
        "name",
        "long name",
        "no name",
    ],
)
def test_node_that_no_configuration_file_could_name_is_not_taken_in(node: str, address: str) -> None:
    log = Log(of("n1 n2"))
    assert isinstance(asked(log, lambda steward: steward.add_node(node, address, votes=True)), BadRequest)
    assert log.heard == []


@pytest.mark.parametrize(
    ("node", "address"),
    [("n5", "host-5.example:7379"), ("n5", "[::1]:7379"), ("10.0.0.5:7379", "10.0.0.5:7379")],
    ids=["name", "version 6", "of a plain list"],
)
def test_node_that_a_configuration_file_could_name_is_taken_in(node: str, address: str) -> None:
    log = Log(of("n1 n2"))
    assert asked(log, lambda steward: steward.add_node(node, address, votes=True)) is None
    assert len(log.heard) == 1


def test_log_names_the_node_that_is_there_and_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """n2 lacks nothing, n4 is not connected, n5 gets on."""
    monkeypatch.setattr("tq.broker.replication.steward.LOOK_SECONDS", 0.001)
    monkeypatch.setattr("tq.broker.replication.steward.STILL_SECONDS", 0.5)
    rig = Log(of("n1 n2 n3 n4 n5"))
    rig.status = SimpleNamespace(match={"n2": 2_000, "n3": 1_000, "n4": 1_000, "n5": 1}, last_index=2_000)

    async def test(told: Logged) -> None:
        steward = steward_of(rig)
        steward.start()
        deadline = asyncio.get_running_loop().time() + 60
        while len(told.lines("peer_stands_still")) < 2 and asyncio.get_running_loop().time() < deadline:
            rig.status.match["n5"] += 1
            await asyncio.sleep(0)
        steward.stop()

    with logged() as told:
        asyncio.run(test(told))
    lines = told.lines("peer_stands_still")
    assert {line["peer"] for line in lines} == {"n3"}
    assert "n3 is connected, lacks 1000 entries" in lines[0]["message"]
