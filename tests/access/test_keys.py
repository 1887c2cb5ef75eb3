"""A token becomes a principal."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import bcrypt
import pytest

from tests.access.keyring import SECRET, Verdicts, hash_of, key, keyring, verdict_of
from tests.doors.serving import run
from tq.broker.access import Permission, Principal
from tq.broker.checks import THREADS, WAITING_MAX, WAITING_PER_HOST_MAX, Check, Checks
from tq.broker.keys import (
    REFUSED_MAX,
    REFUSED_MS,
    Key,
    KeyAccess,
    Later,
)
from tq.clock import ManualClock
from tq.errors import AuthenticationFailed, BrokerUnavailable


class Checking(Checks):
    """Checks that are answered when the test says so. seen: the tokens, in order."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.begun: list[Check] = []
        self.has_room = True

    def add(self, check: Check, host: str) -> bool:
        if self.has_room:
            self.seen.append(check.token)
            self.begun.append(check)
        return self.has_room

    def decide(self) -> None:
        """Tell the truth about everything begun so far."""
        begun, self.begun = self.begun, []
        for check in begun:
            fits = [bcrypt.checkpw(check.token, each) for each in check.hashes]
            check.told(fits.index(True) if True in fits else -1)


def at_once(_seconds: float, what: Callable[[], None]) -> None:
    what()


def deciding(
    *keys: Key, clock: ManualClock | None = None, later: Later = at_once
) -> tuple[KeyAccess, Checking]:
    checks = Checking()
    now_ms = (clock or ManualClock()).monotonic_ms
    return KeyAccess(keys, checks, now_ms, secret=SECRET, later=later), checks


def ask(access: KeyAccess, token: str, checks: Checking | None = None) -> Verdicts:
    verdicts: Verdicts = []
    access.authenticate(token, verdicts.append)
    if checks is not None:
        checks.decide()
    return verdicts


def test_a_key_is_known_by_its_hash_and_has_its_own_permissions() -> None:
    async def scenario() -> None:
        access = keyring(key("ops", "one"), key("ci", "two", [Permission.READ_TASKS], 5))

        found = await verdict_of(access, "two")

        assert isinstance(found, Principal)
        assert (found.name, found.rate_per_s) == ("ci", 5)
        assert found.permissions == {Permission.READ_TASKS}
        assert access.knows(found)

    run(scenario())


@pytest.mark.parametrize("token", ["wrong", "", "one ", "ONE", "on\0e", "öne", "x" * 73, "one\n"])
def test_a_token_that_fits_no_hash_is_refused(token: str) -> None:
    async def scenario() -> None:
        assert isinstance(await verdict_of(keyring(key("ops", "one")), token), AuthenticationFailed)

    run(scenario())


@pytest.mark.parametrize("token", ["", "with space", "ctrl\x01", "ü", "x" * 73])
def test_what_cannot_be_a_key_is_not_checked(token: str) -> None:
    access, checks = deciding(key("ops", "one"))

    (verdict,) = ask(access, token)

    assert isinstance(verdict, AuthenticationFailed)
    assert checks.seen == []


@pytest.mark.parametrize("token", ["one", "wrong"])
def test_a_token_seen_before_is_not_checked_again(token: str) -> None:
    access, checks = deciding(key("ops", "one"))

    first, second = ask(access, token, checks), ask(access, token)

    assert checks.seen == [token.encode()]
    assert [type(each) for each in first] == [type(each) for each in second]


def test_a_wrong_token_is_remembered_for_a_while_only() -> None:
    clock = ManualClock()
    access, checks = deciding(key("ops", "one"), clock=clock)
    ask(access, "wrong", checks)

    clock.advance(REFUSED_MS - 1)
    ask(access, "wrong", checks)
    assert len(checks.seen) == 1
    clock.advance(1)
    ask(access, "wrong", checks)
    assert len(checks.seen) == 2


