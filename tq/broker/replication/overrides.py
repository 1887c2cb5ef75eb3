"""Every private name of pysyncobj that is overridden, read or set, and why. Nobody else may touch one.

`reliability` numbers (O1 and so on) are those of the audit; DESIGN.md tells them. Python finds an override named
`_SyncObj__x` because the library calls itself through `self`.

What is left to the library: terms and votes, the three roles, who is leader, what is committed, the order of applying.
What it no longer does: read or write messages, send entries, keep or load dumps, parse commands, know who may join.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from tq.broker.replication.library import NEVER, load_library
from tq.broker.replication.log_view import Item, LogView
from tq.broker.replication.ports import Chance, Monotonic, RaftTimes

FOLLOWER, CANDIDATE, LEADER = 0, 1, 2
"""The library's numbers of the roles."""
APPLY_ENTRIES_MAX = 256
"""Entries applied in one tick; the rest follow in the next, so that neither heartbeats nor the loop wait."""


class Seam(Protocol):
    """What the overrides ask of the core."""

    may_stand: bool
    """Whether the node may stand for election in this tick: a pre-vote was won, or the leader hands over."""

    def apply(self) -> None:
        """The entry behind the one applied last is committed: apply it."""
        ...

    def library_sends(self, peer: str, message: dict[str, Any]) -> None: ...

    def role_changed(self, old: int, new: int) -> None: ...


class Overrides:
    """Mixed in before the library's class."""

    seam: Seam
    view: LogView

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:  # noqa: N802
        """O1. The library unpickles commands, and an error in one stops heartbeats for ever (E1) or skips a count
        (E2). Here the core applies by index; whatever escapes it ends the process."""
        self.seam.apply()

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:  # noqa: N802, N803
        """O2. It swallows every error and then reports success (A7, C3, C5). Snapshots are the core's."""
        raise AssertionError("the Raft library wanted to load a dump")

    def _SyncObj__connectedToAnyone(self) -> bool:  # noqa: N802
        """O3. The gate before standing for election: without it every stall of a follower deposes a leader (B1)."""
        return self.seam.may_stand

    def _SyncObj__parseChangeClusterRequest(self, command: bytes) -> None:  # noqa: N802
        """O4, O5, O6. It unpickles, forgets the configuration on restart (D2) and admits two changes at once (D1).
        Configurations are the core's: see `membership`."""
        return

    def _SyncObj__getEntries(  # noqa: N802
        self,
        fromIDx: int | None,  # noqa: N803
        count: int | None = None,
        maxSizeBytes: int | None = None,  # noqa: N803
    ) -> list[Item]:
        """O7. It copies list slices of any length; here they are bounded, and come without data."""
        if fromIDx is None:
            return []
        return self.view.slice(fromIDx, min(count or APPLY_ENTRIES_MAX, APPLY_ENTRIES_MAX))

    def _SyncObj__sendAppendEntries(self) -> None:  # noqa: N802
        """O9. Its loop pushes the whole log and whole dumps without waiting for answers, and sends empty messages as
        fast as it can while a dump is made (2.G, A2, A8, A12, A13). `sending` does it, at the end of each step."""


class _Transport:
    """What the library takes for its transport: it sends through the seam and receives from `Raft.deliver`."""

    ready = True

    def __init__(self, seam: Seam) -> None:
        self._seam = seam
        self.receive: Callable[[Any, dict[str, Any]], None] = _nobody

    def send(self, node: Any, message: dict[str, Any]) -> bool:
        self._seam.library_sends(node.id, message)
        return True

    def setOnMessageReceivedCallback(self, receive: Callable[[Any, dict[str, Any]], None]) -> None:  # noqa: N802
        self.receive = receive

    def _ignore(self, *_: object) -> None:
        """Connections, read-only nodes and admin commands are not the library's."""

    setOnNodeConnectedCallback = setOnNodeDisconnectedCallback = _ignore  # noqa: N815
    setOnReadonlyNodeConnectedCallback = setOnReadonlyNodeDisconnectedCallback = _ignore  # noqa: N815
    setOnUtilityMessageCallback = _ignore  # noqa: N815


