"""Addresses, rotation, back-off, and what may be sent again."""

from __future__ import annotations

import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tq import verbs
from tq.client.routing import (
    ADDRESSES_MAX,
    BACK_OFF_CAP_S,
    RESEND,
    Address,
    Rotation,
    Tries,
    back_off_s,
    parse_addresses,
)
from tq.errors import (
    BadRequest,
    BrokerUnavailable,
    InvalidStatus,
    NotLeader,
    Outcome,
    OutcomeUnknown,
    QueueFull,
    TqError,
)

A, B, C = Address("a", 1), Address("b", 2), Address("c", 3)


class Half:
    def random(self) -> float:
        return 0.5


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:6379,127.0.0.1:6380", [("127.0.0.1", 6379), ("127.0.0.1", 6380)]),
        ("tq://b1:7000, b2 ,b3:1", [("b1", 7000), ("b2", 6379), ("b3", 1)]),
        ("tq://a,tq://b", [("a", 6379), ("b", 6379)]),
        ("[::1]:80,[fe80::2]", [("::1", 80), ("fe80::2", 6379)]),
        ("a:1,a:1,b", [("a", 1), ("b", 6379)]),
        (["a:1", "b:2,c"], [("a", 1), ("b", 2), ("c", 6379)]),
    ],
)
def test_address_list_is_read_in_order(text: str | list[str], expected: list[tuple[str, int]]) -> None:
    assert list(parse_addresses(text)) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no broker address"),
        (" , ", "no broker address"),
        ([], "no broker address"),
        ("a,,b", "empty"),
        ("a,tq://", "empty"),
        ("a:0", "'0'"),
        ("good:1,bad:65536", "'bad:65536'"),
        ("a:+5", "'+5'"),
        ("a:\u0661", "'\u0661'"),
        ("a:", "''"),
        (":6379", "no host"),
        ("::1", "brackets"),
        ("[::1", "[address]:port"),
        ("[::1]x", "[address]:port"),
        ("[]:5", "no host"),
        ("redis://a:1", "redis://a:1"),
        ("user@a:1", "user@a:1"),
        ("a b:1", "a b:1"),
        (["a"] * (ADDRESSES_MAX + 1), str(ADDRESSES_MAX)),
    ],
)
def test_bad_address_list_is_refused_naming_the_part(text: str | list[str], word: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_addresses(text)
    assert word in caught.value.text


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z0-9.:]{1,20}", fullmatch=True), st.integers(1, 65535)),
        min_size=1,
        max_size=9,
    )
)
def test_address_written_out_reads_as_itself(pairs: list[tuple[str, int]]) -> None:
    addresses = [Address(host, port) for host, port in pairs]
    assert parse_addresses([str(address) for address in addresses]) == tuple(dict.fromkeys(addresses))


# ---------------------------------------------------------------- which node


def test_every_node_is_tried_without_a_pause_before_the_first_pause() -> None:
    rotation, seen, pauses = Rotation([A, B, C]), [], []
    for _ in range(6):
        seen.append(rotation.current)
        pauses.append(rotation.failed(rotation.current, Half()))

    assert seen == [A, B, C, A, B, C]
    assert [pause > 0 for pause in pauses] == [False, False, True] * 2
    assert pauses[5] > pauses[2]


def test_connection_that_worked_resets_the_pauses() -> None:
    rotation = Rotation([A])
    first = rotation.failed(A, Half())
    assert rotation.failed(A, Half()) > first
    rotation.worked()
    assert rotation.failed(A, Half()) == first


def test_leader_hint_is_followed_also_outside_the_list_and_given_up_when_it_fails() -> None:
    rotation = Rotation([A, B])
    rotation.redirect(A, "elsewhere:9")
    assert rotation.current == Address("elsewhere", 9)
    rotation.failed(rotation.current, Half())
    assert rotation.current == A
    rotation.redirect(A, "b:2")
    assert rotation.current == B


@pytest.mark.parametrize("leader", ["", "not an address", "a:1"])
def test_hint_that_leads_nowhere_new_means_the_next_node(leader: str) -> None:
    rotation = Rotation([A, B])
    rotation.redirect(A, leader)
    assert rotation.current == B


def test_late_failure_of_a_node_left_already_changes_nothing() -> None:
    rotation = Rotation([A, B, C])
    rotation.leave(A)
    rotation.leave(A)
    assert rotation.current == B


