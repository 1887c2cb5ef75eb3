"""How a node that is too far behind is brought up again, in virtual time."""

from __future__ import annotations

import pytest

from tests.replication.rig import Node, Rig
from tq.broker.replication.messages import SnapshotAck, SnapshotChunk


def leave_behind(rig: Rig, entries: int = 60) -> Node:
    """Cut a follower off, commit, and let the others forget what it lacks."""
    leader = rig.elect()
    rig.commit(b"first")
    rig.run(0.3)
    lagging = next(node for node in rig.nodes.values() if node is not leader)
    lagging.save()
    rig.isolate(lagging.name)
    for number in range(entries):
        rig.commit(b"entry %d" % number)
    rig.run(0.3)
    for node in rig.nodes.values():
        if node is not lagging:
            node.save()
    rig.run(0.3)
    assert leader.journal.base.index > lagging.journal.last.index
    return lagging


def test_node_behind_the_log_is_brought_up_by_a_snapshot_and_goes_on_from_the_log() -> None:
    rig = Rig(3, trailing_entries=5)
    lagging = leave_behind(rig)
    rig.heal()
    rig.run_until(lambda: lagging.installed is not None)
    rig.commit(b"after")
    rig.settle()
    assert lagging.commands[-1][1] == b"after"
    assert not any(isinstance(m, SnapshotChunk) and target != lagging.name for _, target, m in rig.sent)


def test_transfer_goes_on_where_the_connection_was_cut() -> None:
    rig = Rig(3, trailing_entries=5)
    lagging = leave_behind(rig)
    rig.heal()
    rig.run_until(
        lambda: any(
            isinstance(m, SnapshotAck) and m.offset >= 300 and source == lagging.name
            for source, _, m in rig.sent
        )
    )
    rig.isolate(lagging.name)
    rig.sent.clear()
    rig.run(0.1)
    rig.heal()
    rig.run_until(lambda: lagging.installed is not None)
    offsets = [m.offset for _, _, m in rig.sent if isinstance(m, SnapshotChunk) and m.data]
    assert offsets
    assert min(offsets) >= 300
    rig.settle()


def test_snapshot_that_does_not_match_its_digest_changes_nothing_and_is_sent_again() -> None:
    rig = Rig(3, trailing_entries=5)
    lagging = leave_behind(rig)
    before = list(lagging.commands)
    lagging.snapshots.spoil = True
    lagging.snapshots.delay = 0.01
    rig.heal()
    rig.run_until(lambda: not lagging.snapshots.spoil)
    assert lagging.commands == before
    rig.run_until(lambda: lagging.installed is not None)
    rig.settle()


def test_damaged_snapshot_is_not_sent_for_ever_but_made_anew() -> None:
    rig = Rig(3, trailing_entries=5)
    lagging = leave_behind(rig)
    leader = rig.elect()
    leader.snapshots.make()
    made = leader.snapshots.newest()
    assert made is not None
    contents = leader.snapshots.contents
    contents[made] = contents[made][:-1] + bytes([contents[made][-1] ^ 1])
    rig.heal()
    rig.run_until(lambda: lagging.installed is not None)
    rig.commit(b"after")
    rig.settle()


@pytest.mark.parametrize("is_reset_synced", [False, True])
def test_crash_around_an_installation_leaves_a_node_that_comes_up_and_agrees(is_reset_synced: bool) -> None:
    rig = Rig(3, trailing_entries=5)
    lagging = leave_behind(rig)
    lagging.snapshots.delay = 0.01
    if not is_reset_synced:
        lagging.sync_seconds = 0.2
    rig.heal()
    rig.run_until(lambda: lagging.installed is not None)
    if is_reset_synced:
        rig.run(0.05)
    lagging.crash()
    lagging.sync_seconds = 0.0005
    lagging.start()
    rig.commit(b"after")
    rig.settle()
    assert lagging.commands[-1][1] == b"after"


def test_deposed_leader_with_a_divergent_tail_does_not_acknowledge_it_when_a_snapshot_begins() -> None:
    """The library applied and acknowledged them on the first piece (reproduction t22)."""
    rig = Rig(3, trailing_entries=5)
    old = rig.elect()
    rig.commit(b"common")
    rig.isolate(old.name)
    outcomes = [rig.propose(b"divergent %d" % number, old) for number in range(5)]
    rig.run_until(lambda: any(n is not old and n.core.is_leader for n in rig.nodes.values()))
    new = next(n for n in rig.nodes.values() if n is not old and n.core.is_leader)
    for number in range(60):
        rig.commit_on(new, b"new %d" % number)
    rig.run(0.3)
    for node in rig.nodes.values():
        if node is not old:
            node.save()
    rig.run(0.2)
    rig.heal()
    rig.run_until(lambda: old.applied == new.applied)
    rig.settle()
    assert all(outcome and not isinstance(outcome[0], int) for outcome in outcomes)
    assert not any(data.startswith(b"divergent") for _, data in old.commands)


def test_log_is_not_trimmed_behind_a_snapshot_that_is_on_its_way() -> None:
    rig = Rig(3, trailing_entries=5)
    lagging = leave_behind(rig)
    rig.heal()
    leader = rig.elect()
    rig.run_until(lambda: leader.snapshots.reads > 0)
    info = leader.snapshots.newest()
    assert info is not None
    for number in range(10):
        rig.commit_on(leader, b"more %d" % number)
        leader.save()
        if lagging.installed is None:
            assert leader.journal.base.index <= info.link.index
    rig.run_until(lambda: lagging.installed is not None)
    assert lagging.installed == info.link
    rig.settle()
