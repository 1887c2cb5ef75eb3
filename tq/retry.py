"""When a failed task runs again. Pure integer arithmetic: every node works out the same delay."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

EXPONENTIAL, FIXED, LINEAR, CUSTOM = 0, 1, 2, 3
STRATEGIES = ("exponential", "fixed", "linear", "custom")

DELAY_MS_MAX = 365 * 24 * 3600 * 1000
"""A year: a longer delay is a mistake in units more often than a wish."""
CUSTOM_DELAYS_MAX = 100


class RetryPolicy(NamedTuple):
    """How long to wait after the n-th failure.

    strategy: EXPONENTIAL base x factor^(n-1), FIXED base, LINEAR base x n, CUSTOM the n-th of delays_ms
        (the last one again when they run out).
    factor_permille: 2000 means twice as long each time.
    cap_ms: no delay is longer, jitter included.
    jitter_permille: 0-1000; 100 spreads a delay over 90 % to 110 % of itself.
    """

    strategy: int = EXPONENTIAL
    base_ms: int = 5_000
    factor_permille: int = 2_000
    cap_ms: int = 3_600_000
    jitter_permille: int = 100
    delays_ms: tuple[int, ...] = ()


DEFAULT_RETRY = RetryPolicy()


def delay_ms(policy: RetryPolicy, failures: int, task_id: bytes) -> int:
    """Milliseconds to wait after the failures-th failure (1 = the first), 0 to policy.cap_ms."""
    plain = min(_plain_ms(policy, failures), policy.cap_ms)
    if not policy.jitter_permille or not plain:
        return plain
    spread = plain * policy.jitter_permille // 1000
    return min(plain - spread + _hash(task_id, failures) % (2 * spread + 1), policy.cap_ms)


def _plain_ms(policy: RetryPolicy, failures: int) -> int:
    if policy.strategy == EXPONENTIAL:
        return _exponential_ms(policy, failures)
    if policy.strategy == LINEAR:
        return policy.base_ms * failures
    if policy.strategy == CUSTOM and policy.delays_ms:
        return policy.delays_ms[min(failures, len(policy.delays_ms)) - 1]
    return policy.base_ms


def _exponential_ms(policy: RetryPolicy, failures: int) -> int:
    delay = policy.base_ms
    for _ in range(failures - 1):
        # Stopping at the cap bounds both the loop and the size of the number.
        if delay >= policy.cap_ms or policy.factor_permille <= 1000:
            break
        delay = delay * policy.factor_permille // 1000
    return delay


def _hash(task_id: bytes, failures: int) -> int:
    digest = blake2b(task_id + failures.to_bytes(4, "big"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
