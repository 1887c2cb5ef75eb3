"""Everything below the service, opened bottom up: data directory, store, journal, disk thread, log, backend.

A node of a cluster whose store or journal is damaged does not stop for it: what it had is set aside, and it comes back
under a new disk generation, as an observer that its peers rebuild. A broker by itself refuses to start.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

from tq.broker.backend import Backend
from tq.broker.clustering.desk import Desk
from tq.broker.clustering.forwarding import Forwarding
from tq.broker.clustering.gate import LeaderGate
from tq.broker.clustering.links import Links
from tq.broker.clustering.pulse import Pulse
from tq.broker.engine.backend import EngineSettings, NativeBackend
from tq.broker.feed import Feed
from tq.broker.lifecycle import EXIT_DAMAGED, EXIT_UNAVAILABLE, CannotStart, Fatal, opening
from tq.broker.measures import LogMeasures, Measures, StoreMeasures
from tq.broker.replication.cluster import ClusterMember, Hooks, Place
from tq.broker.replication.journal import Journal
from tq.broker.replication.local import LocalLog
from tq.broker.replication.raft import RaftLog
from tq.broker.replication.records import Link
from tq.broker.replication.snapshot import finish_install
from tq.broker.storage.data_dir import DataDir, locked
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.rebuild import set_aside
from tq.broker.storage.rocks import RocksStore
from tq.clock import Clock
from tq.config import BrokerConfig
from tq.ids import new_id
from tq.logs import get_logger

_log = get_logger("broker")

RELAXED_SYNC_MS = 1_000
"""`durability: relaxed` may lose so much, with the machine, not with the process."""
DAY_MS = 24 * 3600 * 1000
PATIENCE_ELECTIONS = 8
"""A request that another node must answer waits so many election time-outs for a leader: one that is stopped, a vote
that is split, and the time to catch up."""


class Measured(Protocol):
    """Where the numbers of a backend come from."""

    def measures(self) -> Measures: ...


class MeasuredLog(Protocol):
    def measures(self) -> LogMeasures: ...


class Foundation(NamedTuple):
    """backend: for clients that follow the leader by themselves. anywhere: for those that do not.

    member: None for a broker by itself.
    """

    native: Measured
    backend: Backend
    anywhere: Backend
    log: MeasuredLog
    member: ClusterMember | None
    stores: Callable[[], StoreMeasures] | None = None


class Base(NamedTuple):
    """What the foundation is built from. client_address: where this node's own clients go."""

    config: BrokerConfig
    clock: Clock
    fatal: Fatal
    feed: Feed
    client_address: Callable[[], str]


async def lay(base: Base, stack: AsyncExitStack) -> Foundation:
    """Open it all; the stack closes it, but for the backend, whose `stop` the caller has to see to.

    Raises CannotStart.
    """
    if base.config.backend.kind == "stackduck":
        return _on_stackduck(base)
    persistence = base.config.persistence
    path = Path(persistence.data_dir)
    is_clustered = base.config.raft.enabled
    with opening(f"the data directory {path}"):
        installed = _finish_install(path) if is_clustered else None
        directory = DataDir.open(path, base.clock)
    stack.callback(directory.close)
    with opening(f"the store in {path}"):
        store = RocksStore.open(directory.store_path, create=directory.is_new)
    stack.callback(store.close)
    with opening(f"the journal in {path}"):
        journal = Journal.open(
            directory.journal_path, create=directory.is_new, elapsed_ns=base.clock.monotonic_ns
        )
    stack.callback(journal.close)
    with opening(f"the data directory {path}"):
        directory.mark_used()
    loop = asyncio.get_running_loop()
    disk = DiskThread(loop, base.fatal)
    disk.start()
    stack.push_async_callback(disk.stop)
    if is_clustered:
        return _in_cluster(base, stack, directory, installed, journal, disk, store)
    relaxed_ms = RELAXED_SYNC_MS if persistence.durability == "relaxed" else None
    log = LocalLog(journal, disk, base.fatal, relaxed_ms=relaxed_ms)
    stack.push_async_callback(log.close)
    native = _native(base, store, log, disk)
    return Foundation(native, native, native, log, None)