class Raft:
    """One node's library object behind words of our own. What is said of `voters` never includes this node."""

    def __init__(
        self,
        node_id: str,
        voters: Iterable[str],
        view: LogView,
        seam: Seam,
        *,
        clock: Monotonic,
        chance: Chance,
        times: RaftTimes,
        applied: int,
    ) -> None:
        """applied: the entry at which the state stands; it is committed, and on this node's disk."""
        library = load_library(clock, chance, view)
        self._clock = clock
        self._make_node = library.Node
        self._transport = _Transport(seam)
        configuration = library.SyncObjConf(
            autoTick=False,
            useFork=False,
            commandsWaitLeader=False,
            dynamicMembershipChange=False,
            raftMinTimeout=times.election_min,
            raftMaxTimeout=times.election_max,
            leaderFallbackTimeout=times.election_max,
            # Of connections that it does not have here; it only insists that this one is not shorter.
            connectionTimeout=times.election_max,
            appendEntriesPeriod=times.heartbeat,
            logCompactionMinEntries=NEVER,
            logCompactionMinTime=NEVER,
            onStateChanged=seam.role_changed,
        )
        kind: Any = type("HardenedSyncObj", (Overrides, library.SyncObj), {})
        self._raft = kind.__new__(kind)
        self._raft.seam = seam
        self._raft.view = view
        self._raft.__init__(
            self._make_node(node_id),
            list(map(self._make_node, voters)),
            configuration,
            transport=self._transport,
        )
        self._set("raftLastApplied", applied)
        self._set("raftCommitIndex", max(self.commit_index, applied))

    @property
    def term(self) -> int:
        return self._raft._SyncObj__raftCurrentTerm  # type: ignore[no-any-return]

    @property
    def role(self) -> int:
        return self._raft._SyncObj__raftState  # type: ignore[no-any-return]

    @property
    def is_leader(self) -> bool:
        return self._raft._SyncObj__raftState == LEADER  # type: ignore[no-any-return]

    @property
    def leader(self) -> str:
        """The leader followed in this term, empty = none known."""
        node = self._raft._SyncObj__raftLeader
        return node.id if node is not None else ""

    @property
    def commit_index(self) -> int:
        return self._raft._SyncObj__raftCommitIndex  # type: ignore[no-any-return]

    @property
    def applied(self) -> int:
        return self._raft._SyncObj__raftLastApplied  # type: ignore[no-any-return]

    @property
    def first_of_term(self) -> int:
        """Index of the entry this leader began its term with; only a leader has one."""
        return self._raft._SyncObj__noopIDx  # type: ignore[no-any-return]

    @property
    def deadline(self) -> float:
        """When a silent leader is given up."""
        return self._raft._SyncObj__raftElectionDeadline  # type: ignore[no-any-return]

    @deadline.setter
    def deadline(self, at: float) -> None:
        self._set("raftElectionDeadline", at)

    def fresh_timeout(self) -> float:
        """Seconds, drawn anew."""
        return self._raft._SyncObj__generateRaftTimeout()  # type: ignore[no-any-return]

    def tick(self) -> None:
        self._raft.doTick(0.0)

    def deliver(self, peer: str, message: dict[str, Any]) -> None:
        self._transport.receive(self._make_node(peer), message)

    def set_voters(self, voters: Iterable[str]) -> None:
        """O6. The others that count from here on. A leader's new peers start with nothing matched (D3: and never
        from a dump, whose configuration is that of another moment)."""
        wanted = {self._make_node(voter) for voter in voters}
        match, next_index, heard = (
            self._get(name) for name in ("raftMatchIndex", "raftNextIndex", "lastResponseTime")
        )
        for node in self._get("otherNodes") - wanted:
            for table in (match, next_index, heard):
                table.pop(node, None)
        for node in wanted - self._get("otherNodes"):
            match[node] = 0
            next_index[node] = 1
            heard[node] = self._clock()
        self._set("otherNodes", wanted)

    def set_match(self, peer: str, index: int) -> None:
        """What a new voter is known to hold from its time as an observer."""
        self._get("raftMatchIndex")[self._make_node(peer)] = index

    def installed(self, index: int) -> None:
        """The state is now that after entry `index`, and the log goes on behind it."""
        self._set("raftLastApplied", index)
        self._set("raftCommitIndex", max(self.commit_index, index))

    def _get(self, name: str) -> Any:
        return getattr(self._raft, f"_SyncObj__{name}")

    def _set(self, name: str, value: object) -> None:
        setattr(self._raft, f"_SyncObj__{name}", value)


def _nobody(node: Any, message: dict[str, Any]) -> None:
    raise AssertionError("the Raft library is not ready to receive")