@given(st.integers(0, 10_000), st.integers(0, 2**32))
def test_back_off_is_between_half_and_whole_of_a_capped_doubling(attempt: int, seed: int) -> None:
    pause = back_off_s(attempt, random.Random(seed))
    assert 0 < pause <= BACK_OFF_CAP_S
    assert pause >= min(BACK_OFF_CAP_S, 0.05 * 2 ** min(attempt, 16)) / 2


# ---------------------------------------------------------------- may it go again


def test_every_request_is_in_the_resend_table_with_a_reason() -> None:
    assert set(RESEND) == set(get_args(verbs.Request))
    assert all(resend.why for resend in RESEND.values())


def test_only_these_requests_are_not_sent_again_when_the_outcome_is_unknown() -> None:
    assert {kind for kind, resend in RESEND.items() if not resend.safe} == {
        verbs.Retry,
        verbs.Purge,
        verbs.Backup,
        verbs.Claim,
        verbs.CancelMany,
        verbs.RetryMany,
        verbs.ForgetMany,
        verbs.RemoveNode,
        verbs.TransferLeadership,
    }


@pytest.mark.parametrize("kind", RESEND)
def test_rejected_request_is_never_sent_again(kind: type[verbs.Request]) -> None:
    error = InvalidStatus("no")
    with pytest.raises(InvalidStatus) as caught:
        Tries(kind).pause_s(error, Half())
    assert caught.value is error


@pytest.mark.parametrize("kind", RESEND)
def test_unavailable_request_is_sent_again_after_the_time_the_broker_said(kind: type[verbs.Request]) -> None:
    tries = Tries(kind)
    assert 2.0 <= tries.pause_s(QueueFull("full", retry_after_ms=2000), Half()) <= 2.2
    assert 0 < tries.pause_s(BrokerUnavailable("gone"), Half()) < 1


@pytest.mark.parametrize("kind", RESEND)
def test_unknown_outcome_is_sent_again_only_where_that_is_safe(kind: type[verbs.Request]) -> None:
    tries, error = Tries(kind), OutcomeUnknown("lost")
    if RESEND[kind].safe:
        assert tries.pause_s(error, Half()) > 0
    else:
        with pytest.raises(OutcomeUnknown) as caught:
            tries.pause_s(error, Half())
        assert caught.value is error


def test_fresh_leader_hint_is_followed_at_once_and_a_second_one_after_a_pause() -> None:
    tries = Tries(verbs.Submit)
    assert tries.pause_s(NotLeader(leader="b:2"), Half()) == 0
    assert tries.pause_s(NotLeader(leader="a:1"), Half()) > 0


def test_not_leader_without_a_hint_waits() -> None:
    assert Tries(verbs.Submit).pause_s(NotLeader(), Half()) > 0


def test_leader_is_looked_for_several_times_a_second_while_one_is_elected_and_less_often_later() -> None:
    tries = Tries(verbs.Submit)
    pauses = [tries.pause_s(NotLeader(), Half()) for _ in range(40)]
    soon = [pause for place, pause in enumerate(pauses) if sum(pauses[:place]) < 2.4]
    assert max(soon) <= 0.2
    assert pauses[-1] > 1.0


@given(
    st.lists(
        st.sampled_from([BrokerUnavailable, QueueFull, OutcomeUnknown, NotLeader]), min_size=1, max_size=6
    )
)
def test_change_that_may_have_happened_once_is_never_called_undone(kinds: list[type[TqError]]) -> None:
    tries = Tries(verbs.Submit)
    for kind in kinds:
        tries.pause_s(kind("x"), Half())
    gave_up = tries.gave_up(BrokerUnavailable("nobody there"))
    assert (gave_up.outcome is Outcome.UNKNOWN) == (OutcomeUnknown in kinds)


def test_read_that_was_not_answered_is_unavailable_because_it_changes_nothing() -> None:
    tries = Tries(verbs.GetStats)
    tries.pause_s(OutcomeUnknown("lost"), Half())
    assert tries.gave_up().outcome is Outcome.UNAVAILABLE


def test_rejection_after_an_unanswered_cancel_is_unknown_but_after_a_submit_is_a_rejection() -> None:
    cancel, submit = Tries(verbs.Cancel), Tries(verbs.Submit)
    cancel.pause_s(OutcomeUnknown("lost"), Half())
    submit.pause_s(OutcomeUnknown("lost"), Half())

    with pytest.raises(OutcomeUnknown, match="INVALID_STATUS"):
        cancel.pause_s(InvalidStatus("it has ended"), Half())
    with pytest.raises(BadRequest):
        submit.pause_s(BadRequest("no"), Half())
