"""Keys for tests: hashes that are cheap to check, and waiting for verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import bcrypt

from tq.broker.access import Permission, Principal, principal
from tq.broker.checks import Checks
from tq.broker.keys import Key, KeyAccess
from tq.clock import Clock, ManualClock
from tq.errors import TqError

COST = 4
"""The least that bcrypt takes: a check is about a millisecond."""
SECRET = b"0123456789abcdef"

Verdicts = list[Principal | TqError]


def hash_of(token: str, cost: int = COST) -> str:
    return bcrypt.hashpw(token.encode(), bcrypt.gensalt(cost)).decode()


def key(
    name: str,
    token: str,
    permissions: Iterable[Permission] = (Permission.ADMIN,),
    rate: float | None = None,
    cost: int = COST,
) -> Key:
    return Key(principal(name, permissions, rate), hash_of(token, cost).encode())


def keyring(*keys: Key, clock: Clock | None = None, checks: Checks | None = None) -> KeyAccess:
    """On the running loop."""
    checks = checks or Checks(asyncio.get_running_loop())
    later = asyncio.get_running_loop().call_later
    return KeyAccess(keys, checks, (clock or ManualClock()).monotonic_ms, secret=SECRET, later=later)


async def verdict_of(access: KeyAccess, token: str, address: str = "") -> Principal | TqError:
    told: asyncio.Future[Principal | TqError] = asyncio.get_running_loop().create_future()
    access.authenticate(token, told.set_result, address)
    async with asyncio.timeout(60):
        return await told
