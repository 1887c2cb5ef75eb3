"""Keys: a token becomes a principal when it fits one of the bcrypt hashes in the configuration.

Rules of the file:
- A token is never kept. What is remembered of one is its digest under a secret that this process alone has, so that
  neither the memory's keys nor the time a look-up takes say anything about tokens.
- A token seen before costs a look-up. A new one costs a check against every hash, off the loop (`checks`). Many who
  come with the same new token share one check.
- What is remembered is dropped when the keys are replaced; a verdict on the keys of before counts for nothing then:
  the token is checked again.
- Whoever is refused again and again is told later: an attacker waits for each answer before the next try, and what
  answers cost is taken from everybody else.
- Principals of keys that did not change stay the same objects, which is how `knows` tells.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from tq.broker.access import BUSY_RETRY_MS, Principal, Verdict
from tq.broker.checks import Check, Checks
from tq.errors import AuthenticationFailed, BrokerUnavailable, TqError

TOKEN_BYTES_MAX = 72
"""bcrypt looks no further: two longer tokens with the same beginning would be one."""
REFUSED_MS = 30_000
"""How long a wrong token is remembered. Keys only change with `replace`, which forgets; this bounds the memory."""
REFUSED_MAX = 4_096
"""Wrong tokens remembered; beyond it the oldest is forgotten."""
SHARING_MAX = 10_000
"""Who may wait for one check: more connections than that are not let in anyway, but calls of doors come on top."""

REFUSALS_AT_ONCE = 20
"""Of one host in a second: programs with a wrong key that try again, and several of them behind one address."""
REFUSAL_DELAY_MS = 1_000
"""Then a refusal is told so much later. A thousand connections that try keys get a thousand answers a second, about a
tenth of what a broker could give."""
REFUSAL_STEPS = 64
"""Up to twice that, in so many steps."""
DELAYED_MAX = 10_000
"""Refusals that wait; more are told at once."""
HOSTS_MAX = 1_024
"""Hosts whose refusals are counted; beyond it whoever came first is forgotten."""

Later: TypeAlias = Callable[[float, Callable[[], None]], object]
"""(seconds, what to do then)"""


class Key(NamedTuple):
    """One key of the configuration."""

    who: Principal
    key_hash: bytes


class KeyAccess:
    """`auth.enabled: true`. Only the event loop's thread may call it."""

    is_open = False

    def __init__(
        self,
        keys: Sequence[Key],
        checks: Checks,
        now_ms: Callable[[], int],
        *,
        secret: bytes,
        later: Later,
    ) -> None:
        """now_ms: the monotonic clock. secret: random bytes of this process, 16 to 64. later: the loop's `call_later`."""
        self._refusals = _Refusals(now_ms, later)
        self._keys = tuple(keys)
        self._checks = checks
        self._now_ms = now_ms
        self._secret = secret
        self._accepted: dict[bytes, Principal] = {}
        self._refused: OrderedDict[bytes, int] = OrderedDict()
        self._waiting: dict[bytes, list[Verdict]] = {}
        self._by_name = {key.who.name: key.who for key in self._keys}

    def authenticate(self, token: str, verdict: Verdict, address: str = "") -> None:
        """Verdicts: a Principal, AuthenticationFailed, or BrokerUnavailable while too many new tokens are checked."""
        if not token:
            text = "this broker asks for a key; give one (--api-key, TQ_API_KEY)"
            self._refusals.tell(verdict, AuthenticationFailed(text), address)
        elif not _can_be_a_key(token):
            self._refusals.tell(verdict, _unknown(), address)
        else:
            self._find(token.encode(), verdict, address)

    def knows(self, who: Principal) -> bool:
        return self._by_name.get(who.name) is who

    def replace(self, keys: Sequence[Key]) -> None:
        """From now on these keys. Principals whose key is the same in all are kept; the others are known no more."""
        before = {key: key for key in self._keys}
        self._keys = tuple(before.get(key, key) for key in keys)
        self._by_name = {key.who.name: key.who for key in self._keys}
        self._accepted.clear()
        self._refused.clear()

    def _find(self, token: bytes, verdict: Verdict, host: str) -> None:
        digest = hashlib.blake2b(token, key=self._secret, digest_size=16).digest()
        known = self._accepted.get(digest)
        if known is not None:
            verdict(known)
        elif self._refused.get(digest, 0) > self._now_ms():
            self._refusals.tell(verdict, _unknown(), host)
        elif digest not in self._waiting:
            self._check(token, digest, verdict, host)
        elif len(self._waiting[digest]) < SHARING_MAX:
            self._waiting[digest].append(verdict)
        else:
            self._refusals.tell(verdict, _busy(), host)

    def _check(self, token: bytes, digest: bytes, verdict: Verdict, host: str) -> None:
        keys = self._keys

        def told(position: int) -> None:
            verdicts = self._waiting.pop(digest)
            if keys is not self._keys:
                for each in verdicts:
                    self._find(token, each, host)
                return
            found = keys[position].who if position >= 0 else None
            self._remember(digest, found)
            for each in verdicts:
                if found is None:
                    self._refusals.tell(each, _unknown(), host)
                else:
                    each(found)

        if self._checks.add(Check(token, [key.key_hash for key in keys], told), host):
            self._waiting[digest] = [verdict]
        else:
            self._refusals.tell(verdict, _busy(), host)

    def _remember(self, digest: bytes, found: Principal | None) -> None:
        if found is not None:
            # Bounded by the keys: no two tokens of this length fit one hash.
            self._accepted[digest] = found
            return
        self._refused[digest] = self._now_ms() + REFUSED_MS
        if len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)


class _Refusals:
    """Tells them, at once or later. One count for each host and second."""

    def __init__(self, now_ms: Callable[[], int], later: Later) -> None:
        self._now_ms = now_ms
        self._later = later
        self._hosts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """host -> the second, refusals in it"""
        self._delayed = 0

    def tell(self, verdict: Verdict, error: TqError, host: str) -> None:
        if self._count(host) <= REFUSALS_AT_ONCE or self._delayed >= DELAYED_MAX:
            verdict(error)
            return
        self._delayed += 1

        def told() -> None:
            self._delayed -= 1
            verdict(error)

        # Spread, or all who wait would come again at the same moment.
        spread = self._delayed % REFUSAL_STEPS / REFUSAL_STEPS
        self._later(REFUSAL_DELAY_MS * (1 + spread) / 1000, told)

    def _count(self, host: str) -> int:
        second = self._now_ms() // 1000
        seen, count = self._hosts.get(host, (second, 0))
        # Half of the last second's count: a flood does not begin anew with every second.
        count = count + 1 if seen == second else 1 + (count >> 1 if seen == second - 1 else 0)
        self._hosts[host] = (second, count)
        if len(self._hosts) > HOSTS_MAX:
            self._hosts.popitem(last=False)
        return count


def _can_be_a_key(token: str) -> bool:
    return len(token) <= TOKEN_BYTES_MAX and token.isascii() and token.isprintable() and " " not in token


def _unknown() -> TqError:
    """Each caller its own: an exception raised in two places would mix their tracebacks."""
    return AuthenticationFailed("the key is not known to this broker")


def _busy() -> TqError:
    return BrokerUnavailable("too many keys are being checked; try again", retry_after_ms=BUSY_RETRY_MS)