def _on_stackduck(base: Base) -> Foundation:
    """No data directory, no log: what StackDuck's stores hold is all there is."""
    try:
        from tq.broker.adapters.stackduck.backend import Settings, StackDuckBackend
    except ImportError as error:
        raise CannotStart(
            f"backend.kind stackduck needs more libraries: pip install 'tq[stackduck]' ({error})",
            EXIT_UNAVAILABLE,
        ) from error
    config = base.config
    redis_url, database_url = config.backend.stores
    assert redis_url is not None and database_url is not None, "the configuration was checked"
    settings = Settings(
        redis_url,
        database_url,
        node_id=config.raft.node_id,
        grace_ms=int(config.broker.session_grace_seconds * 1000),
    )
    backend = StackDuckBackend(settings, base.clock, base.feed, base.fatal, new_id=new_id)
    return Foundation(backend, backend, backend, backend.log, None, backend.store_measures)


def _in_cluster(
    base: Base,
    stack: AsyncExitStack,
    directory: DataDir,
    installed: tuple[Link, bytes] | None,
    journal: Journal,
    disk: DiskThread,
    store: RocksStore,
) -> Foundation:
    """The node takes part once its member has been opened."""
    loop = asyncio.get_running_loop()
    place = Place(
        directory.path,
        (directory.node_uuid, directory.disk_generation),
        installed,
        begins_as_observer=directory.disk_generation > 1,
    )
    hooks = Hooks(
        checkpoint=lambda copy, done: native.checkpoint(copy, done),
        on_lead=lambda leads: native.lead(leads),
        on_leader=lambda leader: anywhere.leader_changed(leader),
        client_address=base.client_address,
        restart=start_again,
        on_fatal=base.fatal,
    )
    raft = base.config.raft
    with opening("the cluster"):
        member = ClusterMember(raft, place, journal, disk, loop, base.clock, hooks)
    # Taken down after the backend has stopped: its last entries need the peers.
    stack.push_async_callback(member.close)
    stack.push_async_callback(member.log.close)
    native = _native(base, store, member.log, disk)
    native.standing.leader = lambda: member.leader
    links = Links(member)
    gate = LeaderGate(native, member, Desk(member, links))
    patience_s = PATIENCE_ELECTIONS * raft.election_timeout_ms / 1000
    anywhere = Forwarding(gate, member, links, loop, patience_s=patience_s)
    pulse = Pulse(base.feed, member, links, loop, now_ms=base.clock.now_ms)
    stack.callback(pulse.stop)
    return Foundation(native, gate, anywhere, member.log, member)


def _native(base: Base, store: RocksStore, log: LocalLog | RaftLog, disk: DiskThread) -> NativeBackend:
    loop = asyncio.get_running_loop()
    settings = settings_of(base.config)
    return NativeBackend(store, log, disk, base.clock, loop, settings, base.fatal, base.feed)


def rebuild_if_damaged(config: BrokerConfig, clock: Clock, error: CannotStart) -> None:
    """For a node of a cluster that could not start because its data is damaged: set it aside and start again. Returns
    when that is not so, or not possible."""
    if not config.raft.enabled or error.exit_code != EXIT_DAMAGED:
        return
    path = Path(config.persistence.data_dir)
    with opening(f"the data directory {path}"), locked(path):
        aside = set_aside(path, clock)
    if aside is None:
        return
    _log.error(
        "needs_repair",
        f"{error}. It was set aside in {aside}; this node begins anew, as an observer that its peers rebuild",
        set_aside=str(aside),
    )
    start_again()


def _finish_install(path: Path) -> tuple[Link, bytes] | None:
    """A snapshot that was received before this start takes the place of the store."""
    if not path.exists():
        return None
    with locked(path):
        return finish_install(path)


def start_again() -> None:
    """As after a crash, in place: what is durable is what counts, and every descriptor closes itself."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def settings_of(config: BrokerConfig) -> EngineSettings:
    """What the engine needs to know of the configuration."""
    persistence = config.persistence
    return EngineSettings(
        grace_ms=int(config.broker.session_grace_seconds * 1000),
        retention_ms=int(persistence.completed_task_retention_days * DAY_MS),
        dead_letter_retention_ms=int(persistence.dead_letter_retention_days * DAY_MS),
        wal_sync_interval_ms=persistence.wal_sync_interval_ms,
        durability=persistence.durability,
        node_id=config.raft.node_id,
        recovers_gently=config.raft.enabled,
    )