def test_no_more_wrong_tokens_are_remembered_than_stated_and_the_oldest_go_first() -> None:
    access, checks = deciding(key("ops", "one"))
    hashless = Key(key("ops", "one").who, b"")
    access.replace([hashless])
    for number in range(REFUSED_MAX + 1):
        access.authenticate(f"wrong{number}", lambda _: None)
        checks.begun.pop().told(-1)
    checks.seen.clear()

    ask(access, f"wrong{REFUSED_MAX}")
    assert checks.seen == []
    ask(access, "wrong0")
    assert checks.seen == [b"wrong0"]


def test_many_who_come_with_the_same_new_token_share_one_check() -> None:
    access, checks = deciding(key("ops", "one"))
    verdicts: Verdicts = []
    for _ in range(100):
        access.authenticate("one", verdicts.append)

    checks.decide()

    assert checks.seen == [b"one"]
    assert len(verdicts) == 100
    assert all(isinstance(each, Principal) for each in verdicts)


def test_each_of_those_refused_together_gets_an_error_of_its_own() -> None:
    access, checks = deciding(key("ops", "one"))
    verdicts: Verdicts = []
    for _ in range(2):
        access.authenticate("wrong", verdicts.append)

    checks.decide()

    assert verdicts[0] is not verdicts[1]


def test_when_no_check_has_room_the_caller_is_told_to_try_again_rather_than_that_the_key_is_wrong() -> None:
    access, checks = deciding(key("ops", "one"))
    checks.has_room = False

    (busy,) = ask(access, "one")

    assert isinstance(busy, BrokerUnavailable)
    assert busy.retry_after_ms > 0
    checks.has_room = True
    assert isinstance(ask(access, "one", checks)[0], Principal)


def test_a_key_that_was_replaced_is_known_no_more_and_its_token_is_forgotten() -> None:
    access, checks = deciding(key("ops", "one"), key("ci", "two"))
    (gone,) = ask(access, "one", checks)
    assert isinstance(gone, Principal)

    access.replace([key("ops", "three")])

    assert not access.knows(gone)
    assert isinstance(ask(access, "one", checks)[0], AuthenticationFailed)
    assert isinstance(ask(access, "three", checks)[0], Principal)


def test_a_key_that_stayed_the_same_keeps_its_principal() -> None:
    kept, other = key("ops", "one"), key("ci", "two")
    access, checks = deciding(kept, other)
    (before,) = ask(access, "one", checks)
    assert isinstance(before, Principal)
    again = Key(Principal(*kept.who), kept.key_hash)

    access.replace([again])

    assert access.knows(before)
    assert ask(access, "one", checks)[0] is before


def test_a_key_that_was_wrong_is_good_at_once_when_a_reload_brings_it() -> None:
    access, checks = deciding(key("ops", "one"))
    ask(access, "two", checks)

    access.replace([key("ops", "one"), key("ci", "two")])

    assert isinstance(ask(access, "two", checks)[0], Principal)


def test_a_check_that_a_reload_overtook_is_made_again() -> None:
    access, checks = deciding(key("ops", "one"))
    verdicts: Verdicts = []
    access.authenticate("one", verdicts.append)

    access.replace([key("ops", "two")])
    checks.decide()
    assert verdicts == []
    checks.decide()

    assert isinstance(verdicts[0], AuthenticationFailed)
    assert isinstance(ask(access, "one")[0], AuthenticationFailed)


def test_nothing_that_is_kept_holds_a_token() -> None:
    async def scenario() -> None:
        access = keyring(key("ops", "a-good-token"))
        await verdict_of(access, "a-good-token")
        await verdict_of(access, "a-wrong-token")

        held = repr(vars(access))

        assert "ops" in held
        assert "a-good-token" not in held
        assert "a-wrong-token" not in held

    run(scenario())


# ---------------------------------------------------------------- the threads


