"""How often: a token bucket for each key or, while keys are off and a limit is set, for each address.

A bucket holds one second's worth of requests, at least one, and fills at its rate. A request takes what it costs:
one, and a submit one for each of its tasks. A batch that is larger than the bucket goes when the bucket is full and
leaves it in debt, so that batches pass at any rate and the rate holds over time all the same.

What a worker sends to take tasks, keep and end them costs nothing: throttled, it would lose its leases, and work
that was done would be done again. How much a worker may hold is bounded by its slots.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from tq.errors import RateLimited
from tq.verbs import (
    Claim,
    Deregister,
    Extend,
    GetHealth,
    Heartbeat,
    Ping,
    Register,
    Request,
    SetCapacity,
    Settle,
    Submit,
)

BUCKETS_MAX = 10_000
"""Keys or addresses remembered. Beyond it those not heard of for longest are forgotten: they start with a full bucket."""

ROUNDING = 1e-6
"""A part of a request that sums of fractions may be off by: who waits as told must get through."""

UNMETERED: frozenset[type[Request]] = frozenset(
    {Register, Heartbeat, SetCapacity, Claim, Settle, Extend, Deregister, Ping, GetHealth}
)
"""What costs nothing: a worker's own verbs, and those that only ask whether the broker is there."""


class Quota(NamedTuple):
    """How a caller stands. limit: requests a second, as configured. remaining: requests that would pass now.

    reset_ms: until the bucket is full again.
    """

    limit: float
    remaining: int
    reset_ms: int


class Bucket:
    """One caller's allowance. Times in milliseconds of the monotonic clock."""

    __slots__ = ("_at_ms", "_burst", "_tokens", "rate_per_s")

    def __init__(self, rate_per_s: float, now_ms: int) -> None:
        self.rate_per_s = rate_per_s
        self._burst = max(1.0, rate_per_s)
        self._tokens = self._burst
        self._at_ms = now_ms

    def take(self, cost: int, now_ms: int) -> int:
        """Take `cost`, or nothing. Returns 0 when taken, else the milliseconds until it would be."""
        self._fill(now_ms)
        needed = min(float(cost), self._burst)
        if self._tokens >= needed - ROUNDING:
            self._tokens -= cost
            return 0
        return self._wait_ms(needed)

    def quota(self, now_ms: int) -> Quota:
        self._fill(now_ms)
        return Quota(self.rate_per_s, max(0, int(self._tokens + ROUNDING)), self._wait_ms(self._burst))

    def _fill(self, now_ms: int) -> None:
        self._tokens = min(self._burst, self._tokens + (now_ms - self._at_ms) * self.rate_per_s / 1000)
        self._at_ms = now_ms

    def _wait_ms(self, tokens: float) -> int:
        return max(0, math.ceil((tokens - ROUNDING - self._tokens) * 1000 / self.rate_per_s))


class Rates:
    """The buckets of one broker. Only the event loop may call it.

    per_address: requests a second of one address, for callers whose key has no limit of its own; None = any number.
    """

    def __init__(self, now_ms: Callable[[], int], per_address: float | None = None) -> None:
        self._now_ms = now_ms
        self.per_address = per_address
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        """by key name or by address: a broker either has keys or goes by addresses"""

    def refuse(
        self, request: Request, *, name: str, rate_per_s: float | None, address: str
    ) -> RateLimited | None:
        """None when the request passes, and is paid for.

        name, rate_per_s: the caller's key and its limit. address: the caller's host, empty = not known.
        """
        if type(request) in UNMETERED:
            return None
        bucket = self._bucket(name, rate_per_s, address)
        if bucket is None:
            return None
        cost = max(1, len(request.tasks)) if isinstance(request, Submit) else 1
        wait_ms = bucket.take(cost, self._now_ms())
        if not wait_ms:
            return None
        who = f"the key {name!r}" if rate_per_s is not None else f"the address {address}"
        return RateLimited(
            f"{who} may make {bucket.rate_per_s:g} requests a second (each task of a batch counts); "
            f"try again in {wait_ms} ms",
            retry_after_ms=wait_ms,
        )

    def quota(self, *, name: str, rate_per_s: float | None, address: str) -> Quota | None:
        """How the caller stands; None when nothing limits it."""
        bucket = self._bucket(name, rate_per_s, address)
        return None if bucket is None else bucket.quota(self._now_ms())

    def _bucket(self, name: str, rate_per_s: float | None, address: str) -> Bucket | None:
        if rate_per_s is not None:
            # At most as many as the configuration has keys, so their order does not matter.
            bucket = self._buckets.get(name)
            if bucket is None or bucket.rate_per_s != rate_per_s:
                bucket = self._add(name, rate_per_s)
            return bucket
        if self.per_address is None or not address:
            return None
        holder = _holder_of(address)
        bucket = self._buckets.get(holder) or self._add(holder, self.per_address)
        self._buckets.move_to_end(holder)
        return bucket

    def _add(self, subject: str, rate_per_s: float) -> Bucket:
        bucket = self._buckets[subject] = Bucket(rate_per_s, self._now_ms())
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return bucket


def _holder_of(address: str) -> str:
    """Whose address it is: the holder of one IPv6 address mostly holds the 2^64 beside it, too."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))
