"""Three real nodes over loopback: commit, fail over, restart, refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.replication.live import LiveCluster, until
from tq.errors import BrokerUnavailable, NotLeader, TqError


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 100)

    uvloop.run(bounded())


def test_entries_commit_on_all_nodes_and_followers_name_the_leaders_client_address(tmp_path: Path) -> None:
    async def test() -> None:
        async with LiveCluster.running(tmp_path) as cluster:
            leader = await cluster.leader()
            for number in range(50):
                await leader.log.propose(b"entry %d" % number)
            await cluster.agree()
            assert [data for _, data in leader.committed] == [b"entry %d" % n for n in range(50)]
            follower = next(node for node in cluster.nodes.values() if node is not leader)
            with pytest.raises(NotLeader) as refusal:
                await follower.log.propose(b"no")
            assert refusal.value.leader == f"{leader.name}.example:6379"

    run(test)


def test_no_acknowledged_entry_is_lost_when_leaders_are_killed_and_come_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with LiveCluster.running(tmp_path) as cluster:
            acknowledged = []
            for number in range(4):
                leader = await cluster.leader()
                for count in range(20):
                    data = b"%d/%d" % (number, count)
                    acknowledged.append((await leader.log.propose(data), data))
                under_way = leader.log.propose(b"cut short %d" % number)
                await leader.kill()
                under_way.cancel()
                other = await cluster.leader(but=leader)
                acknowledged.append((await other.log.propose(b"after"), b"after"))
                await cluster.restart(leader)
            await cluster.agree()
            for node in cluster.nodes.values():
                assert set(acknowledged) <= set(node.committed)

    run(test)


def test_restart_of_all_nodes_replays_everything(tmp_path: Path) -> None:
    async def test() -> None:
        async with LiveCluster.running(tmp_path) as cluster:
            leader = await cluster.leader()
            for number in range(20):
                await leader.log.propose(b"%d" % number)
            before = list(leader.committed)
            for node in cluster.nodes.values():
                await node.kill()
            for node in cluster.nodes.values():
                await cluster.restart(node)
            leader = await cluster.leader()
            await leader.log.propose(b"later")
            await cluster.agree()
            assert leader.committed[:-1] == before

    run(test)


def test_transfer_moves_the_leadership_and_read_index_follows_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with LiveCluster.running(tmp_path) as cluster:
            leader = await cluster.leader()
            index = await leader.log.propose(b"x")
            assert await leader.log.read_index() >= index
            target = next(node for node in cluster.nodes.values() if node is not leader)
            await leader.log.transfer(target.name)
            await until(lambda: target.log.is_leader)
            assert await target.log.read_index() > index
            with pytest.raises(BrokerUnavailable):
                await leader.log.read_index()

    run(test)


def test_node_with_another_secret_is_not_let_in(tmp_path: Path) -> None:
    async def test() -> None:
        async with LiveCluster.running(tmp_path) as cluster:
            leader = await cluster.leader()
            stranger = next(node for node in cluster.nodes.values() if node is not leader)
            await stranger.kill()
            stranger.secret = "another secret of the right length"
            await cluster.restart(stranger)
            before = len(stranger.committed)
            for number in range(20):
                await cluster.commit(b"%d" % number)
            assert len(stranger.committed) == before
            assert stranger.log.leader == ""

    run(test)


def test_node_that_comes_back_with_another_disk_is_not_believed(tmp_path: Path) -> None:
    async def test() -> None:
        async with LiveCluster.running(tmp_path) as cluster:
            leader = await cluster.leader()
            await leader.log.propose(b"kept")
            wiped = next(node for node in cluster.nodes.values() if node is not leader)
            await wiped.kill()
            wiped.directory = tmp_path / "another disk"
            await cluster.restart(wiped)
            for number in range(20):
                await cluster.commit(b"%d" % number)
            assert wiped.committed == []
            assert wiped.log.leader == ""

    run(test)


def test_failed_sync_stops_the_node_and_the_entry_under_way_ends_unknown(tmp_path: Path) -> None:
    async def test() -> None:
        async with LiveCluster.running(tmp_path) as cluster:
            leader = await cluster.leader()

            def fail() -> None:
                raise OSError(5, "the disk failed")

            leader.journal._database.write_synced = lambda *_: fail()  # type: ignore[method-assign]
            with pytest.raises(TqError) as error:
                await leader.log.propose(b"lost")
            assert error.value.outcome.value == "unknown"
            assert isinstance(leader.errors[0], OSError)
            assert not leader.log.is_leader
            leader.errors.clear()
            await cluster.leader(but=leader)
            leader.is_up = False
            await leader.transport.close()
            await leader.disk.stop()
            leader.journal._database.abandon()

    run(test)