class Held:
    """Stands for bcrypt: a check waits until it is let go. order: tokens in the order they were begun."""

    def __init__(self) -> None:
        self.order: list[bytes] = []
        self.let_go = threading.Event()

    def __call__(self, token: bytes, key_hash: bytes) -> bool:
        self.order.append(token)
        assert self.let_go.wait(60)
        return False


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    made = Held()
    monkeypatch.setattr(bcrypt, "checkpw", made)
    return made


def fill(checks: Checks, host: str, tokens: Sequence[str], told: Callable[[int], None]) -> list[bool]:
    return [checks.add(Check(token.encode(), [b"hash"], told), host) for token in tokens]


def test_a_host_that_floods_the_broker_with_keys_waits_behind_itself(held: Held) -> None:
    async def scenario() -> None:
        checks, told = Checks(asyncio.get_running_loop()), list[int]()
        flood = fill(checks, "bad", [f"bad{n}" for n in range(100)], told.append)
        honest = fill(checks, "good", ["good"], told.append)
        assert flood.count(True) == THREADS + WAITING_PER_HOST_MAX
        assert honest == [True]

        held.let_go.set()
        async with asyncio.timeout(60):
            while len(told) < THREADS + WAITING_PER_HOST_MAX + 1:  # noqa: ASYNC110  told by threads
                await asyncio.sleep(0.001)

        # Those already in a thread, then one more of the flood at most for each thread.
        assert held.order.index(b"good") <= 2 * THREADS
        checks.close()

    run(scenario())


def test_all_hosts_together_have_a_bound(held: Held) -> None:
    async def scenario() -> None:
        checks = Checks(asyncio.get_running_loop())
        taken = [fill(checks, f"host{n}", ["x"], lambda _: None)[0] for n in range(2 * WAITING_MAX)]

        assert taken.count(True) == THREADS + WAITING_MAX
        checks.close()
        held.let_go.set()

    run(scenario())


def test_the_loop_goes_on_while_keys_are_checked(held: Held) -> None:
    async def scenario() -> None:
        access = keyring(key("ops", "one"))
        verdicts: Verdicts = []

        access.authenticate("wrong", verdicts.append)
        await asyncio.sleep(0)

        assert verdicts == []
        held.let_go.set()
        assert isinstance(await verdict_of(access, "wrong"), AuthenticationFailed)

    run(scenario())


def test_once_closed_nobody_is_told_and_nothing_is_begun(held: Held) -> None:
    async def scenario() -> None:
        others = (
            threading.enumerate()
        )  # of earlier tests too, until the garbage collector finds what they belonged to
        checks, told = Checks(asyncio.get_running_loop()), list[int]()
        fill(checks, "h", ["one"], told.append)

        checks.close()
        held.let_go.set()

        assert fill(checks, "h", ["two"], told.append) == [False]
        for thread in [each for each in threading.enumerate() if each not in others]:
            await asyncio.to_thread(thread.join, 60)
            assert not thread.is_alive()
        await asyncio.sleep(0)
        assert told == []

    run(scenario())


def test_a_hash_that_bcrypt_cannot_use_fits_nothing_and_harms_nobody_else() -> None:
    async def scenario() -> None:
        broken = Key(key("broken", "x").who, b"$2b$99$" + b"a" * 53)
        access = keyring(broken, key("ops", "one"))

        assert isinstance(await verdict_of(access, "one"), Principal)

    run(scenario())


def test_the_hash_that_tq_admin_prints_is_one_the_broker_knows(tmp_path: Path) -> None:
    from tests.admin.running import Admin
    from tq.broker.access import principal

    done = Admin().run("hash-key", "--cost", "4", stdin=b"a-key\n")
    assert done.exit_code == 0, done.errors

    async def scenario() -> None:
        access = keyring(Key(principal("ops", [Permission.ADMIN]), done.out.strip().encode()))
        assert isinstance(await verdict_of(access, "a-key"), Principal)
        assert isinstance(await verdict_of(access, "a-kez"), AuthenticationFailed)

    run(scenario())
    assert hash_of("a-key") != done.out.strip()
