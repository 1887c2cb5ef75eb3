"""Where a request goes and whether it goes again: addresses, next node, leader hints, back-off, retries.

Pure: no sockets, no clock; randomness is passed in. The shells around it connect, wait and send.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tq import verbs
from tq.errors import BadRequest, BrokerUnavailable, NotLeader, Outcome, OutcomeUnknown, TqError

DEFAULT_PORT = 6379
ADDRESSES_MAX = 64
"""More than any cluster has nodes; a longer list is a mistake in separators."""
SCHEME = "tq://"

BACK_OFF_FIRST_S = 0.05
"""An election or a restart takes longer than this, a lost packet does not."""
BACK_OFF_CAP_S = 3.0
"""How long a client may sleep through the end of an outage."""
ELECTION_DOUBLINGS = 2
"""Of the first back-off while nodes say that they do not lead: an election takes about a second, and a pause that goes
on doubling sleeps as long again behind its end."""
ELECTION_TRIES = 20
"""So many, three seconds of them: a cluster that has no leader for longer is asked less and less."""
RETRY_AFTER_SPREAD = 0.1
"""Clients told the same retry-after come back spread over so much more of it."""


class Rng(Protocol):
    """The one thing wanted of a random.Random."""

    def random(self) -> float:
        """A number from 0 up to but not including 1."""
        ...


# ---------------------------------------------------------------- addresses


class Address(NamedTuple):
    """One broker. host: without brackets."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_addresses(addresses: str | Sequence[str]) -> tuple[Address, ...]:
    """`a:6379,b` or `tq://a,[::1]:6380` or a list of such: each address once, in the order given.

    A port left out is DEFAULT_PORT. Raises BadRequest naming the part that is wrong.
    """
    texts = [addresses] if isinstance(addresses, str) else list(addresses)
    parts = [part.strip() for text in texts for part in text.split(",")]
    if not any(parts):
        raise BadRequest("no broker address given; write host:port, several separated by commas")
    if len(parts) > ADDRESSES_MAX:
        raise BadRequest(f"{len(parts)} broker addresses given, at most {ADDRESSES_MAX} are allowed")
    return tuple(dict.fromkeys(parse_address(part) for part in parts))


def parse_address(part: str) -> Address:
    """One `host`, `host:port`, `[ipv6]` or `[ipv6]:port`, with or without `tq://` before it."""
    text = part.removeprefix(SCHEME)
    if not text:
        raise BadRequest("a broker address is empty; is there a comma too many?")
    if "/" in text or "@" in text or any(letter.isspace() for letter in text):
        raise BadRequest(f"broker address {part!r} is not host:port; only {SCHEME} may stand before it")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadRequest(f"broker address {part!r}: an IPv6 address is written [address]:port")
        port = rest[1:] if rest else str(DEFAULT_PORT)
    elif text.count(":") > 1:
        raise BadRequest(f"broker address {part!r}: an IPv6 address needs brackets, [{text}]")
    else:
        host, colon, port = text.partition(":")
        port = port if colon else str(DEFAULT_PORT)
    if not host:
        raise BadRequest(f"broker address {part!r} names no host")
    return Address(host, _port(port, part))


def _port(text: str, part: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise BadRequest(f"broker address {part!r}: port {text!r} is not a number from 1 to 65535")
    return int(text)


# ---------------------------------------------------------------- which node


class Rotation:
    """Which node to talk to: the list in turn, or where a leader hint points.

    Every node is tried once without a pause; after a whole round has failed the pauses grow.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        """addresses: at least one; the first is tried first."""
        self._nodes = tuple(addresses)
        self._at = 0
        self._hint: Address | None = None
        self._failures = 0

    @property
    def current(self) -> Address:
        """The node to connect to now."""
        return self._hint or self._nodes[self._at]

    def worked(self) -> None:
        """A connection was made: the next failure begins a fresh round."""
        self._failures = 0

    def failed(self, address: Address, rng: Rng) -> float:
        """A connection to this node could not be made. Returns seconds to wait before the next try."""
        self.leave(address)
        self._failures += 1
        rounds, more = divmod(self._failures, len(self._nodes))
        return 0.0 if more else back_off_s(rounds - 1, rng)

    def leave(self, address: Address) -> None:
        """Look elsewhere; nothing happens when another caller has moved on from this node already."""
        if address != self.current:
            return
        if self._hint is None:
            self._at = (self._at + 1) % len(self._nodes)
        self._hint = None

    def redirect(self, address: Address, leader: str) -> None:
        """This node named the leader, or an empty text when it knows none: go there, else to the next one.

        A leader outside the list is used until it fails: clusters advertise addresses that clients did not list.
        """
        try:
            target = parse_address(leader)
        except BadRequest:
            target = address
        if target == address:
            self.leave(address)
        elif target in self._nodes:
            self._at, self._hint = self._nodes.index(target), None
        else:
            self._hint = target


def back_off_s(attempt: int, rng: Rng) -> float:
    """Seconds before try attempt+2 (0 = after the first failure): doubling, capped, the upper half random."""
    full = min(BACK_OFF_CAP_S, BACK_OFF_FIRST_S * (1 << min(attempt, 16)))
    return full * (1.0 + rng.random()) / 2.0


# ---------------------------------------------------------------- may it go again


class Resend(NamedTuple):
    """May a request whose outcome is unknown be sent again, and is it one that changes anything?"""

    safe: bool
    changes: bool
    why: str


_READ = Resend(safe=True, changes=False, why="it only reads")

RESEND: dict[type[verbs.Request], Resend] = {
    verbs.Submit: Resend(True, True, "the client makes the ids; an id that exists gives the same task"),
    verbs.GetTask: _READ,
    verbs.Watch: _READ,
    verbs.Cancel: Resend(True, True, "a cancelled task stays cancelled"),
    verbs.Retry: Resend(
        False, True, "the task may have run and failed again since; that would be a second retry"
    ),
    verbs.ListTasks: _READ,
    verbs.Purge: Resend(False, True, "tasks that ended since would go too, and the count would be wrong"),
    verbs.PauseQueue: Resend(True, True, "a paused queue stays paused"),
    verbs.ResumeQueue: Resend(True, True, "a running queue stays running"),
    verbs.GetStats: _READ,
    verbs.ListWorkers: _READ,
    verbs.GetCluster: _READ,
    verbs.GetHealth: _READ,
    verbs.AddNode: Resend(True, True, "a member stays a member"),
    verbs.RemoveNode: Resend(False, True, "it may be gone, and would be reported as unknown"),
    verbs.TransferLeadership: Resend(False, True, "whoever leads by then would hand over, too"),
    verbs.DrainWorker: Resend(True, True, "a draining worker goes on draining"),
    verbs.GetSeries: _READ,
    verbs.ListQueues: _READ,
    verbs.ListFailures: _READ,
    verbs.GroupDeadLetters: _READ,
    verbs.CancelMany: Resend(False, True, "the count would be wrong, and others may match by now"),
    verbs.RetryMany: Resend(False, True, "as for Retry, many times"),
    verbs.ForgetMany: Resend(False, True, "the count would be wrong, and others may match by now"),
    verbs.Import: Resend(True, True, "a task whose id exists is passed over"),
    verbs.Backup: Resend(False, True, "the directory may exist by now and another copy is dear"),
    verbs.Register: Resend(True, True, "the session id makes it the same session"),
    verbs.Heartbeat: Resend(True, True, "the latest beat counts"),
    verbs.SetCapacity: Resend(True, True, "it sets a number"),
    verbs.Claim: Resend(False, True, "the lost answer may hold leased tasks; they come back by Register"),
    verbs.Settle: Resend(True, True, "the fencing token lets only the first count"),
    verbs.Extend: Resend(True, True, "it sets a deadline"),
    verbs.Deregister: Resend(True, True, "a session that is gone stays gone"),
    verbs.Ping: _READ,
}
"""request class -> Resend; total over tq.verbs.Request (a test checks it)."""


class Tries:
    """The failed tries of one call: says how long to wait before the next, or which error ends it."""

    def __init__(self, kind: type[verbs.Request]) -> None:
        self._resend = RESEND[kind]
        self._verb = kind.__name__
        self._failures = 0
        self._unknown: TqError | None = None
        self._last: TqError | None = None

    def pause_s(self, error: TqError, rng: Rng) -> float:
        """Seconds to wait before trying again. Raises the error that ends the call when it may not be."""
        if error.outcome is Outcome.REJECTED:
            raise self._after_unknown(error)
        if error.outcome is Outcome.UNKNOWN:
            if not self._resend.safe:
                raise error
            if self._resend.changes:
                self._unknown = error
        self._last = error
        self._failures += 1
        if error.retry_after_ms:
            return error.retry_after_ms / 1000 * (1.0 + RETRY_AFTER_SPREAD * rng.random())
        doublings = self._failures - 1
        if isinstance(error, NotLeader):
            if error.leader and self._failures == 1:
                return 0.0  # a fresh hint is worth following at once, a second may be two nodes pointing at each other
            doublings = min(doublings, max(ELECTION_DOUBLINGS, self._failures - ELECTION_TRIES))
        return back_off_s(doublings, rng)

    def gave_up(self, late: TqError | None = None) -> TqError:
        """The error for a call whose time is up. late: why no node could be reached at last, if that is so."""
        if self._unknown is not None:
            return OutcomeUnknown(f"{self._verb}: {self._unknown.text}; no later try was answered in time")
        last = late or self._last or BrokerUnavailable()
        if last.outcome is Outcome.UNKNOWN:
            return BrokerUnavailable(f"{self._verb}: {last.text}")  # it only reads: nothing can have happened
        return last

    def _after_unknown(self, error: TqError) -> TqError:
        """A rejection after an unanswered try of a change may be the echo of that try's own success."""
        if self._unknown is None or not self._resend.changes or self._verb == verbs.Submit.__name__:
            return error
        return OutcomeUnknown(
            f"{self._verb}: {self._unknown.text}; a second try was answered: {error.text} ({error.code})"
        )


def unreachable(error: TqError) -> BrokerUnavailable:
    """What is raised when no broker could be reached in time: what the last one said, in its own class."""
    kind = type(error) if isinstance(error, BrokerUnavailable) else BrokerUnavailable
    return kind(f"no broker could be reached in time: {error.text}")
